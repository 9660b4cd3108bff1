//! The flags of this process as it runs, for `/flagz`: given, of the configuration file, or by default.
use crate::cli::Cli;
use clap::{Arg, ArgMatches, CommandFactory};
use std::{any::TypeId, collections::BTreeMap, convert::Infallible, ffi::OsString, fmt, str::FromStr};

const CLASSIFIED: &str = "CLASSIFIED";

/// The value of a flag that nobody is to read: the flag's declaration says so by this type, and nothing shows it. Files that
/// hold such values may be told.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}
impl FromStr for Secret {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLASSIFIED)
    }
}

/// Names and values of all flags of the command that `args` names; nothing when they can't be read.
pub fn of(args: &[OsString]) -> BTreeMap<String, String> {
    let command = Cli::command();
    let Ok(matches) = command.clone().try_get_matches_from(args) else { return BTreeMap::new() };
    let Some((name, matches)) = matches.subcommand() else { return BTreeMap::new() };
    let Some(command) = command.find_subcommand(name) else { return BTreeMap::new() };
    let flags = command.get_arguments().filter_map(|a| Some((a.get_long()?, a)));
    flags.filter(|(long, _)| !matches!(*long, "help" | "version")).map(|(long, a)| (long.to_owned(), shown(a, matches))).collect()
}

fn secret(flag: &Arg) -> bool {
    flag.get_value_parser().type_id() == TypeId::of::<Secret>()
}

fn shown(flag: &Arg, matches: &ArgMatches) -> String {
    let Ok(Some(values)) = matches.try_get_raw(flag.get_id().as_str()) else { return String::new() };
    if secret(flag) {
        return CLASSIFIED.to_owned();
    }
    values.map(|v| v.to_string_lossy()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_as_they_are() {
        let args = |all: &[&str]| all.iter().map(OsString::from).collect::<Vec<_>>();
        let flags = of(&args(&["skiff", "server", "--bind-address", "127.0.0.1", "--disable-agent", "--tls-san", "a", "--tls-san", "b"]));
        for (name, value) in
            [("bind-address", "127.0.0.1"), ("https-listen-port", "6443"), ("disable-agent", "true"), ("disable-scheduler", "false"), ("tls-san", "a,b")]
        {
            assert_eq!(flags.get(name).map(String::as_str), Some(value), "{name}");
        }
        let agent = of(&args(&["skiff", "agent", "--server", "https://a:1", "--token", "secret"]));
        assert_eq!(agent.get("token").map(String::as_str), Some(CLASSIFIED));
        assert!(of(&args(&["skiff"])).is_empty());
    }

    /// Whoever declares a flag with such a name and a plain type finds out here.
    #[test]
    fn what_is_called_a_secret_is_declared_as_one() {
        let telling = |long: &str| ["token", "secret", "password", "passphrase", "credential"].iter().any(|w| long.split('-').next_back() == Some(*w));
        for command in Cli::command().get_subcommands() {
            for flag in command.get_arguments().filter(|a| a.get_action().takes_values()) {
                assert!(secret(flag) || !flag.get_long().is_some_and(telling), "{}: {}", command.get_name(), flag.get_id());
            }
        }
    }
}

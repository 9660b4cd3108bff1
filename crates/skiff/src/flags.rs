//! The flags of this process as it runs, for `/flagz`: given, of the configuration file, or by default.
use crate::cli::Cli;
use clap::{ArgMatches, CommandFactory};
use std::{collections::BTreeMap, ffi::OsString};

/// Values that nobody is to read there; files that hold them may be told.
const SECRET: [&str; 1] = ["token"];
const CLASSIFIED: &str = "CLASSIFIED";

/// Names and values of all flags of the command that `args` names; nothing when they can't be read.
pub fn of(args: &[OsString]) -> BTreeMap<String, String> {
    let command = Cli::command();
    let Ok(matches) = command.clone().try_get_matches_from(args) else { return BTreeMap::new() };
    let Some((name, matches)) = matches.subcommand() else { return BTreeMap::new() };
    let Some(command) = command.find_subcommand(name) else { return BTreeMap::new() };
    let flags = command.get_arguments().filter_map(|a| Some((a.get_long()?, a.get_id().as_str())));
    flags.filter(|(long, _)| !matches!(*long, "help" | "version")).map(|(long, id)| (long.to_owned(), shown(long, id, matches))).collect()
}

fn shown(long: &str, id: &str, matches: &ArgMatches) -> String {
    let Ok(Some(values)) = matches.try_get_raw(id) else { return String::new() };
    if SECRET.contains(&long) {
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
        for (name, value) in [("bind-address", "127.0.0.1"), ("https-listen-port", "6443"), ("disable-agent", "true"), ("disable-scheduler", "false"), ("tls-san", "a,b")] {
            assert_eq!(flags.get(name).map(String::as_str), Some(value), "{name}");
        }
        let agent = of(&args(&["skiff", "agent", "--server", "https://a:1", "--token", "secret"]));
        assert_eq!(agent.get("token").map(String::as_str), Some(CLASSIFIED));
        assert!(of(&args(&["skiff"])).is_empty());
    }
}

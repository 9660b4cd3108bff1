//! `skiff token …`: tokens by which machines join, asked of the running server.
use crate::admin::{Ask, Told, ask};
use crate::cli::TokenCommand;
use anyhow::Context;

pub fn run(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { ttl, description, places } => {
            let seconds = seconds(&ttl).with_context(|| format!("--ttl {ttl:?} is not of the form 90s, 15m, 24h or 7d (0 is for ever)"))?;
            if let Told::Token(token) = ask(&places.run_dir, &Ask::TokenCreate { seconds, description })? {
                println!("{token}");
                // On standard error, so that $(skiff token create) is the token alone.
                if let Some(traces) = crate::admin::read_traces(&places.run_dir)?.filter(|t| !t.url.is_empty()) {
                    eprintln!("{}", join_line(&traces.url));
                }
            }
        }
        TokenCommand::List { places } => {
            let Told::Tokens(all) = ask(&places.run_dir, &Ask::TokenList)? else { return Ok(()) };
            println!("{:<8}{:<24}DESCRIPTION", "TOKEN", "EXPIRES");
            for t in all {
                println!("{:<8}{:<24}{}", t.id, if t.expires.is_empty() { "<never>" } else { &t.expires }, t.description);
            }
        }
        TokenCommand::Delete { ids, places } => {
            for id in ids {
                ask(&places.run_dir, &Ask::TokenDelete(id))?;
            }
        }
    }
    Ok(())
}

/// What to type on the other machine. Not the token itself: arguments are seen by everybody there.
fn join_line(url: &str) -> String {
    format!(
        "On the machine that is to join, as root, with the token in a file that only root can read:\n  skiff agent --server {url} --token-file /etc/skiff/token"
    )
}

fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    let unit = match unit {
        "" if number == 0 => 1,
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_join_can_be_copied() {
        assert!(join_line("https://192.0.2.10:6443").ends_with("\n  skiff agent --server https://192.0.2.10:6443 --token-file /etc/skiff/token"));
    }

    #[test]
    fn spans() {
        for (text, want) in
            [("0", Some(0)), ("90s", Some(90)), ("24h", Some(86_400)), ("7d", Some(604_800)), ("5", None), ("h", None), ("1w", None), ("-1s", None)]
        {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}

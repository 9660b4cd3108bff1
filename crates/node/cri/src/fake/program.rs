//! What the pretended programs do.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Exit(i32),
    Missing,
    Stubborn,
    Echo(String),
    Cat,
    Run,
}

impl Program {
    pub(super) fn read(argv: &[String]) -> Self {
        match argv.first().map(String::as_str) {
            Some("exit") => Self::Exit(argv.get(1).and_then(|code| code.parse().ok()).unwrap_or(0)),
            Some("not-there") => Self::Missing,
            Some("stubborn") => Self::Stubborn,
            Some("echo") => Self::Echo(format!("{}\n", argv.get(1..).unwrap_or_default().join(" "))),
            Some("cat") => Self::Cat,
            _ => Self::Run,
        }
    }
}

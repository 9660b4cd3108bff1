//! `skiff secrets-encrypt …`: encryption at rest, asked of the running server.
use crate::admin::{Ask, EncryptionAsk, EncryptionStatus, Told, ask};
use crate::cli::{EncryptionCommand, Output};

pub fn run(command: EncryptionCommand) -> anyhow::Result<()> {
    let (what, places, output) = match command {
        EncryptionCommand::Status { output, places } => (EncryptionAsk::Status, places, output),
        EncryptionCommand::Enable { places } => (EncryptionAsk::Enable, places, Output::Table),
        EncryptionCommand::Disable { places } => (EncryptionAsk::Disable, places, Output::Table),
        EncryptionCommand::Prepare { places } => (EncryptionAsk::Prepare, places, Output::Table),
        EncryptionCommand::Rotate { places } => (EncryptionAsk::Rotate, places, Output::Table),
        EncryptionCommand::Reencrypt { places } => (EncryptionAsk::Reencrypt, places, Output::Table),
        EncryptionCommand::RotateKeys { places } => (EncryptionAsk::RotateKeys, places, Output::Table),
    };
    let Told::Encryption(status) = ask(&places.run_dir, &Ask::Encryption(what))? else { return Ok(()) };
    match output {
        Output::Json => println!("{}", skiff_json::to_string_pretty(&status)?),
        Output::Table => print!("{}", text(&status)),
    }
    Ok(())
}

fn text(s: &EncryptionStatus) -> String {
    let enabled = s.rules.iter().any(|(_, p)| p != "identity");
    let mut out = format!("Encryption Status: {}\nCurrent Rotation Stage: {}\n", if enabled { "Enabled" } else { "Disabled" }, s.stage);
    if let Some(file) = &s.file {
        out += &format!("Configuration: {}\n", file.display());
    }
    out += "\nRESOURCES                       SEALED WITH\n";
    for (resources, provider) in &s.rules {
        out += &format!("{resources:<31} {provider}\n");
    }
    out += "\nKEY                             VALUES\n";
    for (label, n) in &s.values {
        out += &format!("{label:<31} {n}\n");
    }
    if s.stale > 0 {
        out += &format!("\n{} values lie otherwise than these settings say: reencrypt seals them anew\n", s.stale);
    }
    out
}

//! `skiff image …`: asks the running server; without one, works on the image store itself.
use crate::admin::{Ask, Image, Told, ask, read_traces, socket};
use crate::cli::{ImageCommand, Output, Places};
use anyhow::{Context, bail};
use std::path::Path;

pub fn run(command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Import { files, places } => {
            for file in files {
                let path = file.canonicalize().with_context(|| format!("find {}", file.display()))?;
                eprintln!("importing {} …", file.display());
                if let Told::Images(images) = tell(&places, Ask::ImageImport(path))? {
                    print(&images);
                }
            }
            Ok(())
        }
        ImageCommand::Pull { reference, places } => {
            eprintln!("pulling {reference} …");
            tell(&places, Ask::ImagePull(reference)).map(drop)
        }
        ImageCommand::List { output, places } => {
            let Told::Images(images) = tell(&places, Ask::ImageList)? else { return Ok(()) };
            match output {
                Output::Json => println!("{}", skiff_json::to_string_pretty(&images)?),
                Output::Table => print(&images),
            }
            Ok(())
        }
        ImageCommand::Rm { references, force, places } => {
            for reference in references {
                tell(&places, Ask::ImageRemove { reference, force }).map(drop)?;
            }
            Ok(())
        }
    }
}

fn print(images: &[Image]) {
    let rows: Vec<(String, &str, String)> = images
        .iter()
        .map(|i| {
            (i.references.first().cloned().unwrap_or_else(|| "<none>".into()), i.id.split(':').next_back().map_or("", |d| &d[..d.len().min(12)]), human(i.size))
        })
        .collect();
    let width = rows.iter().map(|r| r.0.len()).max().unwrap_or(9).max(9);
    println!("{:width$}  {:12}  SIZE", "REFERENCE", "ID");
    for (reference, id, size) in rows {
        println!("{reference:width$}  {id:12}  {size}");
    }
}

fn human(bytes: u64) -> String {
    match bytes {
        0..=999_999 => format!("{} kB", bytes / 1000),
        1_000_000..=999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

fn tell(places: &Places, what: Ask) -> anyhow::Result<Told> {
    if socket(&places.run_dir).exists() && std::os::unix::net::UnixStream::connect(socket(&places.run_dir)).is_ok() {
        return ask(&places.run_dir, &what);
    }
    // Who only looks makes nothing.
    let (store, makes) = (crate::node::image_store(&places.data_dir), matches!(what, Ask::ImageImport(_) | Ask::ImagePull(_)));
    if !makes && !store.is_dir() {
        bail!("there is no image store in {}; does the server run with another --run-dir, or was it another --data-dir?", places.data_dir.display());
    }
    let _lock = crate::lock::take(&places.data_dir)?;
    let registries = read_traces(&places.run_dir)?.map_or_else(|| places.config_dir.join("registries.yaml"), |t| t.registries);
    alone(&places.data_dir, &registries, what)
}

/// No server runs: this process has the store to itself.
fn alone(data: &Path, registries: &Path, what: Ask) -> anyhow::Result<Told> {
    let images = crate::node::images(data, registries)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(crate::node::door::Door { images: Some(images), ..Default::default() }.answer(what))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        assert_eq!([super::human(5_000), super::human(2_500_000), super::human(3_000_000_000)], ["5 kB", "2.5 MB", "3.00 GB"]);
    }
}

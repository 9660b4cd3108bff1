//! Answers on the private door of a server or an agent.
use crate::admin::{Ask, Image, MAX_LINE, Told, socket};
use crate::server::encryption::Encryption;
use crate::server::tokens::Tokens;
use anyhow::{Context, bail};
use skiff_cri::{ContainerFilter, ContainerId, Images, Runtime, SandboxFilter};
use skiff_images::ImageService;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What can be asked for here.
#[derive(Clone, Default)]
pub struct Door {
    /// None when there is no node in this process.
    pub images: Option<ImageService>,
    /// None when no server or agent runs.
    pub runtime: Option<Arc<dyn Runtime>>,
    /// Tokens by which machines join; None in an agent.
    pub tokens: Option<Tokens>,
    /// None in an agent.
    pub encryption: Option<Encryption>,
}

/// Opens the door.
pub fn open(run: &Path, door: Door, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let path = socket(run);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).with_context(|| format!("protect {}", path.display()))?;
    let (stop, inner) = (stop.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
            inner.spawn(stop.clone().run_until_cancelled_owned(serve(stream, door.clone())));
        }
    });
    Ok(())
}

async fn serve(stream: UnixStream, door: Door) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    if BufReader::new(read.take(MAX_LINE)).read_line(&mut line).await.is_err() {
        return;
    }
    let told = match skiff_json::from_str::<Ask>(&line) {
        Ok(ask) => door.answer(ask).await.unwrap_or_else(|e| Told::Failed(format!("{e:#}"))),
        Err(e) => Told::Failed(format!("the request is not understood: {e}")),
    };
    let mut out = skiff_json::to_vec(&told).unwrap_or_default();
    out.push(b'\n');
    let _ = write.write_all(&out).await;
}

impl Door {
    pub async fn answer(self, ask: Ask) -> anyhow::Result<Told> {
        let tokens = || self.tokens.as_ref().context("tokens are the server's to give out: ask there");
        let images = || self.images.as_ref().context("this server runs no node");
        Ok(match ask {
            Ask::LogLevel(levels) => {
                skiff_telemetry::set_levels(&levels)?;
                Told::Done
            }
            Ask::ImageList => Told::Images(images()?.list().await?.into_iter().map(image).collect()),
            Ask::ImageImport(path) => Told::Images(images()?.import(&path).await?.into_iter().map(image).collect()),
            Ask::ImagePull(reference) => {
                images()?.pull(&reference, &[], None).await?;
                Told::Done
            }
            Ask::ImageRemove { reference, force } => {
                if images()?.status(&reference).await?.is_none() {
                    bail!("there is no image {reference:?}");
                }
                let users = if force { Vec::new() } else { images()?.users(&reference).await? };
                if !users.is_empty() {
                    bail!("{}", in_use(&reference, &self.names(&users).await?));
                }
                images()?.remove(&reference).await?;
                Told::Done
            }
            Ask::TokenCreate { seconds, description } => Told::Token(tokens()?.create(seconds, &description).await?.to_string()),
            Ask::Encryption(what) => Told::Encryption(self.encryption.as_ref().context("only a server has a datastore: ask there")?.answer(what).await?),
            Ask::TokenList => Told::Tokens(tokens()?.list().await?),
            Ask::TokenDelete(id) => {
                tokens()?.delete(&id).await?;
                Told::Done
            }
        })
    }
}

impl Door {
    /// How users know these containers: by pod and name, where the runtime tells.
    async fn names(&self, ids: &[ContainerId]) -> anyhow::Result<Vec<String>> {
        let (mut containers, mut pods) = (Vec::new(), Vec::new());
        if let Some(runtime) = &self.runtime {
            containers = runtime.list_containers(&ContainerFilter::default()).await?;
            pods = runtime.list_sandboxes(&SandboxFilter::default()).await?;
        }
        let name = |id: &ContainerId| {
            let container = containers.iter().find(|c| c.id == *id)?;
            let pod = &pods.iter().find(|p| p.id == container.sandbox)?.metadata;
            Some(format!("container {} of pod {}/{}", container.metadata.name, pod.namespace, pod.name))
        };
        Ok(ids.iter().map(|id| name(id).unwrap_or_else(|| format!("container {id}"))).collect())
    }
}

/// Why an image is not removed, and what to do.
fn in_use(reference: &str, users: &[String]) -> String {
    const MOST: usize = 3;
    let more = users.len().saturating_sub(MOST);
    let named = users.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    let named = if more > 0 { format!("{named} and {more} more") } else { named };
    format!(
        "image {reference} is used by {named}: delete the pod first, or use --force (the container goes on; whoever starts the next one needs the image again)"
    )
}

fn image(i: skiff_cri::Image) -> Image {
    Image { id: i.id.to_string(), references: i.tags.iter().chain(&i.digests).cloned().collect(), size: i.size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_uses_an_image_is_named() {
        let users: Vec<String> = ["web of pod default/shop", "a", "b", "c"].iter().map(|name| format!("container {name}")).collect();
        let told = in_use("shop:1", users.get(..1).unwrap_or_default());
        assert!(told.starts_with("image shop:1 is used by container web of pod default/shop: delete the pod first"), "{told}");
        assert!(in_use("shop:1", &users).contains("container b and 1 more"));
    }
}

//! Answers on the private door.
use crate::admin::{Ask, Image, MAX_LINE, Told, Traces, socket, traces};
use crate::server::settings::Settings;
use anyhow::Context;
use skiff_cri::Images;
use skiff_images::ImageService;
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Writes down what `skiff stop` must know, and opens the door.
pub fn start(s: &Settings, images: Option<ImageService>, tasks: &TaskTracker, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut t = Traces { kubeconfig: s.kubeconfig.clone(), pods: s.pods.clone(), services: s.services.clone(), ..Default::default() };
    if let Some(n) = &s.node {
        t = Traces { cgroup: n.cgroup.clone(), prefix: n.prefix.clone(), node: n.name.clone(), registries: n.registries.clone(), ..t };
    }
    skiff_pki::write_private(&traces(&s.run), &serde_json::to_vec(&t)?)?;
    let path = socket(&s.run);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).with_context(|| format!("protect {}", path.display()))?;
    let (stop, inner) = (stop.clone(), tasks.clone());
    tasks.spawn(async move {
        while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
            inner.spawn(stop.clone().run_until_cancelled_owned(serve(stream, images.clone())));
        }
    });
    Ok(())
}

async fn serve(stream: UnixStream, images: Option<ImageService>) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    if BufReader::new(read.take(MAX_LINE)).read_line(&mut line).await.is_err() {
        return;
    }
    let told = match serde_json::from_str::<Ask>(&line) {
        Ok(ask) => answer(ask, images).await.unwrap_or_else(|e| Told::Failed(format!("{e:#}"))),
        Err(e) => Told::Failed(format!("the request is not understood: {e}")),
    };
    let mut out = serde_json::to_vec(&told).unwrap_or_default();
    out.push(b'\n');
    let _ = write.write_all(&out).await;
}

pub async fn answer(ask: Ask, images: Option<ImageService>) -> anyhow::Result<Told> {
    if let Ask::LogLevel(levels) = &ask {
        skiff_telemetry::set_levels(levels)?;
        return Ok(Told::Done);
    }
    let images = images.context("this server runs no node")?;
    match ask {
        Ask::LogLevel(_) => {}
        Ask::ImageList => return Ok(Told::Images(images.list().await?.into_iter().map(image).collect())),
        Ask::ImageImport(path) => return Ok(Told::Images(images.import(&path).await?.into_iter().map(image).collect())),
        Ask::ImagePull(reference) => {
            images.pull(&reference, &[], None).await?;
        }
        Ask::ImageRemove(reference) => images.remove(&reference).await?,
    }
    Ok(Told::Done)
}

fn image(i: skiff_cri::Image) -> Image {
    Image { id: i.id.to_string(), references: i.tags.iter().chain(&i.digests).cloned().collect(), size: i.size }
}

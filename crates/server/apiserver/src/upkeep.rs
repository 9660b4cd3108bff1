//! What a server does on its own: events expire, history is compacted, records of addresses are mended.
use skiff_registry::Registry;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Events past their time are looked for this often.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// History is forgotten this often, up to where it was the time before: a token or a watch lives at least so long.
const COMPACT_EVERY: Duration = Duration::from_secs(300);
/// Records of Services' addresses are compared with the Services this often.
const REPAIR_EVERY: Duration = Duration::from_secs(180);

pub(crate) async fn upkeep(registry: Arc<Registry>, stop: CancellationToken) {
    let (mut expire, mut compact, mut repair) =
        (tokio::time::interval(EXPIRE_EVERY), tokio::time::interval(COMPACT_EVERY), tokio::time::interval(REPAIR_EVERY));
    let mut before = skiff_meta::Revision::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = expire.tick() => {
                registry.expire().await;
            }
            _ = repair.tick() => {
                let (made, removed) = registry.repair_addresses().await;
                if made + removed > 0 {
                    tracing::info!(target: "api", made, removed, "records of service addresses mended");
                }
            }
            _ = compact.tick() => {
                if before > registry.store().oldest() && let Err(error) = registry.store().compact(before).await {
                    tracing::warn!(target: "api", %error, revision = before.0, "compaction failed");
                }
                before = registry.store().revision();
            }
        }
    }
}

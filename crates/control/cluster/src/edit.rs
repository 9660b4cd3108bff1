//! Changes by read, merge and update: upstream's default roles let most controllers update, not patch.
use skiff_client::{Client, Target};
use skiff_json::Value;
use skiff_meta::{Reason, Status};

const TRIES: usize = 4;

/// Merges `change` (RFC 7386) into the present state and writes it with a compare-and-swap, again when somebody was
/// faster. A change that names a resourceVersion is tried against that one alone. The write goes to the target's
/// subresource, the read to the object.
pub(crate) async fn edit(client: &Client, target: Target, change: &Value) -> Result<(), Status> {
    let object = Target { subresource: String::new(), ..target.clone() };
    let pinned = change.pointer("/metadata/resourceVersion").is_some_and(|v| !v.is_null());
    let mut last = Status::internal("no try was made");
    for _ in 0..if pinned { 1 } else { TRIES } {
        let bytes = client.get_bytes(object.clone()).await?;
        let live: Value = skiff_json::from_slice(&bytes).map_err(|e| Status::internal(format!("decode {}: {e}", object.path())))?;
        let wanted = skiff_patch::merge_patch(&live, change);
        match client.update_bytes(target.clone(), wanted.to_string()).await {
            Err(e) if e.is(Reason::Conflict) && !pinned => last = e,
            done => return done.map(drop),
        }
    }
    Err(last)
}

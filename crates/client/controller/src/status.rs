//! Changes that somebody else may make at the same time.
use skiff_client::{Client, Object};
use skiff_meta::{Reason, Status};

const TRIES: usize = 5;

/// Reads the object, lets `change` edit it and writes its status back; again when somebody was faster. `change` says
/// whether there is anything to write. None when the object is gone.
pub async fn change_status<K: Object>(client: &Client, namespace: &str, name: &str, mut change: impl FnMut(&mut K) -> bool) -> Result<Option<K>, Status> {
    for _ in 1..TRIES {
        match status_once(client, namespace, name, &mut change).await {
            Err(e) if e.is(Reason::Conflict) => {}
            done => return done,
        }
    }
    status_once(client, namespace, name, &mut change).await
}

async fn status_once<K: Object>(client: &Client, namespace: &str, name: &str, change: &mut impl FnMut(&mut K) -> bool) -> Result<Option<K>, Status> {
    let Some(mut object) = client.find::<K>(namespace, name).await? else { return Ok(None) };
    if !change(&mut object) {
        return Ok(Some(object));
    }
    client.update_status(&object).await.map(Some)
}

/// The same for everything but the status.
pub async fn changed<K: Object>(client: &Client, namespace: &str, name: &str, mut change: impl FnMut(&mut K) -> bool) -> Result<Option<K>, Status> {
    let mut last = None;
    for _ in 0..TRIES {
        let Some(mut object) = client.find::<K>(namespace, name).await? else { return Ok(None) };
        if !change(&mut object) {
            return Ok(Some(object));
        }
        match client.update(&object).await {
            Err(e) if e.is(Reason::Conflict) => last = Some(e),
            done => return done.map(Some),
        }
    }
    Err(last.unwrap_or_else(|| Status::internal("no try was made")))
}

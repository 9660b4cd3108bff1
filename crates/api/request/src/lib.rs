//! One API request and its answer, apart from any transport.
//!
//! The HTTP server and the in-process client both make a [`Call`], hand it with a [`User`] to a [`Service`] (the
//! registry) and get an [`Answer`]: the same authorisation, admission and write path for both. In process the bytes
//! in an answer are the store's own, shared. Connections (exec, logs, port-forward, proxy) are not calls.

mod answer;
mod call;
mod notes;
mod user;

pub use answer::{Answer, Frames, ListAnswer, WatchEvent, WatchKind, WatchStream};
pub use call::{Call, PatchType, Query, Target, Verb};
pub use notes::Notes;
pub use user::User;

/// Who answers calls.
#[async_trait::async_trait]
pub trait Service: Send + Sync + 'static {
    /// Authorises, admits, reads or writes. The error is what the client sees.
    async fn serve(&self, user: std::sync::Arc<User>, call: Call) -> Result<Answer, skiff_meta::Status>;
}

//! Putting the question to a webhook.
use super::{
    hook::Hook,
    matching::Invocation,
    review::{self, Answer},
};
use crate::versions::View;
use http::StatusCode;
use skiff_json::Value;
use skiff_policy::Attributes;
use skiff_webhook::{Client, Request, refused};

/// Answers are read up to this; a patch may be as large as the largest object, in base64.
const ANSWER_LIMIT: usize = 8 << 20;

/// Asks and reads the answer; the error says what went wrong as upstream does.
pub(super) async fn ask(client: &Client, a: &Attributes<'_>, hook: &Hook, i: &Invocation, view: &View, mutating: bool) -> Result<Answer, String> {
    let version = review::version(hook)?;
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(a, i, view, version, &uid);
    hook.place.shown("")?;
    let request =
        Request { agent: "kube-apiserver-admission", body: question.to_string().into(), timeout: hook.timeout, limit: ANSWER_LIMIT, place: &hook.place };
    let failed = |why: String| format!("failed to call webhook: {why}");
    let (status, body) = client.post(&request).await.map_err(failed)?;
    if status != StatusCode::OK {
        return Err(failed(refused(status, &body)));
    }
    let review: Value = skiff_json::from_slice(&body).map_err(|e| failed(format!("couldn't get version/kind; json parse error: {e}")))?;
    review::answer(&review, version, &uid, mutating).map_err(|why| format!("received invalid webhook response: {why}"))
}

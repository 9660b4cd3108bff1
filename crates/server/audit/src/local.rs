//! The in-process door: calls of components in this process are recorded like requests over the network.
use crate::{About, Auditor, Record};
use futures::StreamExt;
use skiff_meta::Status;
use skiff_request::{Answer, Call, Service, User};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// A service whose calls are recorded.
pub struct Audited {
    service: Arc<dyn Service>,
    auditor: Arc<Auditor>,
}

impl Audited {
    pub fn new(service: Arc<dyn Service>, auditor: Arc<Auditor>) -> Self {
        Self { service, auditor }
    }
}

/// The path and query that the call would have over the network.
fn uri(call: &Call) -> String {
    let query: Vec<String> = call.query.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
    if query.is_empty() { call.target.path() } else { format!("{}?{}", call.target.path(), query.join("&")) }
}

#[async_trait::async_trait]
impl Service for Audited {
    async fn serve(&self, user: Arc<User>, mut call: Call) -> Result<Answer, Status> {
        let id = uuid::Uuid::new_v4().to_string();
        let about = About {
            id: &id,
            user: Some(&user),
            verb: call.verb.as_str(),
            uri: uri(&call),
            target: Some(&call.target),
            sources: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            agent: &call.user_agent,
            received: (self.auditor.now)(),
        };
        let Some(mut record) = self.auditor.begin(about) else { return self.service.serve(user, call).await };
        record.received().await.map_err(|_| Status::internal("failed to store audit event"))?;
        if call.verb.writes() {
            record.request(&call.body);
        }
        call.notes = Some(record.notes().clone());
        match self.service.serve(user, call).await {
            Ok(Answer::Watch { kind, events }) => {
                record.code(200);
                record.started().await;
                // The record ends with the stream.
                let kept = move |event| {
                    let _ = &record;
                    event
                };
                let events = events.map(kept).boxed();
                Ok(Answer::Watch { kind, events })
            }
            Ok(answer) => {
                record.answer(&answer);
                record.complete().await;
                Ok(answer)
            }
            Err(status) => {
                record.status(&status);
                record.complete().await;
                Err(status)
            }
        }
    }
}

impl Record {
    /// What the registry answers, but for watches.
    pub fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Object { code, bytes, .. } => {
                self.response(bytes);
                self.code(*code);
            }
            Answer::List(list) => {
                if self.wants_response() {
                    self.response(&list.json());
                }
                self.code(200);
            }
            Answer::Status(status, _) => self.status(status),
            Answer::Watch { .. } => self.code(200),
        }
    }
}

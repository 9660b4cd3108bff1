//! Calls to the server in the same process.
use crate::{Transport, counts};
use skiff_meta::Status;
use skiff_request::{Answer, Call, Service, User};
use std::{sync::Arc, time::Instant};

/// The server in this process, asked under one identity.
pub struct Local {
    service: Arc<dyn Service>,
    user: Arc<User>,
}

impl Local {
    pub fn new(service: Arc<dyn Service>, user: User) -> Self {
        Self { service, user: Arc::new(user) }
    }
}

#[async_trait::async_trait]
impl Transport for Local {
    async fn call(&self, call: Call) -> Result<Answer, Status> {
        let (verb, size, begun) = (call.verb, call.body.len(), Instant::now());
        let answer = self.service.serve(self.user.clone(), call).await;
        counts::called(verb, size, &answer, begun.elapsed());
        answer
    }
}

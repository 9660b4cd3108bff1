//! Starting a container, and what is done when the shim's answer is lost.

use skiff_cri::{ContainerId, ContainerState, ExitReason, Result, RuntimeError, RuntimeEvent};
use skiff_oci::cgroup::Cgroup;
use skiff_shim::protocol::{Answer, Exit, Request, StartRequest};

use crate::client::{Shim, lost, unexpected};
use crate::files::{blocking, oci_failed};
use crate::state::{ContainerRecord, EmbeddedRuntime, Ended, log_path, now};

impl EmbeddedRuntime {
    pub(crate) async fn launch(&self, id: &ContainerId) -> Result<()> {
        let record = {
            let mut tables = self.inner.tables.lock();
            let container = tables.container(id)?;
            if container.state() != ContainerState::Created || container.starting {
                return Err(RuntimeError::Precondition(format!("container {id} has been started before")));
            }
            container.starting = true;
            container.record.started_at = now();
            container.record.clone()
        };
        let started = match self.ask_to_start(&record).await {
            Ok(pid) => Ok((pid, None)),
            Err(StartFailure::Refused(error)) => Err(error),
            Err(StartFailure::Unanswered(error)) => self.find_started(&record, error).await,
        };
        let early = {
            let mut tables = self.inner.tables.lock();
            let container = tables.container(id)?;
            container.starting = false;
            container.pid = started.as_ref().ok().map(|(pid, _)| *pid);
            // Should we end now, the next daemon learns of the start from the shim.
            if let Err(error) = self.inner.save_container(&container.record) {
                tracing::warn!(target: "node::runtime", container = %id, error = %error.full_message(), "start not recorded");
            }
            container.early_exit.take()
        };
        match started {
            Ok((_, exit)) => {
                self.inner.push(RuntimeEvent::ContainerStarted { sandbox: record.sandbox, container: id.clone() });
                if let Some(exit) = early.or(exit) {
                    self.end(id, Ended::from_exit(&exit));
                }
                Ok(())
            }
            Err(error) => {
                let message = error.full_message();
                self.end(id, Ended { code: 128, reason: ExitReason::StartError, message, finished_at: now() });
                Err(error)
            }
        }
    }

    async fn ask_to_start(&self, record: &ContainerRecord) -> std::result::Result<u32, StartFailure> {
        let mut shim = Shim::connect(&self.inner.config.sandbox(&record.sandbox)).await.map_err(StartFailure::Refused)?;
        let request = self.start_request(record).map_err(StartFailure::Refused)?;
        shim.send(&request, &[]).await.map_err(|error| StartFailure::Unanswered(lost(error)))?;
        let answer = shim.next().await.map_err(StartFailure::Unanswered)?;
        match Shim::accept(answer).map_err(StartFailure::Refused)? {
            Answer::Started { pid } => Ok(pid as u32),
            other => Err(StartFailure::Unanswered(unexpected(&other))),
        }
    }

    fn start_request(&self, record: &ContainerRecord) -> Result<Request> {
        let directory = self.inner.tables.lock().sandbox(&record.sandbox)?.record.config.log_directory.clone();
        Ok(Request::Start(Box::new(StartRequest {
            container: record.id.to_string(),
            spec: record.spec.clone(),
            folder: self.inner.container_folder(&record.sandbox, &record.id),
            log: log_path(&directory, &record.config.log_path),
            stdin: record.config.stdin,
            stdin_once: record.config.stdin_once,
        })))
    }

    /// The answer to a start was lost. What the shim has is taken up; when it can't be asked either, what may run is
    /// ended, so that a container that counts as failed never goes on unseen.
    async fn find_started(&self, record: &ContainerRecord, error: RuntimeError) -> Result<(u32, Option<Exit>)> {
        let Some((_, list)) = self.ask_shim(&self.inner.config.sandbox(&record.sandbox)).await else {
            self.kill_cgroup(&record.id, record.spec.cgroup.clone()).await;
            return Err(error);
        };
        match list.into_iter().find(|(id, ..)| *id == record.id) {
            Some((id, pid, exit)) => {
                tracing::warn!(target: "node::runtime", container = %id, error = %error.full_message(), "the answer to a start was lost; the container is there");
                Ok((pid as u32, exit))
            }
            None => Err(error),
        }
    }

    pub(crate) async fn kill_cgroup(&self, id: &ContainerId, cgroup: String) {
        let killed = blocking(move || {
            let cgroup = Cgroup::open(&cgroup).map_err(oci_failed("find the container's cgroup"))?;
            cgroup.kill();
            Ok(())
        });
        if let Err(error) = killed.await {
            tracing::warn!(target: "node::runtime", container = %id, error = %error.full_message(), "container without a supervisor not killed");
        }
    }
}

/// Why a container was not started, as far as we know.
enum StartFailure {
    /// The shim was not asked, or said so: nothing runs.
    Refused(RuntimeError),
    /// The shim was asked and its answer is lost: the container may run.
    Unanswered(RuntimeError),
}

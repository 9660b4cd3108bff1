//! One task a sandbox that hears from its shim and passes on what happened.

use skiff_cri::{ContainerId, ExitReason, RuntimeEvent, SandboxId};
use skiff_oci::cgroup::Cgroup;
use skiff_shim::protocol::{Answer, Exit, Request};

use crate::client::Shim;
use crate::state::{EmbeddedRuntime, Ended, now};

impl EmbeddedRuntime {
    /// Follows a shim until it is gone.
    pub(crate) fn follow(&self, sandbox: SandboxId, mut shim: Shim) {
        let runtime = self.clone();
        tokio::spawn(async move {
            // What ended before we watched is in the list; pushes may come before it.
            if shim.done(&Request::Watch, &[]).await.is_ok() && shim.send(&Request::List, &[]).await.is_ok() {
                while let Ok(answer) = shim.next().await {
                    runtime.hear(answer);
                }
            }
            let folder = runtime.inner.config.sandbox(&sandbox);
            // A daemon that was only slow reads on; a shim that is gone has lost its pod.
            match Shim::connect(&folder).await {
                Ok(shim) => runtime.follow(sandbox, shim),
                Err(_) => runtime.lost(&sandbox),
            }
        });
    }

    fn hear(&self, answer: Answer) {
        match answer {
            Answer::Exited { container, exit } => self.ended(&ContainerId::new(container), &exit),
            Answer::Containers(list) => {
                for info in list {
                    if let Some(exit) = info.exit {
                        self.ended(&ContainerId::new(info.container), &exit);
                    }
                }
            }
            _ => {}
        }
    }

    /// Writes down that a container has ended, and tells.
    pub(crate) fn ended(&self, id: &ContainerId, exit: &Exit) {
        let mut tables = self.inner.tables.lock();
        let Ok(container) = tables.container(id) else { return };
        if container.starting {
            container.early_exit = Some(*exit);
            return;
        }
        drop(tables);
        self.end(id, Ended::from_exit(exit));
    }

    pub(crate) fn end(&self, id: &ContainerId, ended: Ended) {
        let mut tables = self.inner.tables.lock();
        let Ok(container) = tables.container(id) else { return };
        if container.record.ended.is_some() {
            return;
        }
        let sandbox = container.record.sandbox.clone();
        let (exit_code, reason) = (ended.code, ended.reason);
        container.record.ended = Some(ended);
        container.pid = None;
        if let Err(error) = self.inner.save_container(&container.record) {
            tracing::warn!(target: "node::runtime", container = %id, error = %error.full_message(), "exit not recorded");
        }
        container.ended.send_replace(true);
        drop(tables);
        if reason == ExitReason::OomKilled {
            self.inner.push(RuntimeEvent::ContainerOom { sandbox: sandbox.clone(), container: id.clone() });
        }
        self.inner.push(RuntimeEvent::ContainerExited { sandbox, container: id.clone(), exit_code, reason });
    }

    /// The shim is gone: without a supervisor nothing of the pod may go on.
    pub(crate) fn lost(&self, sandbox: &SandboxId) {
        let (running, was_ready) = {
            let mut tables = self.inner.tables.lock();
            let Ok(entry) = tables.sandbox(sandbox) else { return };
            let was_ready = std::mem::replace(&mut entry.record.ready, false);
            // One that was ended on purpose is recorded as that already, and its folder may be gone.
            if was_ready && let Err(error) = self.inner.save_sandbox(&entry.record) {
                tracing::warn!(target: "node::runtime", sandbox = %sandbox, error = %error.full_message(), "loss of the shim not recorded");
            }
            let list = tables.containers.values().filter(|c| c.record.sandbox == *sandbox && c.record.started_at > 0 && c.record.ended.is_none());
            let running: Vec<_> = list.map(|c| (c.record.id.clone(), c.record.spec.cgroup.clone())).collect();
            (running, was_ready)
        };
        for (id, cgroup) in running {
            let exit = crate::recovery::read_exit(&self.inner.container_folder(sandbox, &id));
            match Cgroup::open(&cgroup) {
                Ok(cgroup) => cgroup.kill(),
                Err(error) => {
                    tracing::warn!(target: "node::runtime", container = %id, error = %error.full_message(), "container without a supervisor not killed")
                }
            }
            let message = "the container's supervisor was lost".to_owned();
            let ended = exit.map_or(Ended { code: 137, reason: ExitReason::Lost, message, finished_at: now() }, |exit| Ended::from_exit(&exit));
            self.end(&id, ended);
        }
        if was_ready {
            tracing::warn!(target: "node::runtime", sandbox = %sandbox, "shim lost");
            self.inner.push(RuntimeEvent::SandboxNotReady { sandbox: sandbox.clone() });
        }
    }
}

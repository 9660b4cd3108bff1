//! Carries out a plan: volumes, sandbox, images, containers.
use super::{Worker, pod_ips};
use crate::volumes::MountedVolumes;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::jiff::Timestamp;
use skiff_cri::{ContainerId, ContainerState, Image, Mount, SandboxId};
use skiff_pod::config::{self, ContainerInputs, SandboxInputs};
use skiff_pod::env::{self, Sources};
use skiff_pod::field::NodeFacts;
use skiff_pod::{Observed, Plan, StartFailure, container_config, dns, hosts, names, sandbox_config, service_env, view};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const ENDING: &str = "the pod ends";

fn failure(reason: &str, message: impl Into<String>) -> StartFailure {
    StartFailure { reason: reason.into(), message: message.into() }
}

impl Worker {
    /// What waits for others (pulls, hooks, grace periods) is broken off when the pod has to end; calls that make
    /// something run to their end, so that nothing half-made is left.
    pub(super) async fn carry_out(&mut self, pod: &Pod, observed: &Observed, plan: Plan, resize: &[skiff_pod::resize::Step]) -> Result<(), String> {
        let ending = self.slot.ending.clone();
        if plan.kill_pod {
            if plan.create_sandbox && !observed.sandboxes().is_empty() {
                self.agent.recorder.normal(&self.agent.about(pod), "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
            }
            ending.run_until_cancelled(self.kill_all(pod, observed, None)).await.ok_or(ENDING)??;
            if !plan.create_sandbox {
                return Ok(());
            }
        }
        for k in &plan.kill {
            let probe = match k.reason {
                skiff_pod::KillReason::LivenessProbe => Some(skiff_pod::probe::ProbeKind::Liveness),
                skiff_pod::KillReason::StartupProbe => Some(skiff_pod::probe::ProbeKind::Startup),
                _ => None,
            };
            ending.run_until_cancelled(self.kill_container(pod, &k.id, &k.name, &k.message, probe, None)).await.ok_or(ENDING)??;
        }
        self.resize(pod, observed, resize).await;
        let volumes = self.volumes(pod, observed).await?;
        let starts = plan.create_sandbox || !(plan.start_init.is_empty() && plan.start.is_empty() && plan.start_ephemeral.is_empty());
        if !starts {
            return Ok(());
        }
        if ending.is_cancelled() {
            return Err(ENDING.into());
        }
        self.prepare_devices(pod).await?;
        let (sandbox, ips) = if plan.create_sandbox {
            self.create_sandbox(pod, plan.attempt).await?
        } else {
            let id = plan.sandbox.clone().ok_or("no sandbox")?;
            (id, pod_ips(observed, &self.agent.config.node_ips, pod))
        };
        self.start_containers(pod, observed, &plan, &sandbox, &ips, &volumes).await
    }

    async fn volumes(&mut self, pod: &Pod, observed: &Observed) -> Result<MountedVolumes, String> {
        let dir = self.agent.config.pod_dir(&self.slot.uid);
        tokio::fs::create_dir_all(&dir).await.map_err(|e| format!("error making pod data directories: {e}"))?;
        let ips = pod_ips(observed, &self.agent.config.node_ips, pod);
        self.volume_images(pod, observed).await?;
        match self.agent.volumes.set_up(pod, &dir, &ips).await {
            Ok(mounted) => {
                self.volume_error = None;
                if let Some(d) = mounted.refresh_in {
                    self.retries.push(self.agent.now() + k8s_openapi::jiff::SignedDuration::try_from(d).unwrap_or_default());
                }
                Ok(mounted)
            }
            Err(e) => {
                let text = e.to_string();
                if self.volume_error.as_ref() != Some(&text) || self.errors.is_multiple_of(8) {
                    self.agent.recorder.warning(&self.agent.about(pod), "FailedMount", text.clone());
                }
                self.volume_error = Some(text.clone());
                Err(text)
            }
        }
    }

    /// Fetches the images that the pod mounts as volumes, before its first container is there; a failure is shown by
    /// each container that mounts one.
    async fn volume_images(&mut self, pod: &Pod, observed: &Observed) -> Result<(), String> {
        if !observed.containers().is_empty() {
            return Ok(());
        }
        for v in view::spec(pod).volumes.iter().flatten() {
            let Some(i) = &v.image else { continue };
            let image = Container { name: v.name.clone(), image: i.reference.clone(), image_pull_policy: i.pull_policy.clone(), ..Container::default() };
            let agent = self.agent.clone();
            let Some(pulled) = self.slot.ending.run_until_cancelled(agent.ensure_image(pod, &image)).await else { return Err(ENDING.into()) };
            let Err(e) = pulled else { continue };
            self.retries.push(e.retry.unwrap_or_else(|| self.agent.now() + Duration::from_secs(10)));
            let mounts = |c: &&Container| c.volume_mounts.iter().flatten().any(|m| m.name == v.name);
            for c in view::containers(pod).iter().chain(view::init_containers(pod)).filter(mounts) {
                self.failures.insert(c.name.clone(), e.failure.clone());
            }
            return Err(format!("image volume {:?}: {}: {}", v.name, e.failure.reason, e.failure.message));
        }
        Ok(())
    }

    async fn prepare_devices(&mut self, pod: &Pod) -> Result<(), String> {
        if view::spec(pod).resource_claims.iter().flatten().next().is_none() {
            return Ok(());
        }
        self.agent.devices.prepare(&self.agent.client, pod).await.inspect_err(|why| {
            self.agent.recorder.warning(&self.agent.about(pod), "FailedPrepareDynamicResources", format!("Failed to prepare dynamic resources: {why}"));
        })
    }

    async fn create_sandbox(&mut self, pod: &Pod, attempt: u32) -> Result<(SandboxId, Vec<IpAddr>), String> {
        let agent = self.agent.clone();
        let about = agent.about(pod);
        let host = hosts::host_name(pod, &agent.config.cluster_domain);
        let hostname = host.kernel_name(view::spec(pod).set_hostname_as_fqdn == Some(true)).inspect_err(|e| {
            agent.recorder.warning(&about, "FailedCreatePodSandBox", format!("Failed to create pod sandbox: {e}"));
        })?;
        let (dns, warnings) = dns::pod_dns(pod, &agent.dns().await);
        for w in warnings {
            agent.recorder.warning(&about, "DNSConfigForming", w);
        }
        self.write_resolver(&dns).await?;
        let config = sandbox_config(
            pod,
            SandboxInputs {
                attempt,
                hostname,
                dns,
                log_root: &agent.config.log_dir,
                cgroup_root: &agent.config.cgroup_root,
                pids_limit: agent.config.pod_pids_limit,
                runtime_handler: self.runtime_handler(pod).await?,
            },
        );
        tokio::fs::create_dir_all(&config.log_directory).await.map_err(|e| format!("make log directory: {e}"))?;
        let id = match agent.runtime.run_sandbox(&config).await {
            Ok(id) => id,
            Err(e) => {
                let text = e.full_message();
                agent.recorder.warning(&about, "FailedCreatePodSandBox", format!("Failed to create pod sandbox: {text}"));
                return Err(text);
            }
        };
        self.slot.sandboxes.lock().push(id.clone());
        let status = agent.runtime.sandbox_status(&id).await.map_err(|e| e.full_message())?;
        let ips = if view::host_network(pod) { agent.config.node_ips.clone() } else { status.ips.0 };
        Ok((id, ips))
    }

    /// The handler of the pod's RuntimeClass.
    async fn runtime_handler(&self, pod: &Pod) -> Result<String, String> {
        let Some(class) = view::spec(pod).runtime_class_name.as_deref().filter(|c| !c.is_empty()) else { return Ok(String::new()) };
        match self.agent.client.find::<k8s_openapi::api::node::v1::RuntimeClass>("", class).await {
            Ok(Some(c)) => Ok(c.handler),
            Ok(None) => {
                let text = format!("failed to get sandbox runtime: RuntimeClass {class:?} not found");
                self.agent.recorder.warning(&self.agent.about(pod), "FailedCreatePodSandBox", format!("Failed to create pod sandbox: {text}"));
                Err(text)
            }
            Err(e) => Err(e.to_string()),
        }
    }

    fn etc_dir(&self) -> PathBuf {
        self.agent.config.pod_dir(&self.slot.uid).join("etc")
    }

    async fn write_resolver(&self, d: &skiff_cri::DnsConfig) -> Result<(), String> {
        let dir = self.etc_dir();
        let write = async {
            tokio::fs::create_dir_all(&dir).await?;
            tokio::fs::write(dir.join("resolv.conf"), dns::resolv_conf(d)).await
        };
        write.await.map_err(|e| format!("write resolv.conf of pod: {e}"))
    }

    async fn write_hosts(&self, pod: &Pod, ips: &[IpAddr]) -> Result<(), String> {
        let aliases = view::spec(pod).host_aliases.as_deref().unwrap_or_default();
        let text = if view::host_network(pod) {
            hosts::hosts_file_of_node(&tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default(), aliases)
        } else {
            hosts::hosts_file(ips, &hosts::host_name(pod, &self.agent.config.cluster_domain), aliases)
        };
        let dir = self.etc_dir();
        let write = async {
            tokio::fs::create_dir_all(&dir).await?;
            tokio::fs::write(dir.join("hosts"), text).await
        };
        write.await.map_err(|e| format!("write hosts file of pod: {e}"))
    }

    async fn start_containers(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        plan: &Plan,
        sandbox: &SandboxId,
        ips: &[IpAddr],
        volumes: &MountedVolumes,
    ) -> Result<(), String> {
        self.write_hosts(pod, ips).await?;
        let ephemeral = view::ephemeral_containers(pod);
        for c in plan.start_ephemeral.iter().filter_map(|i| ephemeral.get(*i)) {
            let target = c.target_container_name.as_deref().and_then(|t| observed.find(t)).map(|c| c.id.clone());
            self.try_start(pod, observed, &view::as_container(c), sandbox, ips, volumes, target).await;
        }
        for i in &plan.start_init {
            let Some(c) = view::init_containers(pod).get(*i) else { continue };
            if !self.try_start(pod, observed, c, sandbox, ips, volumes, None).await && !view::is_sidecar(c) {
                return Ok(());
            }
        }
        for i in &plan.start {
            if let Some(c) = view::containers(pod).get(*i) {
                self.try_start(pod, observed, c, sandbox, ips, volumes, None).await;
            }
        }
        Ok(())
    }

    /// False when it did not start; the reason is kept for the status.
    #[expect(clippy::too_many_arguments, reason = "all of them differ from container to container or sync to sync")]
    async fn try_start(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        c: &Container,
        sandbox: &SandboxId,
        ips: &[IpAddr],
        volumes: &MountedVolumes,
        target: Option<ContainerId>,
    ) -> bool {
        if self.slot.ending.is_cancelled() {
            return false;
        }
        let result = match self.crash_wait(pod, observed, c) {
            Some(wait) => Err(wait),
            None => self.start_container(pod, observed, c, sandbox, ips, volumes, target).await,
        };
        match result {
            Ok(()) => {
                self.failures.remove(&c.name);
                true
            }
            Err((f, retry)) => {
                let retry = retry.unwrap_or_else(|| self.agent.now() + Duration::from_secs(10));
                self.retries.push(retry);
                self.failures.insert(c.name.clone(), f);
                false
            }
        }
    }

    /// CrashLoopBackOff, while it lasts.
    fn crash_wait(&mut self, pod: &Pod, observed: &Observed, c: &Container) -> Option<(StartFailure, Option<Timestamp>)> {
        let ended = observed.containers().iter().find(|s| s.metadata.name == c.name && s.state == ContainerState::Exited)?;
        let at = Timestamp::from_nanosecond(i128::from(ended.finished_at)).ok()?;
        let now = self.agent.now();
        let key = format!("{}_{}", c.name, names::container_hash(c));
        let Some(until) = self.backoff.until(&key, at, now) else {
            self.backoff.next(&key, at, now);
            return None;
        };
        let pod_name = view::full_name(pod);
        self.agent.recorder.warning(
            &self.agent.about_container(pod, &c.name),
            "BackOff",
            format!("Back-off restarting failed container {} in pod {pod_name}", c.name),
        );
        let delay = crate::pull::go_duration(self.backoff.delay(&key));
        let message = format!("back-off {delay} restarting failed container={} pod={pod_name}", c.name);
        Some((failure("CrashLoopBackOff", message), Some(until)))
    }

    #[expect(clippy::too_many_arguments, reason = "see try_start")]
    async fn start_container(
        &mut self,
        pod: &Pod,
        observed: &Observed,
        c: &Container,
        sandbox: &SandboxId,
        ips: &[IpAddr],
        volumes: &MountedVolumes,
        target: Option<ContainerId>,
    ) -> Result<(), (StartFailure, Option<Timestamp>)> {
        let agent = self.agent.clone();
        let about = agent.about_container(pod, &c.name);
        let refuse = |reason: &str, text: String| {
            agent.recorder.warning(&about, "Failed", format!("Error: {text}"));
            (failure(reason, text), None)
        };
        let pulled = self.slot.ending.run_until_cancelled(agent.ensure_image(pod, c)).await;
        let image = pulled.ok_or_else(|| (failure("ContainerCreating", ENDING), None))?.map_err(|e| {
            agent.recorder.warning(&about, "Failed", format!("Error: {}", e.failure.reason));
            (e.failure, e.retry)
        })?;
        let attempt = self.next_attempt(pod, observed, c).await;
        let config = self.configure(pod, c, &image, attempt, ips, volumes, target).await.map_err(|e| refuse("CreateContainerConfigError", e))?;
        let id = agent.runtime.create_container(sandbox, &config).await.map_err(|e| refuse("CreateContainerError", e.full_message()))?;
        self.began_with(c, &id);
        agent.recorder.normal(&about, "Created", "Container created");
        if let Err(e) = agent.runtime.start_container(&id).await {
            return Err(refuse("RunContainerError", e.full_message()));
        }
        agent.recorder.normal(&about, "Started", "Container started");
        self.link_log(pod, c, &id, attempt).await;
        self.post_start(pod, c, &id, ips).await
    }

    async fn post_start(&mut self, pod: &Pod, c: &Container, id: &ContainerId, ips: &[IpAddr]) -> Result<(), (StartFailure, Option<Timestamp>)> {
        let Some(hook) = c.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(()) };
        let run = crate::hook::run(&self.agent, c, id, ips.first().copied(), hook);
        let Some(Err(e)) = self.slot.ending.run_until_cancelled(run).await else { return Ok(()) };
        self.agent.recorder.warning(&self.agent.about_container(pod, &c.name), "FailedPostStartHook", "PostStartHook failed");
        if let Err(left) = self.kill_container(pod, id, &c.name, "FailedPostStartHook", None, None).await {
            tracing::warn!(target: "node", pod = self.slot.name, namespace = self.slot.namespace, container = c.name, error = left, "container not ended after its failed PostStart hook");
        }
        Err((failure("PostStartHookError", e), None))
    }

    /// One more than the last attempt; the log folder remembers when the runtime has forgotten.
    async fn next_attempt(&self, pod: &Pod, observed: &Observed, c: &Container) -> u32 {
        if let Some(last) = observed.find(&c.name) {
            return last.metadata.attempt + 1;
        }
        let dir = names::log_directory(&self.agent.config.log_dir, pod).join(&c.name);
        let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return 0 };
        let mut next = 0;
        while let Ok(Some(e)) = entries.next_entry().await {
            let name = e.file_name();
            let number = name.to_str().and_then(|n| n.split_once(".log")).and_then(|(n, _)| n.parse::<u32>().ok());
            next = next.max(number.map_or(0, |n| n + 1));
        }
        next
    }

    #[expect(clippy::too_many_arguments, reason = "see try_start")]
    async fn configure(
        &mut self,
        pod: &Pod,
        c: &Container,
        image: &Image,
        attempt: u32,
        ips: &[IpAddr],
        volumes: &MountedVolumes,
        target: Option<ContainerId>,
    ) -> Result<skiff_cri::ContainerConfig, String> {
        if let Some(digest) = image.digests.first() {
            self.digests.insert(image.id.to_string(), digest.clone());
        }
        let env = self.environment(pod, c, ips).await?;
        let dir = self.agent.config.pod_dir(&self.slot.uid);
        let mut sub_paths = BTreeMap::new();
        for (i, m) in c.volume_mounts.iter().flatten().enumerate() {
            let (Some(sub), Some(volume)) = (config::sub_path(m, &env), volumes.paths.get(&m.name)) else { continue };
            let path = self.agent.volumes.sub_path(&dir, volume, &sub, &format!("{}/{}/{i}", m.name, c.name)).await;
            sub_paths.insert(i, path.map_err(|e| format!("failed to prepare subPath for volumeMount {:?} of container {:?}: {e}", m.name, c.name))?);
        }
        let inputs = ContainerInputs {
            attempt,
            image,
            env,
            volumes: &volumes.paths,
            read_only: &volumes.read_only,
            devices: &volumes.devices,
            extra_mounts: self.extra_mounts(pod, c, attempt).await?,
            node_memory: self.agent.machine.memory,
            seccomp_root: &self.agent.config.seccomp_root,
            target,
            sub_paths,
        };
        let mut config = container_config(pod, c, inputs).map_err(|e| e.to_string())?;
        self.agent.devices.give(pod, c, &mut config)?;
        Ok(config)
    }

    /// Hosts file, resolver and the file for the termination message.
    async fn extra_mounts(&self, pod: &Pod, c: &Container, attempt: u32) -> Result<Vec<Mount>, String> {
        let etc = self.etc_dir();
        let mount = |host: PathBuf, inside: &str| Mount { host_path: host, container_path: inside.into(), ..Mount::default() };
        let mut mounts = vec![mount(etc.join("resolv.conf"), "/etc/resolv.conf"), mount(etc.join("hosts"), "/etc/hosts")];
        let inside = c.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        if !inside.is_empty() {
            let dir = self.agent.config.pod_dir(view::uid(pod)).join("containers").join(&c.name);
            let file = dir.join(format!("{attempt}-{}", self.slot.uid.get(..8).unwrap_or("message")));
            let make = async {
                tokio::fs::create_dir_all(&dir).await?;
                tokio::fs::write(&file, b"").await?;
                use std::os::unix::fs::PermissionsExt;
                tokio::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).await
            };
            make.await.map_err(|e| format!("make the termination message file: {e}"))?;
            mounts.push(mount(file, inside));
        }
        Ok(mounts)
    }

    async fn environment(&self, pod: &Pod, c: &Container, ips: &[IpAddr]) -> Result<Vec<(String, String)>, String> {
        let mut sources = Sources::new();
        for (kind, name) in env::references(c) {
            if let Some(entries) = self.agent.references.entries(kind, view::namespace(pod), &name).await.map_err(|e| e.to_string())? {
                sources.insert((kind, name), entries);
            }
        }
        if !self.slot.is_static {
            self.agent.services.synced().await;
        }
        let services = self.agent.services.all();
        let visible = service_env::visible(&services, view::namespace(pod), view::spec(pod).enable_service_links != Some(false));
        let room = self.agent.room.lock().clone();
        let facts = NodeFacts {
            pod_ips: ips,
            node_ips: &self.agent.config.node_ips,
            allocatable_cpu: skiff_meta::Quantity::milli(room.cpu),
            allocatable_memory: skiff_meta::Quantity::bytes(room.memory),
        };
        env::environment(pod, c, &sources, &service_env::service_env(&visible), &facts).map_err(|e| e.to_string())
    }

    /// `<pod>_<namespace>_<container>-<id>.log`, for log collectors.
    async fn link_log(&self, pod: &Pod, c: &Container, id: &ContainerId, attempt: u32) {
        let Some(dir) = &self.agent.config.container_log_links else { return };
        let log = names::log_directory(&self.agent.config.log_dir, pod).join(names::log_path(&c.name, attempt));
        let link = dir.join(format!("{}_{}_{}-{id}.log", view::name(pod), view::namespace(pod), c.name));
        let _ = tokio::fs::create_dir_all(dir).await;
        let _ = tokio::fs::symlink(log, link).await;
    }
}

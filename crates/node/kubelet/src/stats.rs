//! What the node and its pods use: `/stats/summary` and the resource metrics.
use crate::agent::Agent;
use crate::machine;
use k8s_openapi::jiff::Timestamp;
use skiff_cri::{CpuStats, FsStats, MemoryStats, SandboxStats};
use skiff_json::{Value, json};

fn time(nanos: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

fn cpu(c: &CpuStats) -> Value {
    json!({"time": time(c.timestamp), "usageCoreNanoSeconds": c.usage_nanos})
}
fn memory(m: &MemoryStats) -> Value {
    json!({"time": time(m.timestamp), "usageBytes": m.usage, "workingSetBytes": m.working_set, "rssBytes": m.rss, "pageFaults": m.page_faults, "majorPageFaults": m.major_page_faults})
}
fn fs(f: &FsStats, disk: &machine::Disk) -> Value {
    json!({"time": time(f.timestamp), "usedBytes": f.used, "inodesUsed": f.inodes_used, "capacityBytes": disk.size, "availableBytes": disk.free})
}

/// Each running pod with its statistics.
pub async fn pods(agent: &Agent) -> Vec<(String, String, String, SandboxStats, Vec<(String, skiff_cri::ContainerStats, i64)>)> {
    let mut all = Vec::new();
    for slot in agent.pods.all() {
        let ids = slot.sandboxes.lock().clone();
        for id in ids {
            let Ok(stats) = agent.runtime.sandbox_stats(&id).await else { continue };
            let filter = skiff_cri::ContainerFilter { sandbox: Some(id), state: Some(skiff_cri::ContainerState::Running), ..Default::default() };
            let running = agent.runtime.list_containers(&filter).await.unwrap_or_default();
            let containers = stats
                .containers
                .iter()
                .filter_map(|c| running.iter().find(|r| r.id == c.id).map(|r| (r.metadata.name.clone(), c.clone(), r.started_at)))
                .collect();
            all.push((slot.namespace.clone(), slot.name.clone(), slot.uid.clone(), stats, containers));
        }
    }
    all
}

/// The node's own CPU time and memory, from /proc.
pub fn node_usage(agent: &Agent) -> (CpuStats, MemoryStats) {
    let now = i64::try_from(agent.now().as_nanosecond()).unwrap_or_default();
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<u64> = text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let busy: u64 = ticks.iter().enumerate().filter(|(i, _)| !matches!(i, 3 | 4 | 8 | 9)).map(|(_, n)| n).sum();
    let available = machine::memory_available().unwrap_or_default();
    let used = u64::try_from(agent.machine.memory).unwrap_or_default().saturating_sub(available);
    (
        CpuStats { timestamp: now, usage_nanos: busy.saturating_mul(10_000_000), ..Default::default() },
        MemoryStats { timestamp: now, usage: used, working_set: used, ..Default::default() },
    )
}

pub async fn summary(agent: &Agent) -> Value {
    let disk = machine::disk(&agent.config.root_dir).unwrap_or_default();
    let (node_cpu, node_memory) = node_usage(agent);
    let mut node_mem = memory(&node_memory);
    node_mem["availableBytes"] = json!(machine::memory_available().unwrap_or_default());
    let pods: Vec<Value> = pods(agent).await.iter().map(|(namespace, name, uid, s, containers)| {
        let containers: Vec<Value> = containers.iter().map(|(name, c, started)| json!({"name": name, "startTime": time(*started), "cpu": cpu(&c.cpu), "memory": memory(&c.memory), "rootfs": fs(&c.rootfs, &disk), "logs": fs(&c.logs, &disk)})).collect();
        json!({"podRef": {"name": name, "namespace": namespace, "uid": uid}, "containers": containers, "cpu": cpu(&s.cpu), "memory": memory(&s.memory), "process_stats": {"process_count": s.pids}})
    }).collect();
    let images = agent.images.fs_info().await.map(|(_, f)| f).unwrap_or_default();
    json!({
        "node": {"nodeName": agent.config.node_name, "cpu": cpu(&node_cpu), "memory": node_mem,
                 "fs": {"capacityBytes": disk.size, "availableBytes": disk.free, "usedBytes": disk.size.saturating_sub(disk.free), "inodes": disk.inodes, "inodesFree": disk.inodes_free},
                 "runtime": {"imageFs": fs(&images, &disk)}},
        "pods": pods,
    })
}

/// `/metrics/resource`: what an autoscaler reads.
pub async fn resource_metrics(agent: &Agent) -> String {
    let mut out = String::new();
    let (c, m) = node_usage(agent);
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    out += "# TYPE node_cpu_usage_seconds_total counter\n";
    out += &format!("node_cpu_usage_seconds_total {} {}\n", seconds(c.usage_nanos), c.timestamp / 1_000_000);
    out += "# TYPE node_memory_working_set_bytes gauge\n";
    out += &format!("node_memory_working_set_bytes {} {}\n", m.working_set, m.timestamp / 1_000_000);
    let all = pods(agent).await;
    let mut cpu_lines = String::from("# TYPE container_cpu_usage_seconds_total counter\n");
    let mut memory_lines = String::from("# TYPE container_memory_working_set_bytes gauge\n");
    let mut pod_cpu = String::from("# TYPE pod_cpu_usage_seconds_total counter\n");
    let mut pod_memory = String::from("# TYPE pod_memory_working_set_bytes gauge\n");
    for (namespace, pod, _, s, containers) in &all {
        let labels = format!("namespace={namespace:?},pod={pod:?}");
        pod_cpu += &format!("pod_cpu_usage_seconds_total{{{labels}}} {} {}\n", seconds(s.cpu.usage_nanos), s.cpu.timestamp / 1_000_000);
        pod_memory += &format!("pod_memory_working_set_bytes{{{labels}}} {} {}\n", s.memory.working_set, s.memory.timestamp / 1_000_000);
        for (container, c, _) in containers {
            cpu_lines += &format!(
                "container_cpu_usage_seconds_total{{container={container:?},{labels}}} {} {}\n",
                seconds(c.cpu.usage_nanos),
                c.cpu.timestamp / 1_000_000
            );
            memory_lines += &format!(
                "container_memory_working_set_bytes{{container={container:?},{labels}}} {} {}\n",
                c.memory.working_set,
                c.memory.timestamp / 1_000_000
            );
        }
    }
    out + &cpu_lines + &memory_lines + &pod_cpu + &pod_memory
}

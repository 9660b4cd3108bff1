use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{Network, PodIps, Result, SandboxId, SandboxNet};

/// Hands out 10.0.0.1 and up, and never the same address twice.
#[derive(Default)]
pub struct FakeNetwork {
    state: Mutex<(u32, BTreeMap<SandboxId, PodIps>)>,
    problem: Mutex<Option<String>>,
}

impl FakeNetwork {
    /// From now on it is not ready for this reason, or ready again.
    pub fn set_problem(&self, why: Option<&str>) {
        *self.problem.lock() = why.map(str::to_owned);
    }
    /// Sandboxes that have an address now.
    pub fn attached(&self) -> Vec<SandboxId> {
        self.state.lock().1.keys().cloned().collect()
    }
}

#[async_trait]
impl Network for FakeNetwork {
    async fn attach(&self, sandbox: &SandboxNet) -> Result<PodIps> {
        let mut state = self.state.lock();
        let (last, attached) = &mut *state;
        let ips = attached.entry(sandbox.id.clone()).or_insert_with(|| {
            *last += 1;
            PodIps(vec![IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + *last))])
        });
        Ok(ips.clone())
    }

    async fn not_ready_reason(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    async fn detach(&self, sandbox: &SandboxNet) -> Result<()> {
        self.state.lock().1.remove(&sandbox.id);
        Ok(())
    }
}

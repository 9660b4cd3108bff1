//! The shell: takes the newest snapshot, applies the difference, verifies now and then.

use std::collections::BTreeMap;
use std::sync::Arc;

use skiff_nft::{Family, Nft, NftError, Ruleset, create, diff};

use crate::{NodeFacts, Service, Slice, service_rules};

/// All Services and EndpointSlices at one moment. Callers that are woken often pass only the newest.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub services: Vec<Arc<Service>>,
    pub slices: Vec<Arc<Slice>>,
}

/// What a health check node port answers: the number of ready endpoints on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub namespace: String,
    pub name: String,
    pub port: u16,
    pub local_endpoints: usize,
}

/// The health check node ports of Services with externalTrafficPolicy Local.
pub fn health(snapshot: &Snapshot, node: &NodeFacts) -> Vec<Health> {
    let mut counts: BTreeMap<(&str, &str), std::collections::BTreeSet<std::net::IpAddr>> = BTreeMap::new();
    for slice in &snapshot.slices {
        let local = slice.endpoints.iter().filter(|e| e.ready && e.node.as_deref() == Some(node.node.as_str()));
        counts.entry((&slice.namespace, &slice.service)).or_default().extend(local.map(|e| e.address));
    }
    let services = snapshot.services.iter().filter(|s| s.external_local && s.health_check_node_port != 0);
    services
        .map(|s| Health {
            namespace: s.namespace.clone(),
            name: s.name.clone(),
            port: s.health_check_node_port,
            local_endpoints: counts.get(&(s.namespace.as_str(), s.name.as_str())).map_or(0, |set| set.len()),
        })
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    Unchanged,
    /// Operations of the transaction.
    Changed(usize),
    /// The table was made anew: at the first sync when it differed, or after somebody else had changed it.
    Rebuilt,
}

/// Owns the table of one cluster's Services in one network namespace. Calls block for the time of a system call.
pub struct ServiceProxy {
    nft: Nft,
    node: NodeFacts,
    /// What the kernel has; None when that is not known.
    applied: Option<Ruleset>,
}

impl ServiceProxy {
    /// In the namespace of the calling thread.
    pub fn new(node: NodeFacts) -> Result<Self, NftError> {
        Ok(Self { nft: Nft::open()?, node, applied: None })
    }

    /// New facts count from the next sync on.
    pub fn set_node(&mut self, node: NodeFacts) {
        if node.table != self.node.table {
            self.applied = None;
        }
        self.node = node;
    }

    /// Makes the kernel's rules those of the snapshot. After an error nothing is known and the next sync makes the table anew.
    pub fn sync(&mut self, snapshot: &Snapshot) -> Result<SyncOutcome, NftError> {
        let services = snapshot.services.iter().map(Arc::as_ref);
        let target = service_rules(services, snapshot.slices.iter().map(Arc::as_ref), &self.node);
        let Some(applied) = self.applied.take() else {
            return self.take_over(target);
        };
        let transaction = diff(&applied, &target);
        let outcome = match transaction.ops.len() {
            0 => SyncOutcome::Unchanged,
            operations => SyncOutcome::Changed(operations),
        };
        self.nft.apply(transaction)?;
        self.applied = Some(target);
        Ok(outcome)
    }

    /// The kernel may have the very same rules from before a restart: then nothing is touched.
    fn take_over(&mut self, target: Ruleset) -> Result<SyncOutcome, NftError> {
        let lingering = self.nft.lingering(&self.node.table);
        let seen = self.nft.observe(Family::Inet, &self.node.table);
        let held = seen.is_ok_and(|seen| seen.matches(&target, &lingering));
        self.keep_or_rebuild(target, held)
    }

    /// Reads the table back and makes it anew if somebody else changed it. To be called every few minutes.
    pub fn verify(&mut self) -> Result<SyncOutcome, NftError> {
        let Some(target) = self.applied.take() else { return Ok(SyncOutcome::Unchanged) };
        let held = self.nft.holds(&target).unwrap_or(false);
        let outcome = self.keep_or_rebuild(target, held)?;
        if outcome == SyncOutcome::Rebuilt {
            tracing::warn!(target: "proxy", table = %self.node.table, "table was changed by someone else and is made anew");
        }
        Ok(outcome)
    }

    fn keep_or_rebuild(&mut self, target: Ruleset, held: bool) -> Result<SyncOutcome, NftError> {
        if !held {
            self.nft.apply(create(&target))?;
        }
        self.applied = Some(target);
        Ok(if held { SyncOutcome::Unchanged } else { SyncOutcome::Rebuilt })
    }

    /// Removes the table.
    pub fn cleanup(&mut self) -> Result<(), NftError> {
        self.applied = None;
        self.nft.delete_table(Family::Inet, &self.node.table)
    }
}

//! The search: request by request, device by device, with one step back wherever a choice leads nowhere.
use super::{
    DeviceId, Unable,
    pool::{Candidate, CounterId, Pool, consumes},
    select::{Selectors, attribute_of},
};
use k8s_openapi::api::resource::v1::{DeviceAttribute, DeviceClass, DeviceConstraint, DeviceSelector, DeviceTaint, DeviceToleration, ResourceClaim};
use skiff_meta::Quantity;
use std::collections::{BTreeMap, BTreeSet};

/// A claim gets no more devices than this.
const MOST: usize = 32;
/// Choices that are tried for one node before it is given up: constraints can make the search explode.
const STEPS: usize = 100_000;

/// One way to fulfil a request.
pub(super) struct Way<'a> {
    /// `request`, or `request/subrequest`.
    pub name: String,
    pub class: &'a str,
    selectors: Vec<&'a DeviceSelector>,
    class_selectors: Vec<&'a DeviceSelector>,
    pub tolerations: Vec<&'a DeviceToleration>,
    pub admin: bool,
    /// None: all that fit.
    count: Option<usize>,
}

/// A claim: its requests, each with its ways in the order in which they are preferred.
pub(super) struct Wanted<'a> {
    requests: Vec<Vec<Way<'a>>>,
    constraints: Vec<&'a DeviceConstraint>,
    told: String,
}

/// A device that was chosen for a request, by a way.
#[derive(Clone)]
pub(super) struct Pick<'a, 'p> {
    pub candidate: &'p Candidate<'a>,
    pub way: &'p Way<'a>,
}

impl<'a> Wanted<'a> {
    /// The error is upstream's.
    pub fn of(claim: &'a ResourceClaim, classes: &'a BTreeMap<String, DeviceClass>) -> Result<Self, String> {
        let devices = claim.spec.as_ref().and_then(|s| s.devices.as_ref());
        let class = |request: &str, name: &str| classes.get(name).ok_or_else(|| format!("request {request}: device class {name} does not exist"));
        let count =
            |mode: &Option<String>, count: Option<i64>| (mode.as_deref() != Some("All")).then(|| usize::try_from(count.unwrap_or(1)).unwrap_or(1).max(1));
        let mut requests = Vec::new();
        for r in devices.iter().flat_map(|d| d.requests.iter().flatten()) {
            let mut ways = Vec::new();
            if let Some(e) = &r.exactly {
                let c = class(&r.name, &e.device_class_name)?;
                ways.push(Way {
                    name: r.name.clone(),
                    class: &e.device_class_name,
                    selectors: e.selectors.iter().flatten().collect(),
                    class_selectors: c.spec.iter().flat_map(|s| s.selectors.iter().flatten()).collect(),
                    tolerations: e.tolerations.iter().flatten().collect(),
                    admin: e.admin_access == Some(true),
                    count: count(&e.allocation_mode, e.count),
                });
            }
            for s in r.first_available.iter().flatten() {
                let name = format!("{}/{}", r.name, s.name);
                let c = class(&name, &s.device_class_name)?;
                ways.push(Way {
                    name,
                    class: &s.device_class_name,
                    selectors: s.selectors.iter().flatten().collect(),
                    class_selectors: c.spec.iter().flat_map(|s| s.selectors.iter().flatten()).collect(),
                    tolerations: s.tolerations.iter().flatten().collect(),
                    admin: false,
                    count: count(&s.allocation_mode, s.count),
                });
            }
            requests.push(ways);
        }
        let m = &claim.metadata;
        let told = format!("claim {}/{}", m.namespace.as_deref().unwrap_or_default(), m.name.as_deref().unwrap_or_default());
        Ok(Self { requests, constraints: devices.iter().flat_map(|d| d.constraints.iter().flatten()).collect(), told })
    }
}

fn tolerates(t: &DeviceToleration, taint: &DeviceTaint) -> bool {
    let any = |own: &Option<String>, of: &str| own.as_deref().is_none_or(|o| o.is_empty() || o == of);
    let value = taint.value.as_deref().unwrap_or_default();
    any(&t.effect, &taint.effect) && any(&t.key, &taint.key) && (t.operator.as_deref() == Some("Exists") || t.value.as_deref().unwrap_or_default() == value)
}

/// Whether the constraint speaks of the request.
fn concerns(c: &DeviceConstraint, way: &str) -> bool {
    let main = way.split('/').next().unwrap_or(way);
    c.requests.iter().flatten().next().is_none() || c.requests.iter().flatten().any(|r| r == way || r == main)
}

struct Search<'a, 'p> {
    pools: &'p [Pool<'a>],
    wanted: &'p [Wanted<'a>],
    taken: &'p BTreeSet<DeviceId>,
    selectors: &'p Selectors,
    chosen: Vec<Vec<Pick<'a, 'p>>>,
    /// Chosen for this pod, and what that takes of counters, by pool.
    mine: BTreeSet<DeviceId>,
    left: Vec<BTreeMap<CounterId, Quantity>>,
    /// Whether a device fulfils a way's selectors: claim, request, way, pool, device.
    known: BTreeMap<(usize, usize, usize, usize, usize), bool>,
    steps: usize,
}

/// The place of a request's way.
#[derive(Clone, Copy)]
struct At {
    claim: usize,
    request: usize,
    way: usize,
}

/// For each claim, what it gets.
pub(super) fn find<'a, 'p>(
    pools: &'p [Pool<'a>],
    wanted: &'p [Wanted<'a>],
    taken: &'p BTreeSet<DeviceId>,
    selectors: &'p Selectors,
) -> Result<Vec<Vec<Pick<'a, 'p>>>, Unable> {
    let left = pools.iter().map(|p| left(p, taken)).collect();
    let mut s = Search {
        pools,
        wanted,
        taken,
        selectors,
        chosen: wanted.iter().map(|_| Vec::new()).collect(),
        mine: BTreeSet::new(),
        left,
        known: BTreeMap::new(),
        steps: 0,
    };
    if s.request(0, 0)? { Ok(s.chosen) } else { Err(Unable::Here) }
}

/// What is left of a pool's counters.
fn left(pool: &Pool<'_>, taken: &BTreeSet<DeviceId>) -> BTreeMap<CounterId, Quantity> {
    let mut left = pool.counters.clone();
    for (name, device) in &pool.consumption {
        if taken.contains(&(pool.driver.to_owned(), pool.name.to_owned(), (*name).to_owned())) {
            for (id, used) in consumes(device) {
                if let Some(n) = left.get_mut(&id) {
                    *n = *n - used;
                }
            }
        }
    }
    left
}

impl<'a, 'p> Search<'a, 'p> {
    /// Fulfils the requests from this one on.
    fn request(&mut self, claim: usize, request: usize) -> Result<bool, Unable> {
        let (pools, wanted) = (self.pools, self.wanted);
        let Some(w) = wanted.get(claim) else { return Ok(true) };
        let Some(ways) = w.requests.get(request) else { return self.request(claim + 1, 0) };
        for (i, way) in ways.iter().enumerate() {
            let at = At { claim, request, way: i };
            match way.count {
                Some(n) => {
                    if self.devices(at, way, n, (0, 0))? {
                        return Ok(true);
                    }
                }
                None => {
                    let mut all = Vec::new();
                    for (p, pool) in pools.iter().enumerate() {
                        for (d, candidate) in pool.devices.iter().enumerate() {
                            if self.fits(at, way, (p, d))? {
                                all.push((p, candidate));
                                // Half a pool is not all of it.
                                if !pool.complete {
                                    return Ok(false);
                                }
                            }
                        }
                    }
                    if !all.is_empty() && self.every(at, way, &all)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Chooses `n` more devices for a way, from a place on: which of them is first makes no difference.
    fn devices(&mut self, at: At, way: &'p Way<'a>, n: usize, from: (usize, usize)) -> Result<bool, Unable> {
        if n == 0 {
            return self.request(at.claim, at.request + 1);
        }
        let pools = self.pools;
        for (p, pool) in pools.iter().enumerate().skip(from.0) {
            let first = if p == from.0 { from.1 } else { 0 };
            for (d, candidate) in pool.devices.iter().enumerate().skip(first) {
                if !self.fits(at, way, (p, d))? || !self.choose(at, way, p, candidate) {
                    continue;
                }
                if self.devices(at, way, n - 1, (p, d + 1))? {
                    return Ok(true);
                }
                self.withdraw(at, p);
                if self.steps > STEPS {
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// All of the devices, or none.
    fn every(&mut self, at: At, way: &'p Way<'a>, all: &[(usize, &'p Candidate<'a>)]) -> Result<bool, Unable> {
        let mut done = 0;
        for (p, candidate) in all {
            if !self.choose(at, way, *p, candidate) {
                break;
            }
            done += 1;
        }
        if done == all.len() && self.request(at.claim, at.request + 1)? {
            return Ok(true);
        }
        all.iter().take(done).rev().for_each(|(p, _)| self.withdraw(at, *p));
        Ok(false)
    }

    /// Whether the device fulfils class, selectors and tolerations; what is taken is another matter.
    fn fits(&mut self, at: At, way: &'p Way<'a>, (p, d): (usize, usize)) -> Result<bool, Unable> {
        let key = (at.claim, at.request, at.way, p, d);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let Some((pool, candidate)) = self.pools.get(p).and_then(|pool| Some((pool, pool.devices.get(d)?))) else { return Ok(false) };
        let told = || self.wanted.get(at.claim).map_or("", |w| w.told.as_str());
        let mut fits = candidate.taints.iter().all(|t| way.admin || way.tolerations.iter().any(|own| tolerates(own, t)));
        for (whose, selectors) in [(format!("class {}", way.class), &way.class_selectors), (format!("request {}", way.name), &way.selectors)] {
            fits = fits
                && self
                    .selectors
                    .hold(selectors.iter().copied(), pool.driver, candidate.device)
                    .map_err(|why| Unable::Wrong(format!("{}: {whose}: {why}", told())))?;
        }
        self.known.insert(key, fits);
        Ok(fits)
    }

    /// Takes the device, if nobody has it and constraints and counters allow it.
    fn choose(&mut self, at: At, way: &'p Way<'a>, p: usize, candidate: &'p Candidate<'a>) -> bool {
        self.steps += 1;
        let (Some(wanted), Some(picks)) = (self.wanted.get(at.claim), self.chosen.get(at.claim)) else { return false };
        if picks.len() >= MOST || (!way.admin && (self.taken.contains(&candidate.id) || self.mine.contains(&candidate.id))) {
            return false;
        }
        if way.admin && picks.iter().any(|p| p.candidate.id == candidate.id) {
            return false;
        }
        if !wanted.constraints.iter().filter(|c| concerns(c, &way.name)).all(|c| agrees(c, picks, candidate)) {
            return false;
        }
        if !way.admin {
            let Some(left) = self.left.get_mut(p) else { return false };
            if !consumes(candidate.device).all(|(id, used)| left.get(&id).is_some_and(|n| *n >= used)) {
                return false;
            }
            for (id, used) in consumes(candidate.device) {
                if let Some(n) = left.get_mut(&id) {
                    *n = *n - used;
                }
            }
            self.mine.insert(candidate.id.clone());
        }
        if let Some(picks) = self.chosen.get_mut(at.claim) {
            picks.push(Pick { candidate, way });
        }
        true
    }

    /// Gives the device back that was chosen last.
    fn withdraw(&mut self, at: At, p: usize) {
        let Some(pick) = self.chosen.get_mut(at.claim).and_then(Vec::pop) else { return };
        if pick.way.admin {
            return;
        }
        self.mine.remove(&pick.candidate.id);
        if let Some(left) = self.left.get_mut(p) {
            for (id, used) in consumes(pick.candidate.device) {
                if let Some(n) = left.get_mut(&id) {
                    *n = *n + used;
                }
            }
        }
    }
}

/// Whether a device may join those that were chosen.
fn agrees(c: &DeviceConstraint, picks: &[Pick<'_, '_>], candidate: &Candidate<'_>) -> bool {
    let of = |k: &Candidate<'_>, name: &str| -> Option<DeviceAttribute> { attribute_of(k.device, &k.id.0, name).cloned() };
    let others = || picks.iter().filter(|p| concerns(c, &p.way.name));
    if let Some(name) = &c.match_attribute {
        let Some(own) = of(candidate, name) else { return false };
        return others().all(|p| of(p.candidate, name).is_some_and(|o| meet(&own, &o)));
    }
    if let Some(name) = &c.distinct_attribute {
        let Some(own) = of(candidate, name) else { return false };
        return others().all(|p| of(p.candidate, name).is_some_and(|o| !meet(&own, &o)));
    }
    true
}

/// The same value; of lists, one in common.
fn meet(a: &DeviceAttribute, b: &DeviceAttribute) -> bool {
    fn texts(a: &DeviceAttribute) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = a.string.iter().chain(a.strings.iter().flatten()).map(|s| format!("s{s}")).collect();
        all.extend(a.version.iter().chain(a.versions.iter().flatten()).map(|v| format!("v{v}")));
        all.extend(a.int.iter().chain(a.ints.iter().flatten()).map(|i| format!("i{i}")));
        all.extend(a.bool.iter().chain(a.bools.iter().flatten()).map(|b| format!("b{b}")));
        all
    }
    !texts(a).is_disjoint(&texts(b))
}

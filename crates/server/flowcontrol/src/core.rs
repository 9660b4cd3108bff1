//! All levels together: a request's way from its class to a seat, and the lending of seats. Pure.
use crate::{
    classify::Request,
    config::{Configuration, Level, Schema},
    demand::Demand,
    limits::{Bounds, Claim, bounds, lend},
    queues::{Queues, Why},
};
use std::collections::BTreeMap;

/// One level at work.
struct Active {
    config: Level,
    bounds: Bounds,
    queues: Queues,
    demand: Demand,
    counts: Counts,
}

/// What has come of requests since the start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub dispatched: u64,
    pub rejected: BTreeMap<Why, u64>,
}

/// Where a request belongs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Class {
    pub schema: String,
    pub schema_uid: String,
    pub level: String,
    pub level_uid: String,
    pub flow: u64,
    pub exempt: bool,
}

pub(crate) struct Core {
    seats: u64,
    config: Configuration,
    levels: BTreeMap<String, Active>,
    next: u64,
}

/// One level as metrics show it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    pub name: String,
    pub nominal: u64,
    pub limit: u64,
    pub seats: u64,
    pub running: usize,
    pub waiting: usize,
    pub counts: Counts,
}

impl Core {
    pub fn new(seats: u64, config: Configuration, now: f64) -> Self {
        let mut core = Self { seats, config: Configuration::default(), levels: BTreeMap::new(), next: 0 };
        core.configure(config, now);
        core
    }

    /// Takes new declarations. What runs or waits in a level that is gone ends there.
    pub fn configure(&mut self, config: Configuration, now: f64) {
        let shares = bounds(&config.levels, self.seats);
        for (level, bounds) in config.levels.iter().zip(shares) {
            match self.levels.get_mut(&level.name) {
                Some(active) if active.config.queuing == level.queuing && active.config.exempt == level.exempt => {
                    active.config = level.clone();
                    active.bounds = bounds;
                    let limit = active.queues.limit().clamp(bounds.min.max(1), bounds.max.max(1));
                    active.queues.set_limit(limit);
                }
                // Requests of a level whose queues change hold on to their seats in the old ones, which end with them.
                _ => {
                    let fresh = Active { config: level.clone(), bounds, queues: Queues::new(level.queuing, bounds.nominal.max(1), now), demand: Demand::new(now), counts: Counts::default() };
                    if let Some(old) = self.levels.insert(level.name.clone(), fresh).filter(|a| !a.queues.is_idle()) {
                        self.levels.insert(format!("{} (until {now})", level.name), old);
                    }
                }
            }
        }
        let named = |name: &str| config.levels.iter().any(|l| l.name == name);
        self.levels.retain(|name, a| named(name) || !a.queues.is_idle());
        self.config = config;
    }

    /// None for a user whom no schema knows.
    pub fn classify(&self, r: &Request<'_>) -> Option<Class> {
        let s: &Schema = self.config.classify(r)?;
        let level = &self.levels.get(&s.level)?.config;
        Some(Class { schema: s.name.clone(), schema_uid: s.uid.clone(), level: s.level.clone(), level_uid: level.uid.clone(), flow: s.flow(r), exempt: level.exempt })
    }

    /// Takes a request in and gives its number; [`Core::started`] tells when it runs.
    pub fn arrive(&mut self, class: &Class, seats: u64, now: f64) -> Result<u64, Why> {
        let id = self.next;
        self.next += 1;
        let Some(level) = self.levels.get_mut(&class.level) else { return Err(Why::ConcurrencyLimit) };
        let arrived = level.queues.arrive(id, class.flow, seats.min(level.bounds.nominal.max(1)), now);
        if let Err(why) = arrived {
            *level.counts.rejected.entry(why).or_default() += 1;
            return Err(why);
        }
        if level.config.queuing.is_none() {
            level.counts.dispatched += 1;
        }
        level.demand.set(level.queues.demand(), now);
        Ok(id)
    }

    /// Whether a request of a level without queues runs as soon as it is taken in.
    pub fn queues(&self, class: &Class) -> bool {
        self.levels.get(&class.level).is_some_and(|l| l.config.queuing.is_some())
    }

    /// All requests that run from now on.
    pub fn started(&mut self, now: f64) -> Vec<u64> {
        let mut out = Vec::new();
        for level in self.levels.values_mut() {
            while let Some(id) = level.queues.next(now) {
                level.counts.dispatched += 1;
                out.push(id);
            }
        }
        out
    }

    pub fn finish(&mut self, id: u64, now: f64) {
        for level in self.levels.values_mut() {
            if level.queues.finish(id, now) {
                level.demand.set(level.queues.demand(), now);
                return;
            }
        }
    }

    /// A request gives up; `why` is counted, if it is the server's doing. False when it runs already.
    pub fn leave(&mut self, id: u64, why: Option<Why>, now: f64) -> bool {
        for level in self.levels.values_mut() {
            if level.queues.leave(id) {
                level.demand.set(level.queues.demand(), now);
                if let Some(why) = why {
                    *level.counts.rejected.entry(why).or_default() += 1;
                }
                return true;
            }
        }
        false
    }

    /// Lends seats by what levels wanted since the last time.
    pub fn adjust(&mut self, now: f64) {
        let exempt: u64 = self.levels.values().filter(|l| l.config.exempt).map(|l| l.queues.seats_taken()).sum();
        let mut limited: Vec<&mut Active> = self.levels.values_mut().filter(|l| !l.config.exempt).collect();
        let claims: Vec<Claim> = limited.iter_mut().map(|l| Claim { bounds: l.bounds, wanted: l.demand.settle(now) }).collect();
        for (level, limit) in limited.iter_mut().zip(lend(&claims, self.seats.saturating_sub(exempt))) {
            level.queues.set_limit(limit);
        }
    }

    pub fn pictures(&self) -> Vec<Picture> {
        let picture = |(name, l): (&String, &Active)| {
            let (running, waiting) = l.queues.requests();
            Picture { name: name.clone(), nominal: l.bounds.nominal, limit: l.queues.limit(), seats: l.queues.seats_taken(), running, waiting, counts: l.counts.clone() }
        };
        self.levels.iter().map(picture).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Ask;
    use serde_json::{Value, json};
    use skiff_request::User;

    fn level(name: &str, shares: u64, lendable: u64) -> Value {
        json!({"metadata": {"name": name, "uid": format!("u-{name}")}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "lendablePercent": lendable,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 8, "handSize": 2, "queueLengthLimit": 10}}}}})
    }
    fn schema(name: &str, level: &str, user: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"matchingPrecedence": 100, "priorityLevelConfiguration": {"name": level},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": user}}], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}})
    }
    fn core(seats: u64) -> Core {
        let config = Configuration::read(&[schema("a", "a", "ann"), schema("b", "b", "bob")], &[level("a", 50, 50), level("b", 45, 50)]);
        Core::new(seats, config, 0.0)
    }
    fn class(core: &Core, name: &str) -> Class {
        let user = User::new(name, [User::AUTHENTICATED]);
        core.classify(&Request { user: &user, verb: "get", ask: Ask::Path("/") }).unwrap()
    }

    #[test]
    fn levels_do_not_take_each_others_seats() {
        let mut c = core(20);
        let (ann, bob) = (class(&c, "ann"), class(&c, "bob"));
        assert_eq!((ann.level.as_str(), ann.level_uid.as_str(), class(&c, "eve").level.as_str()), ("a", "u-a", "catch-all"));
        let mut taken = 0;
        while c.arrive(&ann, 1, 0.0).is_ok() {
            taken += c.started(0.0).len();
        }
        assert_eq!(taken, 10);
        let mouse = c.arrive(&bob, 1, 0.0).unwrap();
        assert_eq!(c.started(0.0), [mouse]);
    }

    #[test]
    fn idle_seats_are_lent_and_given_back() {
        let mut c = core(20);
        let (ann, bob) = (class(&c, "ann"), class(&c, "bob"));
        while c.arrive(&ann, 1, 0.0).is_ok() {
            c.started(0.0);
        }
        c.adjust(10.0);
        let borrowed = c.started(10.0).len();
        assert!(borrowed >= 3, "{borrowed}");
        // Bob comes: his minimum is his whatever Ann has borrowed.
        for _ in 0..4 {
            c.arrive(&bob, 1, 10.0).unwrap();
        }
        assert_eq!(c.started(10.0).len(), 4);
    }

    #[test]
    fn a_level_that_goes_ends_with_its_requests() {
        let mut c = core(20);
        let ann = class(&c, "ann");
        let id = c.arrive(&ann, 1, 0.0).unwrap();
        assert_eq!(c.started(0.0), [id]);
        c.configure(Configuration::read(&[], &[]), 1.0);
        assert_eq!(c.pictures().len(), 3);
        c.finish(id, 2.0);
        c.configure(Configuration::read(&[], &[]), 3.0);
        assert_eq!(c.pictures().iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["catch-all", "exempt"]);
    }
}

//! What is counted, under upstream's names.
use crate::{
    FlowControl, Why,
    level::{Counts, LevelPicture},
    limits::{Bounds, Claim},
    queues::GUESS,
};
use skiff_telemetry::metrics::Exposition;
use std::sync::{Arc, atomic::Ordering};

struct Shown {
    name: Arc<str>,
    bounds: Bounds,
    target: f64,
    picture: LevelPicture,
}

type Gauge = (&'static str, &'static str, fn(&Shown) -> f64);
const LEVELS: [Gauge; 12] = [
    ("nominal_limit_seats", "Seats of the level's own", |s| s.bounds.nominal as f64),
    ("lower_limit_seats", "Seats that the level never lends", |s| s.bounds.min as f64),
    ("upper_limit_seats", "Most seats that the level has with what it borrows", |s| s.bounds.max as f64),
    ("current_limit_seats", "Seats of the level at present, with what is lent and borrowed", |s| s.picture.limit as f64),
    ("demand_seats_high_watermark", "Most seats that the level could have used in the last period", |s| s.picture.demand.highest),
    ("demand_seats_average", "Seats that the level could have used in the last period, on average", |s| s.picture.demand.average),
    ("demand_seats_stdev", "Standard deviation of the seats that the level could have used in the last period", |s| s.picture.demand.deviation),
    ("demand_seats_smoothed", "Seats that the level is reckoned to want", |s| s.picture.demand.smoothed),
    ("target_seats", "Seats that are aimed at for the level", |s| s.target),
    ("dispatch_r", "Virtual time when a request was last taken out of a queue", |s| s.picture.last_start.0),
    ("latest_s", "Virtual start of the queue that a request was last taken out of", |s| s.picture.last_start.1),
    ("current_r", "Virtual time of the level", |s| s.picture.progress),
];

type Count = (&'static str, &'static str, &'static str, fn(&Counts) -> i64);
const SCHEMAS: [Count; 5] = [
    ("dispatched_requests_total", "counter", "Requests that ran", |c| c.dispatched.load(Ordering::Relaxed) as i64),
    ("current_executing_requests", "gauge", "Requests that run; watches only while they begin", |c| c.executing.load(Ordering::Relaxed)),
    ("current_executing_seats", "gauge", "Seats of the requests that run", |c| c.executing_seats.load(Ordering::Relaxed)),
    ("current_inqueue_requests", "gauge", "Requests that wait", |c| c.waiting.load(Ordering::Relaxed)),
    ("current_inqueue_seats", "gauge", "Seats of the requests that wait", |c| c.waiting_seats.load(Ordering::Relaxed)),
];

fn full(name: &str) -> String {
    format!("apiserver_flowcontrol_{name}")
}

impl FlowControl {
    pub fn metrics(&self, out: &mut Exposition) {
        let mut shown = Vec::new();
        self.each_level(|s| {
            let picture = s.level.picture();
            let target = Claim { exempt: s.exempt, bounds: s.bounds, wanted: picture.demand }.target();
            shown.push(Shown { name: s.level.name.clone(), bounds: s.bounds, target, picture });
        });
        for (name, help, of) in LEVELS {
            let name = full(name);
            out.family(&name, "gauge", help);
            shown.iter().for_each(|s| out.sample(&name, &[("priority_level", &s.name)], of(s)));
        }
        usage(out, &shown, self.clock().now());
        next_starts(out, &shown);
        out.single(&full("seat_fair_frac"), "gauge", "Fraction of its target that each level gets", self.fraction());
        let counts = self.counts();
        for (name, kind, help, of) in SCHEMAS {
            let name = full(name);
            out.family(&name, kind, help);
            counts.iter().for_each(|c| out.sample(&name, &[("flow_schema", &c.schema), ("priority_level", &c.level)], of(c)));
        }
        rejected(out, &counts);
        histograms(out, &counts);
    }
}

/// What levels were over time.
fn usage(out: &mut Exposition, shown: &[Shown], now: f64) {
    let name = full("priority_level_request_utilization");
    out.family(&name, "histogram", "Share of its limit that a level's requests were, by how long");
    for s in shown {
        out.timing(&name, &[("phase", "executing"), ("priority_level", &s.name)], &s.picture.usage.executing, now);
        out.timing(&name, &[("phase", "waiting"), ("priority_level", &s.name)], &s.picture.usage.waiting, now);
    }
    let name = full("priority_level_seat_utilization");
    out.family(&name, "histogram", "Share of its seats that a level used, by how long");
    shown.iter().for_each(|s| out.timing(&name, &[("phase", "executing"), ("priority_level", &s.name)], &s.picture.usage.seats, now));
    let name = full("demand_seats");
    out.family(&name, "histogram", "Seats that a level could have used, as a share of its own, by how long");
    shown.iter().for_each(|s| out.timing(&name, &[("priority_level", &s.name)], &s.picture.usage.demand, now));
}

/// The least and the largest virtual start of the queues that somebody waits in.
fn next_starts(out: &mut Exposition, shown: &[Shown]) {
    for (name, help, discounted) in [
        ("next_s_bounds", "Bounds of the virtual starts of queues", false),
        ("next_discounted_s_bounds", "The same without what their running requests are reckoned to need", true),
    ] {
        let name = full(name);
        out.family(&name, "gauge", help);
        for s in shown {
            let starts = s.picture.queues.iter().filter(|q| !q.waiting.is_empty()).map(|q| q.start - if discounted { q.seats as f64 * GUESS } else { 0.0 });
            let (least, largest) = starts.fold(None, |b: Option<(f64, f64)>, v| Some(b.map_or((v, v), |(l, m)| (l.min(v), m.max(v))))).unwrap_or_default();
            out.sample(&name, &[("bound", "max"), ("priority_level", &s.name)], largest);
            out.sample(&name, &[("bound", "min"), ("priority_level", &s.name)], least);
        }
    }
}

fn rejected(out: &mut Exposition, counts: &[Arc<Counts>]) {
    let name = full("rejected_requests_total");
    out.family(&name, "counter", "Requests that were turned away");
    for c in counts {
        for (why, n) in Why::ALL.iter().zip(&c.rejected).map(|(w, n)| (w, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0) {
            out.sample(&name, &[("flow_schema", &c.schema), ("priority_level", &c.level), ("reason", why.as_str())], n);
        }
    }
}

fn histograms(out: &mut Exposition, counts: &[Arc<Counts>]) {
    let ran = |c: &&Arc<Counts>| c.estimated.count() > 0;
    let name = full("request_wait_duration_seconds");
    out.family(&name, "histogram", "Time in a queue");
    for c in counts {
        for (h, execute) in c.waited.iter().zip(["true", "false"]).filter(|(h, _)| h.count() > 0) {
            out.histogram(&name, &[("execute", execute), ("flow_schema", &c.schema), ("priority_level", &c.level)], h);
        }
    }
    let name = full("request_execution_seconds");
    out.family(&name, "histogram", "Time that requests ran; watches only while they begin");
    for c in counts {
        for (h, kind) in c.executed.iter().zip(["regular", "watch"]).filter(|(h, _)| h.count() > 0) {
            out.histogram(&name, &[("flow_schema", &c.schema), ("priority_level", &c.level), ("type", kind)], h);
        }
    }
    let name = full("request_queue_length_after_enqueue");
    out.family(&name, "histogram", "Length of the queue that a request waits in, as it comes");
    counts
        .iter()
        .filter(|c| c.queue_length.count() > 0)
        .for_each(|c| out.histogram(&name, &[("flow_schema", &c.schema), ("priority_level", &c.level)], &c.queue_length));
    let name = full("work_estimated_seats");
    out.family(&name, "histogram", "Seats that requests are reckoned to need");
    counts.iter().filter(ran).for_each(|c| out.histogram(&name, &[("flow_schema", &c.schema), ("priority_level", &c.level)], &c.estimated));
    let name = full("watch_count_samples");
    out.family(&name, "histogram", "Watches that a write may concern");
    counts.iter().filter(|c| c.watches.count() > 0).for_each(|c| out.histogram(&name, &[("flow_schema", &c.schema), ("priority_level", &c.level)], &c.watches));
}

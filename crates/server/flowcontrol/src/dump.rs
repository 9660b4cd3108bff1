//! The tables of `/debug/api_priority_and_fairness/…`: levels, queues, requests; comma and tab between columns, as
//! upstream writes them.
use crate::{
    FlowControl, Why,
    level::{Guest, LevelPicture},
};
use skiff_request::Target;
use std::{sync::atomic::Ordering, time::Duration};

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Levels,
    Queues,
    /// With who asks for what, when that is wanted.
    Requests {
        details: bool,
    },
}

type Cells = Vec<String>;

impl FlowControl {
    /// `place`: what a path means, if it is that of a resource. `time`: a point in time in RFC 3339.
    pub fn dump(&self, table: Table, place: &dyn Fn(&str) -> Option<Target>, time: &dyn Fn(std::time::SystemTime) -> String) -> String {
        let rows = match table {
            Table::Levels => self.levels(),
            Table::Queues => self.queues(),
            Table::Requests { details } => self.requests(details, place, time),
        };
        aligned(&rows)
    }

    fn pictures(&self) -> Vec<(String, bool, LevelPicture)> {
        let mut all = Vec::new();
        self.each_level(|s| all.push((s.level.name.to_string(), s.quiescing, s.level.picture())));
        all
    }

    fn levels(&self) -> Vec<Cells> {
        let mut rows = vec![row(&[
            "PriorityLevelName",
            "ActiveQueues",
            "IsIdle",
            "IsQuiescing",
            "WaitingRequests",
            "ExecutingRequests",
            "DispatchedRequests",
            "RejectedRequests",
            "TimedoutRequests",
            "CancelledRequests",
        ])];
        let counts = self.counts();
        for (name, quiescing, p) in self.pictures() {
            let own = || counts.iter().filter(|c| *c.level == *name);
            let rejected =
                |which: &[Why]| own().flat_map(|c| which.iter().filter_map(|w| c.rejected.get(*w as usize))).map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
            let dispatched: u64 = own().map(|c| c.dispatched.load(Ordering::Relaxed)).sum();
            let active = p.queues.iter().filter(|q| !q.waiting.is_empty()).count();
            let numbers = [p.waiting as u64, p.running as u64, dispatched, rejected(&Why::ALL), 0, rejected(&[Why::TimeOut])];
            rows.push([name, active.to_string(), p.idle.to_string(), quiescing.to_string()].into_iter().chain(numbers.map(|n| n.to_string())).collect());
        }
        rows
    }

    fn queues(&self) -> Vec<Cells> {
        let mut rows = vec![row(&[
            "PriorityLevelName",
            "Index",
            "PendingRequests",
            "ExecutingRequests",
            "SeatsInUse",
            "NextDispatchR",
            "InitialSeatsSum",
            "MaxSeatsSum",
            "TotalWorkSum",
        ])];
        for (name, _, p) in self.pictures() {
            for (i, q) in p.queues.iter().enumerate() {
                let (start, work) = (format!("{:.8}ss", q.start), format!("{:.8}ss", q.work));
                rows.push(vec![
                    name.clone(),
                    i.to_string(),
                    q.waiting.len().to_string(),
                    q.running.to_string(),
                    q.seats.to_string(),
                    start,
                    q.initial_seats.to_string(),
                    q.most_seats.to_string(),
                    work,
                ]);
            }
        }
        rows
    }

    fn requests(&self, details: bool, place: &dyn Fn(&str) -> Option<Target>, time: &dyn Fn(std::time::SystemTime) -> String) -> Vec<Cells> {
        let mut head = row(&[
            "PriorityLevelName",
            "FlowSchemaName",
            "QueueIndex",
            "RequestIndexInQueue",
            "FlowDistingsher",
            "ArriveTime",
            "InitialSeats",
            "FinalSeats",
            "AdditionalLatency",
            "StartTime",
        ]);
        if details {
            head.extend(row(&["UserName", "Verb", "APIPath", "Namespace", "Name", "APIVersion", "Resource", "SubResource"]));
        }
        let born = self.clock().born;
        let at = |seconds: f64| time(born + Duration::from_secs_f64(seconds.max(0.0)));
        let cells = |name: &str, queue: Option<usize>, index: Option<usize>, g: &Guest| {
            let number = |n: Option<usize>| n.map_or_else(|| "-1".to_owned(), |n| n.to_string());
            let started = g.started.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), at);
            let mut cells = vec![name.to_owned(), g.counts.schema.to_string(), number(queue), number(index), g.flow.to_string(), at(g.arrived)];
            cells.extend([g.work.seats.to_string(), g.work.final_seats.to_string(), latency(g.work.lingers), started]);
            if details {
                cells.extend(detail(g, place(&g.path)));
            }
            cells
        };
        let mut rows = vec![head];
        for (name, _, p) in self.pictures() {
            let waits = |id: u64| p.queues.iter().enumerate().find_map(|(q, all)| Some((q, all.waiting.iter().position(|w| *w == id)?)));
            for (id, queue, g) in &p.guests {
                let (queue, index) = waits(*id).map_or((*queue, None), |(q, i)| (Some(q), Some(i)));
                rows.push(cells(&name, queue, index, g));
            }
        }
        rows[1..].sort();
        rows
    }
}

fn detail(g: &Guest, target: Option<Target>) -> Cells {
    let (user, verb, path) = (g.user.name.clone(), g.verb.to_owned(), g.path.to_string());
    let Some(t) = target else { return [user, verb, path].into_iter().chain(std::iter::repeat_n(String::new(), 5)).collect() };
    let r = &t.resource;
    let version = if r.group.is_empty() { r.version.to_string() } else { format!("{}/{}", r.group, r.version) };
    vec![user, verb, path, t.namespace, t.name, version, r.resource.to_string(), t.subresource]
}

/// As Go writes a duration.
fn latency(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0s".into(),
        s if s < 0.001 => format!("{}µs", s * 1e6),
        s if s < 1.0 => format!("{}ms", s * 1e3),
        s => format!("{s}s"),
    }
}

fn row(cells: &[&str]) -> Cells {
    cells.iter().map(ToString::to_string).collect()
}

/// Every cell but the last has a comma and is as wide as the widest of its column, at least eight, with a space behind.
fn aligned(rows: &[Cells]) -> String {
    let width = |i: usize| rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count() + 1).max().unwrap_or_default().max(7) + 1;
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut out = String::new();
    for r in rows {
        for (i, cell) in r.iter().enumerate() {
            if i + 1 == r.len() {
                out += cell;
            } else {
                let w = widths.get(i).copied().unwrap_or_default();
                out += &format!("{:<w$}", format!("{cell},"));
            }
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ask, Configuration, Request, Work};
    use skiff_request::User;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn tables() {
        let c = FlowControl::new(600, Configuration::read(&[], &[]));
        let user = Arc::new(User::new("ann", [User::AUTHENTICATED]));
        let ask = Ask::Path("/version");
        let class = c.classify(&Request { user: &user, verb: "get", ask }).unwrap();
        let _held = c.admit(&class, &user, "get", ask, "/version", Work::of(1)).await.ok().unwrap();
        let dump = |t| c.dump(t, &|_| None, &|_| "T".into());
        let levels = dump(Table::Levels);
        assert_eq!(
            levels.lines().nth(1).unwrap(),
            "catch-all,         0,            false,  false,       0,               1,                 1,                  0,                0,                0"
        );
        assert_eq!(dump(Table::Queues).lines().count(), 1);
        let requests = dump(Table::Requests { details: true });
        let cells: Vec<&str> = requests.lines().nth(1).unwrap().split(',').map(str::trim).collect();
        assert_eq!(cells, ["catch-all", "catch-all", "-1", "-1", "ann", "T", "1", "0", "0s", "T", "ann", "get", "/version", "", "", "", "", ""]);
    }
}

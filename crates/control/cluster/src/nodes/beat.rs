//! When a node was last heard of.
//!
//! What counts is that its signs of life change, and when that is seen here. The times in them are of the node's own clock, which
//! may be wrong; and a server that was away starts by hearing of each node anew.

use std::time::Duration;
use tokio::time::Instant;

/// Of a node that has told its state before (upstream's node-monitor-grace-period).
const GRACE: Duration = Duration::from_secs(50);
/// Of one that has not yet (node-startup-grace-period).
const STARTUP_GRACE: Duration = Duration::from_secs(60);

/// What a node renews, by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    /// `spec.renewTime` of its lease, microseconds.
    pub lease: Option<i64>,
    /// The heartbeat of its condition Ready, seconds.
    pub status: Option<i64>,
}

/// The last signs of life, and when they were seen.
pub(crate) struct Beat {
    signs: Signs,
    at: Instant,
}

impl Beat {
    pub fn new(signs: Signs, now: Instant) -> Self {
        Self { signs, at: now }
    }
    /// Notes the present signs; true when they have been the same for too long.
    pub fn silent(&mut self, signs: Signs, known: bool, now: Instant) -> bool {
        if signs != self.signs {
            *self = Self::new(signs, now);
        }
        now.saturating_duration_since(self.at) > if known { GRACE } else { STARTUP_GRACE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_silent_when_nothing_changes_whatever_its_clock_says() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let signs = |lease| Signs { lease: Some(lease), status: Some(7) };
        let mut beat = Beat::new(signs(1), at(0));
        assert!(!beat.silent(signs(1), true, at(50)));
        assert!(beat.silent(signs(1), true, at(51)));
        assert!(!beat.silent(signs(1), false, at(60)));
        // Its clock was set back, but it lives.
        assert!(!beat.silent(signs(-5), true, at(52)));
        assert!(!beat.silent(signs(-5), true, at(102)));
        assert!(beat.silent(signs(-5), true, at(103)));
        assert!(!beat.silent(Signs { status: Some(8), ..signs(-5) }, true, at(104)));
    }
}

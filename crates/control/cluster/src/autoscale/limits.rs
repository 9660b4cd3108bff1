//! What keeps the number of replicas from jumping: bounds, rates and stabilisation windows, pure (KEP-853).
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// How long a lower recommendation must hold before the target shrinks, in seconds.
const DOWNSCALE_WINDOW: i64 = 300;
/// Without rules for growing, a target doubles at most, or grows to this.
const GROWS_TO: i32 = 4;

/// What was recommended and done before, newest last. Times are seconds since 1970.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    recommendations: Vec<(i64, i32)>,
    ups: Vec<(i64, i32)>,
    downs: Vec<(i64, i32)>,
}

#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub min: i32,
    pub max: i32,
    pub current: i32,
}

/// The number to scale to, and the two conditions that explain it: (reason, message).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limited {
    pub replicas: i32,
    pub able: (&'static str, &'static str),
    /// None of `limited` means that nothing cut the number.
    pub limited: bool,
    pub limit: (&'static str, &'static str),
}

const WITHIN: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_RATE: (&str, &str) = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_RATE: (&str, &str) = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_HELD: (&str, &str) = ("ScaleDownStabilized", "recent recommendations were higher than current one, applying the highest recent recommendation");
const UP_HELD: (&str, &str) = ("ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation");

impl History {
    /// The first sight of a target counts as a recommendation of what it has.
    pub fn begin(&mut self, current: i32, now: i64) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    /// Takes note of a change of the target, as long as some rule looks back at it.
    pub fn scaled(&mut self, behavior: Option<&HorizontalPodAutoscalerBehavior>, from: i32, to: i32, now: i64) {
        let Some(b) = behavior else { return };
        let (events, rules) = if to > from { (&mut self.ups, b.scale_up.as_ref()) } else { (&mut self.downs, b.scale_down.as_ref()) };
        let longest = rules.iter().flat_map(|r| r.policies.iter().flatten()).map(|p| i64::from(p.period_seconds)).max().unwrap_or(0);
        events.retain(|(at, _)| *at >= now - longest);
        events.push((now, (to - from).abs()));
    }

    /// Cuts what the metrics ask for; takes note of it.
    pub fn limit(&mut self, behavior: Option<&HorizontalPodAutoscalerBehavior>, b: Bounds, wanted: i32, now: i64) -> Limited {
        let (steady, able) = match behavior {
            None => self.steady(wanted, now),
            Some(rules) => self.steady_by_rules(rules, b.current, wanted, now),
        };
        let (replicas, limit) = match behavior {
            None => by_default(b, steady),
            Some(rules) => self.by_rate(rules, b, steady, now),
        };
        Limited { replicas, able: if steady == wanted { READY } else { able }, limited: replicas != steady, limit }
    }

    fn steady(&mut self, wanted: i32, now: i64) -> (i32, (&'static str, &'static str)) {
        self.recommendations.retain(|(at, _)| *at >= now - DOWNSCALE_WINDOW);
        let highest = self.recommendations.iter().map(|(_, r)| *r).fold(wanted, i32::max);
        self.recommendations.push((now, wanted));
        (highest, DOWN_HELD)
    }

    fn steady_by_rules(&mut self, rules: &HorizontalPodAutoscalerBehavior, current: i32, wanted: i32, now: i64) -> (i32, (&'static str, &'static str)) {
        let window = |r: Option<&HPAScalingRules>, default: i64| r.and_then(|r| r.stabilization_window_seconds).map_or(default, i64::from);
        let (up, down) = (window(rules.scale_up.as_ref(), 0), window(rules.scale_down.as_ref(), DOWNSCALE_WINDOW));
        let recent = |since: i64| self.recommendations.iter().filter(move |(at, _)| *at > now - since).map(|(_, r)| *r);
        let lowest = recent(up).fold(wanted, i32::min);
        let highest = recent(down).fold(wanted, i32::max);
        self.recommendations.retain(|(at, _)| *at >= now - up.max(down));
        self.recommendations.push((now, wanted));
        (current.max(lowest).min(highest), if wanted >= current { UP_HELD } else { DOWN_HELD })
    }

    /// Changes by `events` within the last `period` seconds.
    fn changed(events: &[(i64, i32)], period: i32, now: i64) -> i32 {
        events.iter().filter(|(at, _)| *at > now - i64::from(period)).map(|(_, n)| n).sum()
    }

    /// The furthest that the rules let the target go now.
    fn reach(&self, rules: Option<&HPAScalingRules>, current: i32, up: bool, now: i64) -> i32 {
        let Some(rules) = rules else { return if up { i32::MAX } else { 0 } };
        let select = rules.select_policy.as_deref().unwrap_or("Max");
        if select == "Disabled" {
            return current;
        }
        let proposals = rules.policies.iter().flatten().map(|p| {
            let start = current - Self::changed(&self.ups, p.period_seconds, now) + Self::changed(&self.downs, p.period_seconds, now);
            let share = f64::from(p.value) / 100.0;
            match (p.type_.as_str(), up) {
                ("Percent", true) => (f64::from(start) * (1.0 + share)).ceil() as i32,
                ("Percent", false) => (f64::from(start) * (1.0 - share)) as i32,
                (_, true) => start.saturating_add(p.value),
                (_, false) => start.saturating_sub(p.value),
            }
        });
        let furthest = (select != "Min") == up;
        if furthest { proposals.max().unwrap_or(current) } else { proposals.min().unwrap_or(current) }
    }

    fn by_rate(&self, rules: &HorizontalPodAutoscalerBehavior, b: Bounds, wanted: i32, now: i64) -> (i32, (&'static str, &'static str)) {
        if wanted > b.current {
            let reach = self.reach(rules.scale_up.as_ref(), b.current, true, now).max(b.current);
            let (most, why) = if b.max > reach { (reach, UP_RATE) } else { (b.max, TOO_MANY) };
            return if wanted > most { (most, why) } else { (wanted, WITHIN) };
        }
        if wanted < b.current {
            let reach = self.reach(rules.scale_down.as_ref(), b.current, false, now).min(b.current);
            let (least, why) = if b.min < reach { (reach, DOWN_RATE) } else { (b.min, TOO_FEW) };
            return if wanted < least { (least, why) } else { (wanted, WITHIN) };
        }
        (wanted, WITHIN)
    }
}

fn by_default(b: Bounds, wanted: i32) -> (i32, (&'static str, &'static str)) {
    let reach = b.current.saturating_mul(2).max(GROWS_TO);
    let (most, why) = if b.max > reach { (reach, UP_RATE) } else { (b.max, TOO_MANY) };
    if wanted < b.min {
        (b.min, TOO_FEW)
    } else if wanted > most {
        (most, why)
    } else {
        (wanted, WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;

    fn bounds(min: i32, max: i32, current: i32) -> Bounds {
        Bounds { min, max, current }
    }

    #[test]
    fn without_rules() {
        for (b, wanted, replicas, reason) in [
            (bounds(1, 10, 3), 5, 5, "DesiredWithinRange"),
            (bounds(1, 10, 3), 20, 6, "ScaleUpLimit"),
            (bounds(1, 5, 3), 20, 5, "TooManyReplicas"),
            (bounds(2, 10, 3), 1, 2, "TooFewReplicas"),
        ] {
            let got = History::default().limit(None, b, wanted, 0);
            assert_eq!((got.replicas, got.limit.0), (replicas, reason));
        }
    }

    #[test]
    fn a_shrink_waits() {
        let mut h = History::default();
        h.begin(5, 0);
        let got = h.limit(None, bounds(1, 10, 5), 2, 15);
        assert_eq!((got.replicas, got.able.0, got.limited), (5, "ScaleDownStabilized", false));
        let got = h.limit(None, bounds(1, 10, 5), 2, 301);
        assert_eq!((got.replicas, got.able.0), (2, "ReadyForNewScale"));
    }

    #[test]
    fn rules() {
        let rules: HorizontalPodAutoscalerBehavior = skiff_json::from_value(json!({
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}, {"type": "Percent", "value": 100, "periodSeconds": 60}]},
            "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Min", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]}}))
        .unwrap();
        let mut h = History::default();
        let up = h.limit(Some(&rules), bounds(1, 100, 3), 50, 0);
        assert_eq!((up.replicas, up.limit.0), (7, "ScaleUpLimit"));
        h.scaled(Some(&rules), 3, 7, 0);
        // The four of this minute count as spent.
        assert_eq!(h.limit(Some(&rules), bounds(1, 100, 7), 50, 30).replicas, 7);
        assert_eq!(h.limit(Some(&rules), bounds(1, 100, 7), 50, 61).replicas, 14);
        let down = History::default().limit(Some(&rules), bounds(1, 100, 10), 1, 0);
        assert_eq!((down.replicas, down.limit.0), (9, "ScaleDownLimit"));
        let off: HorizontalPodAutoscalerBehavior =
            skiff_json::from_value(json!({"scaleDown": {"selectPolicy": "Disabled", "stabilizationWindowSeconds": 0}})).unwrap();
        assert_eq!(History::default().limit(Some(&off), bounds(1, 100, 10), 1, 0).replicas, 10);
    }
}

//! How seats are shared out among levels, and lent from one to another. Pure.
use crate::config::Level;

/// What a level may have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Its own share.
    pub nominal: u64,
    /// It never has fewer: the rest of its share is for lending.
    pub min: u64,
    /// It never has more, whatever others lend.
    pub max: u64,
}

/// Shares `seats` out by the levels' shares.
pub(crate) fn bounds(levels: &[Level], seats: u64) -> Vec<Bounds> {
    let all: u64 = levels.iter().map(|l| l.shares).sum::<u64>().max(1);
    let percent = |n: u64, p: u64| (n as f64 * p as f64 / 100.0).round() as u64;
    let of = |l: &Level| {
        let nominal = seats.saturating_mul(l.shares).div_ceil(all);
        let borrowing = l.borrowing_percent.map_or(seats, |p| percent(nominal, p));
        Bounds { nominal, min: nominal - percent(nominal, l.lendable_percent), max: nominal + borrowing }
    };
    levels.iter().map(of).collect()
}

/// One level's part in the lending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub bounds: Bounds,
    /// How many seats it could use.
    pub wanted: f64,
}

/// What each level has at present out of `seats`: the same fraction of what it wants, within its bounds (Max-Min
/// fairness of the KEP). Nobody has less than the minimum, and where all is too little, everybody has that.
pub(crate) fn lend(claims: &[Claim], seats: u64) -> Vec<u64> {
    let lowest = |c: &Claim| c.bounds.min as f64;
    let highest = |c: &Claim| (c.bounds.max as f64).max(lowest(c));
    let target = |c: &Claim| c.wanted.max(lowest(c)).max(1.0);
    let part = |c: &Claim, fraction: f64| (target(c) * fraction).clamp(lowest(c), highest(c));
    let total = |fraction: f64| claims.iter().map(|c| part(c, fraction)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    let available = seats as f64;
    while total(high) < available && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if total(middle) <= available {
            low = middle;
        } else {
            high = middle;
        }
    }
    claims.iter().map(|c| (part(c, low).round() as u64).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(shares: u64, lendable_percent: u64, borrowing_percent: Option<u64>) -> Level {
        Level { name: String::new(), uid: String::new(), exempt: false, shares, lendable_percent, borrowing_percent, queuing: None }
    }

    #[test]
    fn seats_are_shared_out() {
        let all = bounds(&[level(30, 33, None), level(100, 90, Some(50)), level(5, 0, Some(0))], 600);
        assert_eq!(all, [Bounds { nominal: 134, min: 90, max: 734 }, Bounds { nominal: 445, min: 44, max: 668 }, Bounds { nominal: 23, min: 23, max: 23 }]);
    }

    #[test]
    fn idle_levels_lend_and_busy_ones_borrow() {
        let b = |min, max| Bounds { nominal: min, min, max };
        let claim = |min, max, wanted| Claim { bounds: b(min, max), wanted };
        // The first wants all there is; the second keeps its minimum; the third is at its own bound.
        let out = lend(&[claim(50, 1000, 500.0), claim(10, 1000, 0.0), claim(5, 20, 400.0)], 300);
        assert_eq!((out[2], out.iter().sum::<u64>()), (20, 300));
        assert!(out[0] > 250 && out[1] >= 5);
        // Where minima alone are too much, each has its minimum.
        assert_eq!(lend(&[claim(50, 100, 90.0), claim(60, 100, 90.0)], 80), [50, 60]);
    }
}

//! How seats are shared out among levels, and lent from one to another. Pure.
use crate::{config::Level, demand::Settled};

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

fn percent(n: u64, p: u64) -> u64 {
    (n as f64 * p as f64 / 100.0).round() as u64
}

impl Bounds {
    /// What a level begins with, before it has shown what it wants.
    pub fn first(&self) -> u64 {
        self.nominal - (self.nominal - self.min) / 2
    }
    /// How many seats one request of a level with queues may hold: 15 % of the level's, and no more than a hand's part.
    pub fn widest(&self, hand: usize) -> u64 {
        ((self.nominal as f64 * 0.15).ceil() as u64).min(self.nominal / hand.max(1) as u64).max(1)
    }
}

/// Shares `seats` out by the levels' shares.
pub(crate) fn bounds(levels: &[Level], seats: u64) -> Vec<Bounds> {
    let all: u64 = levels.iter().map(|l| l.shares).sum::<u64>().max(1);
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
    pub exempt: bool,
    pub bounds: Bounds,
    pub wanted: Settled,
}

impl Claim {
    /// What it has shown to need: its peak, as far as that is its own.
    fn floor(&self) -> u64 {
        let peak = self.wanted.highest.round() as u64;
        let own = if self.exempt { peak } else { peak.min(self.bounds.nominal) };
        own.max(self.bounds.min)
    }
    pub fn target(&self) -> f64 {
        self.wanted.smoothed.max(self.floor() as f64)
    }
}

/// What came of a round of lending.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lent {
    pub limits: Vec<u64>,
    /// Which fraction of its target each level has, bounds apart.
    pub fraction: f64,
}

/// What each level has at present: its floor, and the same fraction of what it wants beyond, within its bounds (KEP-1040).
/// Where the floors are too much, each has its minimum and a part of the way to its floor.
pub(crate) fn lend(claims: &[Claim]) -> Lent {
    let all: u64 = claims.iter().map(|c| c.bounds.nominal).sum();
    let limited = || claims.iter().filter(|c| !c.exempt);
    let exempt: u64 = claims.iter().filter(|c| c.exempt).map(Claim::floor).sum();
    let rest = all.saturating_sub(exempt);
    let (minima, floors): (u64, u64) = (limited().map(|c| c.bounds.min).sum(), limited().map(Claim::floor).sum());
    let (limit, fraction): (Box<dyn Fn(&Claim) -> u64>, f64) = if rest <= minima {
        (Box::new(|c| c.bounds.min), 0.0)
    } else if rest <= floors {
        let share = (rest - minima) as f64 / (floors - minima) as f64;
        (Box::new(move |c| c.bounds.min + ((c.floor() - c.bounds.min) as f64 * share).round() as u64), 0.0)
    } else {
        let limited: Vec<Claim> = limited().copied().collect();
        let fraction = fraction(&limited, all as f64);
        (Box::new(move |c| part(c, fraction).round() as u64), fraction)
    };
    Lent { limits: claims.iter().map(|c| if c.exempt { c.floor() } else { limit(c) }).collect(), fraction }
}

fn part(c: &Claim, fraction: f64) -> f64 {
    let low = c.floor() as f64;
    (c.target().max(0.001) * fraction).clamp(low, (c.bounds.max as f64).max(low))
}

/// The fraction at which the parts add up to `all`, by halving: they only grow with it.
fn fraction(claims: &[Claim], all: f64) -> f64 {
    let total = |f: f64| claims.iter().map(|c| part(c, f)).sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while total(high) < all && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if total(middle) <= all {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Response;

    fn level(shares: u64, lendable_percent: u64, borrowing_percent: Option<u64>) -> Level {
        Level { name: "".into(), uid: "".into(), shares, lendable_percent, borrowing_percent, response: Response::Reject }
    }

    #[test]
    fn seats_are_shared_out() {
        let all = bounds(&[level(30, 33, None), level(100, 90, Some(50)), level(5, 0, Some(0))], 600);
        assert_eq!(all, [Bounds { nominal: 134, min: 90, max: 734 }, Bounds { nominal: 445, min: 44, max: 668 }, Bounds { nominal: 23, min: 23, max: 23 }]);
        assert_eq!((all[0].first(), all[0].widest(6), all[2].widest(6), all[2].widest(100)), (112, 21, 3, 1));
    }

    #[test]
    fn idle_levels_lend_and_busy_ones_borrow() {
        let claim = |nominal, min, max, wanted: f64| Claim {
            exempt: false,
            bounds: Bounds { nominal, min, max },
            wanted: Settled { highest: wanted, average: wanted, deviation: 0.0, smoothed: wanted },
        };
        // The first wants all there is; the second keeps its minimum; the third is at its own bound.
        let out = lend(&[claim(150, 50, 1000, 500.0), claim(145, 10, 1000, 0.0), claim(5, 5, 20, 400.0)]);
        assert_eq!((out.limits[1], out.limits[2], out.limits.iter().sum::<u64>()), (10, 20, 300));
        // All want more than there is: each has its own.
        assert_eq!(lend(&[claim(100, 10, 1000, 900.0), claim(50, 5, 1000, 900.0)]).limits, [100, 50]);
        // An exempt level takes what it needs, and minima stay.
        let exempt = Claim { exempt: true, ..claim(0, 0, 600, 280.0) };
        let out = lend(&[exempt, claim(150, 50, 1000, 500.0), claim(150, 10, 1000, 150.0)]);
        assert_eq!((out.limits, out.fraction), (vec![280, 50, 10], 0.0));
    }
}

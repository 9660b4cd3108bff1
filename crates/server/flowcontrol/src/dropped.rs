//! When those who were turned away may come again: later, the more of them there are. Pure.
use std::collections::VecDeque;

/// Nobody is sent away for longer, seconds.
const LONGEST: u64 = 32;

/// Requests turned away, by the second.
#[derive(Debug)]
pub(crate) struct Dropped {
    seconds: VecDeque<(u64, u64)>,
    retry_after: u64,
    raised: Option<u64>,
}

impl Default for Dropped {
    fn default() -> Self {
        Self { seconds: VecDeque::new(), retry_after: 1, raised: None }
    }
}

impl Dropped {
    /// One more at `now`; gives the seconds for `Retry-After`. Three a second for as long as that double it, fewer than
    /// one a second take one off.
    pub fn note(&mut self, now: u64) -> u64 {
        match self.seconds.back_mut() {
            Some((second, n)) if *second == now => {
                *n += 1;
                return self.retry_after;
            }
            _ => self.seconds.push_back((now, 1)),
        }
        let span = self.retry_after;
        let recent: u64 = self.seconds.iter().filter(|(s, _)| *s < now && now - s <= span).map(|(_, n)| n).sum();
        if recent >= 3 * span && self.raised.is_none_or(|r| now - r >= span) {
            self.retry_after = (2 * span).min(LONGEST);
            self.raised = Some(now);
        } else if recent < span && span > 1 {
            self.retry_after -= 1;
        }
        while self.seconds.front().is_some_and(|(s, _)| now - s > (2 * self.retry_after).min(LONGEST)) {
            self.seconds.pop_front();
        }
        self.retry_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_more_the_later() {
        let mut d = Dropped::default();
        for second in 0..100 {
            for _ in 0..10 {
                d.note(second);
            }
        }
        assert_eq!(d.note(100), LONGEST);
        // One every ten seconds is no crowd.
        let calm: Vec<u64> = (1..=40).map(|i| d.note(200 + 10 * i)).collect();
        assert_eq!(calm.last(), Some(&1));
        assert!(d.seconds.len() < 40);
    }
}

//! How long to wait before the server is asked again.
use std::time::Duration;

/// Doubles from `first` to `most`; each wait is between one and two times the base, so that clients spread out.
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(15);

    pub(crate) fn new() -> Self {
        Self { next: Self::FIRST }
    }
    pub(crate) fn reset(&mut self) {
        self.next = Self::FIRST;
    }
    /// `jitter` is in 0..1.
    pub(crate) fn wait(&mut self, jitter: f64) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(Self::MOST);
        base.mul_f64(1.0 + jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn doubles_to_a_limit() {
        let mut b = Backoff::new();
        assert_eq!(b.wait(0.0), Duration::from_millis(100));
        assert_eq!(b.wait(1.0), Duration::from_millis(400));
        (0..20).for_each(|_| {
            b.wait(0.0);
        });
        assert_eq!(b.wait(0.0), Backoff::MOST);
        b.reset();
        assert_eq!(b.wait(0.0), Backoff::FIRST);
    }
}

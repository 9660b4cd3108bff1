//! What time it is.
use parking_lot::Mutex;
use skiff_meta::{MicroTime, Timestamp};

/// Wall-clock time, handed in so that tests hold it still.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> MicroTime;
    /// In whole seconds, as most API fields have it.
    fn seconds(&self) -> Timestamp {
        Timestamp(self.now().0.div_euclid(1_000_000))
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> MicroTime {
        MicroTime::from_system(std::time::SystemTime::now())
    }
}

/// Stands still until it is set.
pub struct HeldClock(Mutex<MicroTime>);

impl HeldClock {
    pub fn at(seconds: i64) -> Self {
        Self(Mutex::new(MicroTime(seconds * 1_000_000)))
    }
    pub fn set(&self, seconds: i64) {
        *self.0.lock() = MicroTime(seconds * 1_000_000);
    }
}

impl Clock for HeldClock {
    fn now(&self) -> MicroTime {
        *self.0.lock()
    }
}

//! What time does to objects: Events go when their hour is over.
use crate::{registry::Registry, value};
use skiff_json::Value;
use skiff_meta::Timestamp;
use skiff_store::{Expect, ListQuery, Write};

impl Registry {
    /// Takes away what has outlived its kind's time to live; answers how many went. Call it every minute or so.
    pub async fn expire(&self) -> usize {
        let (now, rows) = (self.now(), self.table.rows());
        let mut gone = 0;
        for row in rows.all().filter(|r| r.strategy.ttl_seconds > 0 && r.stored.group == r.group) {
            let query = ListQuery { prefix: row.prefix(""), ..Default::default() };
            for e in self.store.list(&query).entries.iter().filter(|e| outlived(&e.bytes, now, row.strategy.ttl_seconds)) {
                let write = Write { key: e.key.clone(), expect: Expect::At(e.revision), body: None, tier: row.tier };
                gone += self.store.commit(write).await.is_ok() as usize;
            }
        }
        gone
    }
}

/// Since the last time it was written: a repeated Event stays.
fn outlived(bytes: &[u8], now: Timestamp, ttl: u32) -> bool {
    let Ok(v) = skiff_json::from_slice::<Value>(bytes) else { return false };
    let times = ["metadata.creationTimestamp", "lastTimestamp", "series.lastObservedTime"];
    let last = times.iter().filter_map(|p| value::text(&v, p).parse::<Timestamp>().ok()).max();
    last.is_some_and(|t| now.0 - t.0 > i64::from(ttl))
}

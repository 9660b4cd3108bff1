//! Durations in configuration files, as Go writes them: `5m`, `1m30s`, `500ms`.
use serde::{Deserialize, Deserializer};
use std::time::Duration;

pub(crate) fn optional<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
    let nanos = skiff_meta::go::parse_duration(&text).map_err(serde::de::Error::custom)?;
    let nanos = u64::try_from(nanos).map_err(|_| serde::de::Error::custom(format!("duration {text:?} is negative")))?;
    Ok(Some(Duration::from_nanos(nanos)))
}

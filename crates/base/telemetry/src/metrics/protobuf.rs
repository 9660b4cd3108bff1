//! The protobuf form: `io.prometheus.client.MetricFamily`, each with its length in front.
use super::{Family, Sample, Snapshot, Value, native::ZERO};

pub(super) fn write(families: &[Family]) -> Vec<u8> {
    let mut out = Vec::new();
    for f in families {
        let message = family(f);
        varint(&mut out, message.len() as u64);
        out.extend_from_slice(&message);
    }
    out
}

fn family(f: &Family) -> Vec<u8> {
    let mut m = Vec::new();
    bytes(&mut m, 1, f.name.as_bytes());
    bytes(&mut m, 2, f.help.as_bytes());
    let (kind, field) = match f.kind {
        "counter" => (0, 3),
        "gauge" => (1, 2),
        _ => (4, 7),
    };
    number(&mut m, 3, kind);
    for s in &f.samples {
        bytes(&mut m, 4, &metric(s, field));
    }
    m
}

fn metric(s: &Sample, field: u32) -> Vec<u8> {
    let mut m = Vec::new();
    for (name, value) in &s.labels {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, name.as_bytes());
        bytes(&mut pair, 2, value.as_bytes());
        bytes(&mut m, 1, &pair);
    }
    let value = match &s.value {
        Value::Number(n) => {
            let mut v = Vec::new();
            double(&mut v, 1, *n);
            v
        }
        Value::Histogram(h) => histogram(h),
    };
    bytes(&mut m, field, &value);
    m
}

fn histogram(h: &Snapshot) -> Vec<u8> {
    let mut m = Vec::new();
    number(&mut m, 1, h.count());
    double(&mut m, 2, h.sum);
    for (bound, n) in h.cumulative() {
        let mut bucket = Vec::new();
        number(&mut bucket, 1, n);
        double(&mut bucket, 2, bound.unwrap_or(f64::INFINITY));
        bytes(&mut m, 3, &bucket);
    }
    number(&mut m, 5, zigzag(i64::from(h.native.schema)));
    double(&mut m, 6, ZERO);
    number(&mut m, 7, h.native.zero);
    let spans = h.native.spans();
    for (offset, counts) in &spans {
        span(&mut m, *offset, counts.len());
    }
    if spans.is_empty() {
        // Tells it from a histogram that has no such buckets.
        span(&mut m, 0, 0);
    }
    let mut before = 0;
    for n in spans.iter().flat_map(|(_, counts)| counts) {
        let n = i64::try_from(*n).unwrap_or(i64::MAX);
        number(&mut m, 13, zigzag(n - before));
        before = n;
    }
    m
}

fn span(m: &mut Vec<u8>, offset: i32, length: usize) {
    let mut s = Vec::new();
    number(&mut s, 1, zigzag(i64::from(offset)));
    number(&mut s, 2, length as u64);
    bytes(m, 12, &s);
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
fn number(out: &mut Vec<u8>, field: u32, n: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, n);
}
fn double(out: &mut Vec<u8>, field: u32, n: f64) {
    varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&n.to_le_bytes());
}
fn bytes(out: &mut Vec<u8>, field: u32, b: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, b.len() as u64);
    out.extend_from_slice(b);
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn numbers() {
        assert_eq!([0, -1, 1, -2, i64::MIN].map(zigzag), [0, 1, 2, 3, u64::MAX]);
        let mut out = Vec::new();
        varint(&mut out, 300);
        number(&mut out, 13, 1);
        assert_eq!(out, [0xac, 2, 0x68, 1]);
    }
}

//! Short names of templates.
use skiff_json::Value;

const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a (32 bits) over the value with sorted keys, then over the collision count; in the letters of generated names.
/// The same value gives the same hash in every release: it names objects that outlive this process.
pub fn template_hash(template: &Value, collisions: Option<i64>) -> String {
    let mut h = Fnv(0x811c_9dc5);
    h.value(template);
    if let Some(n) = collisions {
        h.bytes(&n.to_le_bytes());
    }
    h.0.to_string().bytes().map(|d| ALPHABET[usize::from(d) % ALPHABET.len()] as char).collect()
}

struct Fnv(u32);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = (self.0 ^ u32::from(*b)).wrapping_mul(0x0100_0193);
        }
    }
    fn value(&mut self, v: &Value) {
        match v {
            Value::Object(m) => {
                let mut keys: Vec<_> = m.keys().collect();
                keys.sort();
                self.bytes(b"{");
                for k in keys {
                    self.bytes(k.as_bytes());
                    self.bytes(b":");
                    self.value(&m[k]);
                }
                self.bytes(b"}");
            }
            Value::Array(a) => {
                self.bytes(b"[");
                a.iter().for_each(|v| self.value(v));
                self.bytes(b"]");
            }
            scalar => {
                self.bytes(scalar.to_string().as_bytes());
                self.bytes(b",");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_json::json;
    #[test]
    fn stable_and_told_apart() {
        let a = json!({"a": 1, "b": ["x"]});
        assert_eq!(template_hash(&a, None), template_hash(&json!({"b": ["x"], "a": 1}), None));
        assert_ne!(template_hash(&a, None), template_hash(&a, Some(1)));
        assert_ne!(template_hash(&a, None), template_hash(&json!({"a": 1, "b": ["y"]}), None));
        assert!(template_hash(&a, None).len() <= 10);
    }
}

//! Declarations that are read once and kept until their bytes change.
use bytes::Bytes;
use parking_lot::Mutex;
use skiff_json::Value;
use std::sync::Arc;

/// What was made of a list of stored objects. The store hands out the very same bytes as long as nothing changed.
pub(crate) struct Declared<T>(Mutex<(Vec<Bytes>, Arc<T>)>);

impl<T: Default> Default for Declared<T> {
    fn default() -> Self {
        Self(Mutex::new((Vec::new(), Arc::default())))
    }
}

impl<T> Declared<T> {
    pub fn of(&self, objects: Vec<Bytes>, read: impl FnOnce(&[Value]) -> T) -> Arc<T> {
        let mut known = self.0.lock();
        let same = known.0.len() == objects.len() && known.0.iter().zip(&objects).all(|(a, b)| a.as_ptr() == b.as_ptr() && a.len() == b.len());
        if !same {
            let values: Vec<Value> = objects.iter().filter_map(|b| skiff_json::from_slice(b).ok()).collect();
            *known = (objects, Arc::new(read(&values)));
        }
        known.1.clone()
    }
}

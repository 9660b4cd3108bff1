//! Which images are about to come out of archives. Pure; who waits and who tells is the service's.

use std::collections::BTreeMap;

use crate::reference::Reference;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coming {
    /// Archives that nobody has looked into: they may hold anything.
    unread: usize,
    /// Tags by how many archives bring them.
    tags: BTreeMap<String, usize>,
}

impl Coming {
    /// What cannot be known yet.
    pub fn any() -> Self {
        Self { unread: 1, tags: BTreeMap::new() }
    }

    pub fn of(tags: Vec<String>) -> Self {
        Self { unread: 0, tags: tags.into_iter().map(|tag| (tag, 1)).collect() }
    }

    pub fn add(&mut self, other: &Self) {
        self.unread += other.unread;
        for (tag, count) in &other.tags {
            *self.tags.entry(tag.clone()).or_default() += count;
        }
    }

    pub fn remove(&mut self, other: &Self) {
        self.unread = self.unread.saturating_sub(other.unread);
        for (tag, count) in &other.tags {
            if let Some(have) = self.tags.get_mut(tag) {
                *have = have.saturating_sub(*count);
                if *have == 0 {
                    self.tags.remove(tag);
                }
            }
        }
    }

    /// Whether who asks for this image has to wait: it is known to come, perhaps anew, or it is not there and might come.
    pub fn delays(&self, reference: &str, there: bool) -> bool {
        if !there && self.unread > 0 {
            return true;
        }
        !self.tags.is_empty() && Reference::parse(reference).is_ok_and(|name| self.tags.contains_key(&name.canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits() {
        let mut coming = Coming::default();
        assert!(!coming.delays("busybox", false), "nothing is about to come");
        coming.add(&Coming::any());
        assert!(coming.delays("busybox", false));
        assert!(!coming.delays("busybox", true), "it is there, and nothing says that it changes");
        let archive = Coming::of(vec!["docker.io/library/busybox:latest".to_owned()]);
        coming.add(&archive);
        coming.remove(&Coming::any());
        assert!(coming.delays("busybox", true), "it comes anew");
        assert!(!coming.delays("nginx:1", false), "no archive has it");
        coming.add(&archive);
        coming.remove(&archive);
        assert!(coming.delays("docker.io/library/busybox:latest", false), "the second archive has it, too");
        coming.remove(&archive);
        assert_eq!(coming, Coming::default());
    }
}

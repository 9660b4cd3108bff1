//! What one round of those who change an object leaves to the next: who has to be asked again, since the object changed
//! after they saw it.
use skiff_json::Value;
use skiff_policy::Attributes;
use std::collections::BTreeSet;

/// Of the webhooks, or of the policies, of one request.
#[derive(Default)]
pub(crate) struct Round {
    /// Asked already, and to be asked again should the object change after that.
    reinvocable: BTreeSet<String>,
    due: BTreeSet<String>,
    /// The object as it was when the last one had been asked.
    output: Option<Value>,
}

impl Round {
    /// Somebody changed the object: all who saw it before are due.
    pub fn changed(&mut self) {
        self.due.append(&mut self.reinvocable);
    }
    /// What the round before left; with it a second round begins.
    pub fn begin(a: &mut Attributes<'_>, name: &'static str) -> Self {
        let kept = a.reinvocation.kept.remove(name).and_then(|k| k.downcast::<Self>().ok());
        let mut round = kept.map(|r| *r).unwrap_or_default();
        if a.reinvocation.again && round.output.as_ref() != a.object.as_deref() {
            round.changed();
        }
        round
    }
    /// Keeps it for the next.
    pub fn end(mut self, a: &mut Attributes<'_>, name: &'static str) {
        self.output = a.object.as_deref().cloned();
        a.reinvocation.kept.insert(name, Box::new(self));
    }
    pub fn is_due(&self, id: &str) -> bool {
        self.due.contains(id)
    }
    pub fn asked(&mut self, id: &str) {
        self.reinvocable.insert(id.to_owned());
    }
}

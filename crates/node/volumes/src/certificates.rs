//! Certificates that pods have by `podCertificate` sources, and what is to be done about each. Pure; the time is handed in.
//!
//! ```text
//! nothing ──ask──▶ asked ──issued──▶ held ──time to refresh──▶ held and asked ──issued──▶ held
//!                    └──denied, failed──▶ refused, for good           └──gone──▶ held
//! ```
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A request that is gone, or not answered, is asked about again after so long.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// A private key and the chain that certifies it, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub key: String,
    pub chain: String,
    pub refresh: Timestamp,
    pub expires: Timestamp,
}

/// A request that was made, and the private key (PEM) that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub request: String,
    pub key: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Issued {
        chain: String,
        refresh: Timestamp,
        expires: Timestamp,
    },
    /// Denied or failed: the text is the user's.
    Refused(String),
    Waiting,
    /// It is not there any more.
    Gone,
}

/// Pod's uid, volume, index of the projected source.
pub type Place = (String, String, usize);

#[derive(Clone, Debug, Default)]
struct State {
    held: Option<Bundle>,
    asked: Option<Asked>,
    refused: Option<String>,
    /// When to look again, while a newer one is waited for.
    again: Option<Timestamp>,
}

/// What the caller has to do before it may ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Use(Bundle),
    Ask,
    LookAt(Asked),
    Fail(String),
}

#[derive(Debug, Default)]
pub struct Certificates(BTreeMap<Place, State>);

impl Certificates {
    pub fn step(&self, place: &Place, now: Timestamp) -> Step {
        let Some(state) = self.0.get(place) else { return Step::Ask };
        match state {
            State { refused: Some(why), .. } => Step::Fail(why.clone()),
            State { held: Some(held), .. } if now < held.refresh => Step::Use(held.clone()),
            State { held: Some(held), again: Some(again), .. } if now < *again => Step::Use(held.clone()),
            State { asked: Some(asked), .. } => Step::LookAt(asked.clone()),
            _ => Step::Ask,
        }
    }
    pub fn asked(&mut self, place: &Place, asked: Asked) {
        self.0.entry(place.clone()).or_default().asked = Some(asked);
    }
    pub fn answered(&mut self, place: &Place, answer: Answer, now: Timestamp) {
        let state = self.0.entry(place.clone()).or_default();
        state.again = Some(now + PAUSE);
        match answer {
            Answer::Issued { chain, refresh, expires } => {
                let key = state.asked.take().map(|a| a.key).unwrap_or_default();
                *state = State { held: Some(Bundle { key, chain, refresh, expires }), ..State::default() };
            }
            Answer::Refused(why) => *state = State { refused: Some(why), ..State::default() },
            Answer::Gone => state.asked = None,
            Answer::Waiting => {}
        }
    }
    /// What the pod may go on with when nothing newer can be had.
    pub fn held(&self, place: &Place) -> Option<Bundle> {
        self.0.get(place)?.held.clone()
    }
    pub fn forget(&mut self, uid: &str) {
        self.0.retain(|(u, ..), _| u != uid);
    }
    /// How long until one of the pod's certificates is due; the past is zero.
    pub fn due_in(&self, uid: &str, now: Timestamp) -> Option<SignedDuration> {
        let due = |s: &State| s.held.as_ref().map(|h| s.again.filter(|_| now >= h.refresh).unwrap_or(h.refresh));
        let first = self.0.iter().filter(|((u, ..), _)| u == uid).filter_map(|(_, s)| due(s)).min()?;
        Some(first.duration_since(now).max(SignedDuration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn asked_for_held_and_refreshed() {
        let (mut c, place) = (Certificates::default(), ("u".to_owned(), "v".to_owned(), 0));
        let asked = |n: &str| Asked { request: n.into(), key: format!("key-{n}") };
        let issued = |from: i64| Answer::Issued { chain: format!("chain-{from}"), refresh: at(from + 100), expires: at(from + 200) };
        assert_eq!((c.step(&place, at(0)), c.due_in("u", at(0))), (Step::Ask, None));
        c.asked(&place, asked("a"));
        assert_eq!(c.step(&place, at(0)), Step::LookAt(asked("a")));
        c.answered(&place, Answer::Waiting, at(0));
        assert_eq!(c.step(&place, at(1)), Step::LookAt(asked("a")), "the pod waits for it");
        c.answered(&place, issued(0), at(1));
        let Step::Use(bundle) = c.step(&place, at(50)) else { panic!() };
        assert_eq!((bundle.key.as_str(), bundle.chain.as_str(), c.due_in("u", at(50))), ("key-a", "chain-0", Some(SignedDuration::from_secs(50))));
        assert_eq!(c.step(&place, at(100)), Step::Ask);
        c.asked(&place, asked("b"));
        c.answered(&place, Answer::Waiting, at(100));
        assert_eq!((c.step(&place, at(130)), c.due_in("u", at(130))), (Step::Use(bundle.clone()), Some(SignedDuration::from_secs(30))));
        assert_eq!((c.step(&place, at(160)), c.held(&place)), (Step::LookAt(asked("b")), Some(bundle)));
        c.answered(&place, Answer::Gone, at(160));
        assert_eq!(c.step(&place, at(220)), Step::Ask);
        c.asked(&place, asked("c"));
        c.answered(&place, Answer::Refused("no".into()), at(220));
        assert_eq!(c.step(&place, at(9999)), Step::Fail("no".into()));
        c.forget("u");
        assert_eq!(c.step(&place, at(0)), Step::Ask);
    }
}

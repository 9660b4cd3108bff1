//! Service account tokens that pods have, and when they have to be replaced. Pure; the time is handed in.
use crate::sources::TokenKey;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);
/// Where this machine's clock is so far ahead that new tokens look old, they are asked for no more often.
const MIN_AGE: SignedDuration = SignedDuration::from_mins(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub token: String,
    pub expires: Timestamp,
}

#[derive(Clone, Debug)]
struct Held {
    token: Token,
    /// When a new one is due: after four fifths of its life, a day at most.
    refresh: Timestamp,
}

/// By pod's uid and shape.
#[derive(Debug, Default)]
pub struct Tokens {
    held: BTreeMap<(String, TokenKey), Held>,
}

impl Tokens {
    /// A token that needs no replacement yet.
    pub fn fresh(&self, uid: &str, key: &TokenKey, now: Timestamp) -> Option<&Token> {
        let held = self.held.get(&(uid.to_owned(), key.clone()))?;
        (now < held.refresh).then_some(&held.token)
    }
    /// A token that still works, for when no new one can be had.
    pub fn valid(&self, uid: &str, key: &TokenKey, now: Timestamp) -> Option<&Token> {
        let held = self.held.get(&(uid.to_owned(), key.clone()))?;
        (now < held.token.expires).then_some(&held.token)
    }
    pub fn put(&mut self, uid: &str, key: TokenKey, token: Token, now: Timestamp) {
        // Where the clock is behind, tokens look longer-lived than was asked for.
        let life = token.expires.duration_since(now).min(SignedDuration::from_secs(key.seconds));
        let refresh = now + (life * 4 / 5).min(MAX_AGE).max(MIN_AGE);
        self.held.insert((uid.to_owned(), key), Held { token, refresh });
    }
    pub fn forget(&mut self, uid: &str) {
        self.held.retain(|(u, _), _| u != uid);
    }
    /// How long until the first of the pod's tokens is due; the past is zero.
    pub fn due_in(&self, uid: &str, now: Timestamp) -> Option<SignedDuration> {
        let due = self.held.iter().filter(|((u, _), _)| u == uid).map(|(_, h)| h.refresh).min()?;
        Some(due.duration_since(now).max(SignedDuration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }
    #[test]
    fn replaced_in_time() {
        let key = TokenKey { audience: String::new(), seconds: 3600 };
        let mut t = Tokens::default();
        t.put("u", key.clone(), Token { token: "a".into(), expires: at(3600) }, at(0));
        assert!(t.fresh("u", &key, at(2879)).is_some());
        assert!(t.fresh("u", &key, at(2880)).is_none());
        assert_eq!(t.due_in("u", at(880)), Some(SignedDuration::from_secs(2000)));
        assert!(t.valid("u", &key, at(3599)).is_some());
        assert!(t.valid("u", &key, at(3600)).is_none());
        let year = TokenKey { seconds: 365 * 86_400, ..key };
        t.forget("u");
        t.put("u", year.clone(), Token { token: "year".into(), expires: at(365 * 86_400) }, at(0));
        assert!(t.fresh("u", &year, at(86_399)).is_some());
        assert!(t.fresh("u", &year, at(86_400)).is_none());
        t.forget("u");
        assert_eq!(t.due_in("u", at(0)), None);
    }
    #[test]
    fn a_clock_that_is_wrong() {
        let key = TokenKey { audience: String::new(), seconds: 3600 };
        let mut t = Tokens::default();
        let token = || Token { token: "a".into(), expires: at(103_600) };
        // A day ahead, a day behind.
        t.put("u", key.clone(), token(), at(200_000));
        assert_eq!(t.due_in("u", at(200_000)), Some(MIN_AGE));
        t.put("u", key, token(), at(10_000));
        assert_eq!(t.due_in("u", at(10_000)), Some(SignedDuration::from_secs(2880)));
    }
}

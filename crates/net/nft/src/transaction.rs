//! A transaction: operations in an order that the kernel accepts. It can be played on a model, which tests do.

use std::sync::Arc;

use crate::{BaseChain, Chain, Family, Key, Rule, Ruleset, Set, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    AddTable,
    DeleteTable,
    FlushChain {
        chain: Arc<str>,
    },
    DeleteElements {
        set: Arc<str>,
        shape: Set,
        elements: Vec<(Key, Value)>,
    },
    DeleteSet {
        set: Arc<str>,
    },
    DeleteChain {
        chain: Arc<str>,
    },
    AddChain {
        chain: Arc<str>,
        base: Option<BaseChain>,
    },
    /// The elements of `shape` are not looked at; `size` may hint at how many will come.
    AddSet {
        set: Arc<str>,
        shape: Set,
    },
    AddRule {
        chain: Arc<str>,
        rule: Rule,
    },
    AddElements {
        set: Arc<str>,
        shape: Set,
        elements: Vec<(Key, Value)>,
    },
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddTable => write!(f, "add the table"),
            Self::DeleteTable => write!(f, "delete the table"),
            Self::FlushChain { chain } => write!(f, "flush chain {chain}"),
            Self::DeleteElements { set, elements, .. } => write!(f, "delete {} elements of {set}", elements.len()),
            Self::DeleteSet { set } => write!(f, "delete set {set}"),
            Self::DeleteChain { chain } => write!(f, "delete chain {chain}"),
            Self::AddChain { chain, .. } => write!(f, "add chain {chain}"),
            Self::AddSet { set, .. } => write!(f, "add set {set}"),
            Self::AddRule { chain, .. } => write!(f, "add a rule to chain {chain}"),
            Self::AddElements { set, elements, .. } => write!(f, "add {} elements to {set}", elements.len()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub family: Family,
    pub table: Arc<str>,
    pub ops: Vec<Op>,
}

impl Transaction {
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Takes out the deletions of chains, which may have to come later; see `Nft::apply`.
    pub(crate) fn split_chain_deletions(self) -> (Self, Vec<Arc<str>>) {
        let mut later = Vec::new();
        let mut ops = Vec::with_capacity(self.ops.len());
        for op in self.ops {
            match op {
                Op::DeleteChain { chain } => later.push(chain),
                other => ops.push(other),
            }
        }
        (Self { ops, ..self }, later)
    }

    /// What the kernel would make of it, or the operation that it would refuse.
    pub fn play(&self, ruleset: &mut Ruleset) -> Result<(), String> {
        for op in &self.ops {
            play(op, ruleset).ok_or_else(|| op.to_string())?;
        }
        Ok(())
    }
}

fn referenced(ruleset: &Ruleset, chain: &str) -> bool {
    let by_rule = ruleset.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.0).any(|e| e.chain() == Some(chain));
    by_rule
        || ruleset.sets.values().flat_map(|s| s.elements.values()).any(|value| match value {
            Value::Verdict(verdict) => verdict.chain() == Some(chain),
            _ => false,
        })
}

fn play(op: &Op, ruleset: &mut Ruleset) -> Option<()> {
    match op {
        Op::AddTable => {}
        Op::DeleteTable => (ruleset.chains, ruleset.sets) = Default::default(),
        Op::FlushChain { chain } => ruleset.chains.get_mut(chain)?.rules.clear(),
        Op::DeleteElements { set, elements, .. } => {
            let set = ruleset.sets.get_mut(set)?;
            for (key, _) in elements {
                set.elements.remove(key)?;
            }
        }
        Op::DeleteSet { set } => {
            let used = ruleset.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.0).any(|e| e.set() == Some(set));
            (!used).then_some(())?;
            ruleset.sets.remove(set)?;
        }
        Op::DeleteChain { chain } => {
            (!referenced(ruleset, chain)).then_some(())?;
            ruleset.chains.get(chain)?.rules.is_empty().then_some(())?;
            ruleset.chains.remove(chain)?;
        }
        Op::AddChain { chain, base } => {
            let new = Chain { base: *base, rules: Vec::new() };
            ruleset.chains.insert(chain.clone(), new).is_none().then_some(())?;
        }
        Op::AddSet { set, shape } => {
            let new = Set { elements: Default::default(), ..shape.clone() };
            ruleset.sets.insert(set.clone(), new).is_none().then_some(())?;
        }
        Op::AddRule { chain, rule } => {
            let known = |e: &crate::Expr| e.set().is_none_or(|s| ruleset.sets.contains_key(s)) && e.chain().is_none_or(|c| ruleset.chains.contains_key(c));
            rule.0.iter().all(known).then_some(())?;
            ruleset.chains.get_mut(chain)?.rules.push(rule.clone());
        }
        Op::AddElements { set, elements, .. } => {
            let set = ruleset.sets.get_mut(set)?;
            for (key, value) in elements {
                set.elements.insert(key.clone(), value.clone()).is_none().then_some(())?;
            }
        }
    }
    Some(())
}

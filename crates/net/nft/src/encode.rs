//! Operations and expressions as nf_tables netlink messages.

use skiff_netlink::Message;

use crate::model::length_of;
use crate::{ChainType, Expr, Key, Op, Register, Reject, Set, Transaction, Value, Verdict};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
pub(crate) const NEW_TABLE: u16 = 0;
pub(crate) const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const NLM_F_EXCL: u16 = 0x200;

const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVAL: u32 = 0x20;
const DATA_VERDICT: u32 = 0xffff_ff00;
const RANDOM_FULLY: u32 = 1 << 4;
/// Elements of one message: its list must stay below 64 KiB, and an element takes up to 150 bytes.
const CHUNK: usize = 300;

pub(crate) fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new((SUBSYSTEM << 8) | kind, flags, &[family, 0, 0, 0])
}

/// The batch, and for each message the operation that it belongs to.
pub(crate) fn batch(transaction: &Transaction) -> (Vec<Message>, Vec<usize>) {
    let frame = |kind| Message::new(kind, 0, &[0, 0, 0, SUBSYSTEM as u8]);
    let mut messages = vec![frame(BATCH_BEGIN)];
    let mut owners = vec![0];
    for (index, op) in transaction.ops.iter().enumerate() {
        encode_op(transaction, op, index as u32, &mut messages);
        owners.resize(messages.len(), index);
    }
    messages.push(frame(BATCH_END));
    owners.push(transaction.ops.len());
    (messages, owners)
}

fn encode_op(transaction: &Transaction, op: &Op, index: u32, out: &mut Vec<Message>) {
    let family = transaction.family as u8;
    let start = |kind, flags| {
        let mut message = message(kind, flags, family);
        message.string(1, &transaction.table);
        message
    };
    match op {
        Op::AddTable => out.push(start(NEW_TABLE, NLM_F_CREATE)),
        Op::DeleteTable => out.push(start(DELETE_TABLE, 0)),
        Op::AddChain { chain, base } => {
            let mut message = start(NEW_CHAIN, NLM_F_CREATE | NLM_F_EXCL);
            message.string(3, chain);
            if let Some(base) = base {
                message.nested(4, |hook| {
                    hook.be32(1, base.hook as u32).be32(2, base.priority as u32);
                });
                message.be32(5, 1).string(7, if base.kind == ChainType::Nat { "nat" } else { "filter" });
            }
            out.push(message);
        }
        Op::DeleteChain { chain } => out.push(with(start(DELETE_CHAIN, 0), |m| m.string(3, chain))),
        Op::FlushChain { chain } => out.push(with(start(DELETE_RULE, 0), |m| m.string(2, chain))),
        Op::AddRule { chain, rule } => {
            let mut message = start(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND);
            message.string(2, chain).nested(4, |list| {
                for expr in &rule.0 {
                    list.nested(1, |one| encode_expr(expr, one));
                }
            });
            message.attribute(7, &comment(rule.digest()));
            out.push(message);
        }
        Op::DeleteSet { set } => out.push(with(start(DELETE_SET, 0), |m| m.string(2, set))),
        Op::AddSet { set, shape } => out.push(with(start(NEW_SET, NLM_F_CREATE | NLM_F_EXCL), |m| encode_set(set, shape, index, m))),
        Op::AddElements { set, shape, elements } => {
            for chunk in elements.chunks(CHUNK) {
                let flags = NLM_F_CREATE | NLM_F_EXCL;
                out.push(with(start(NEW_ELEMENT, flags), |m| m.string(2, set).nested(3, |list| encode_elements(shape, chunk, list))));
            }
        }
        Op::DeleteElements { set, shape, elements } => {
            for chunk in elements.chunks(CHUNK) {
                out.push(with(start(DELETE_ELEMENT, 0), |m| m.string(2, set).nested(3, |list| encode_elements(shape, chunk, list))));
            }
        }
    }
}

fn with(mut message: Message, fill: impl FnOnce(&mut Message) -> &mut Message) -> Message {
    fill(&mut message);
    message
}

/// A rule's comment as the nft program keeps it: type 0, length, text with its zero.
fn comment(digest: u64) -> Vec<u8> {
    let text = format!("{digest:016x}\0");
    let mut bytes = vec![0, text.len() as u8];
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn type_of(fields: &[crate::Field]) -> u32 {
    fields.iter().fold(0, |number, field| (number << 6) | field.type_number())
}

fn encode_set<'m>(name: &str, set: &Set, id: u32, message: &'m mut Message) -> &'m mut Message {
    let mut flags = 0;
    if set.verdicts || !set.data.is_empty() {
        flags |= SET_MAP;
    }
    if set.timeout.is_some() {
        flags |= SET_TIMEOUT | SET_EVAL;
    }
    message.string(2, name).be32(3, flags).be32(4, type_of(&set.key)).be32(5, length_of(&set.key) as u32);
    if set.verdicts {
        message.be32(6, DATA_VERDICT);
    } else if !set.data.is_empty() {
        message.be32(6, type_of(&set.data)).be32(7, length_of(&set.data) as u32);
    }
    message.be32(10, id + 1);
    if let Some(timeout) = set.timeout {
        message.be64(11, timeout.as_millis() as u64);
        message.nested(9, |description| {
            description.be32(1, 65_535);
        });
    }
    message
}

fn encode_elements(shape: &Set, elements: &[(Key, Value)], list: &mut Message) {
    for (key, value) in elements {
        list.nested(1, |element| {
            element.nested(1, |data| {
                data.attribute(1, &key.padded(&shape.key));
            });
            match value {
                Value::None => {}
                Value::Data(bytes) => {
                    element.nested(2, |data| {
                        data.attribute(1, &bytes.padded(&shape.data));
                    });
                }
                Value::Verdict(verdict) => {
                    element.nested(2, |data| encode_verdict(verdict, data));
                }
            }
        });
    }
}

fn encode_verdict(verdict: &Verdict, data: &mut Message) {
    let code: i32 = match verdict {
        Verdict::Drop => 0,
        Verdict::Accept => 1,
        Verdict::Jump(_) => -3,
        Verdict::Goto(_) => -4,
        Verdict::Return => -5,
    };
    data.nested(2, |inner| {
        inner.be32(1, code as u32);
        if let Some(chain) = verdict.chain() {
            inner.string(2, chain);
        }
    });
}

fn register(register: Register) -> u32 {
    8 + u32::from(register.0)
}

fn value(message: &mut Message, kind: u16, bytes: &[u8]) {
    message.nested(kind, |data| {
        data.attribute(1, bytes);
    });
}

fn encode_expr(expr: &Expr, one: &mut Message) {
    one.string(1, expr_name(expr)).nested(2, |data| encode_expr_data(expr, data));
}

fn expr_name(expr: &Expr) -> &'static str {
    match expr {
        Expr::Meta { .. } | Expr::SetMeta { .. } => "meta",
        Expr::Ct { .. } => "ct",
        Expr::Payload { .. } => "payload",
        Expr::Cmp { .. } => "cmp",
        Expr::Bitwise { .. } => "bitwise",
        Expr::Lookup { .. } | Expr::MapLookup { .. } | Expr::VerdictLookup { .. } => "lookup",
        Expr::Immediate { .. } | Expr::Verdict(_) => "immediate",
        Expr::FibType { .. } => "fib",
        Expr::Random { .. } => "numgen",
        Expr::Nat { .. } => "nat",
        Expr::Masquerade { .. } => "masq",
        Expr::Reject(_) => "reject",
        Expr::Update { .. } => "dynset",
        Expr::Counter => "counter",
    }
}

fn encode_expr_data(expr: &Expr, data: &mut Message) {
    match expr {
        Expr::Meta { key, to } => {
            data.be32(2, *key as u32).be32(1, register(*to));
        }
        Expr::SetMeta { key, from } => {
            data.be32(2, *key as u32).be32(3, register(*from));
        }
        Expr::Ct { key, to } => {
            data.be32(2, *key as u32).be32(1, register(*to));
        }
        Expr::Payload { base, offset, length, to } => {
            data.be32(1, register(*to)).be32(2, *base as u32).be32(3, *offset).be32(4, *length);
        }
        Expr::Cmp { op, from, value: bytes } => {
            data.be32(1, register(*from)).be32(2, *op as u32);
            value(data, 3, bytes);
        }
        Expr::Bitwise { from, to, mask, xor } => {
            data.be32(1, register(*from)).be32(2, register(*to)).be32(3, mask.len() as u32);
            value(data, 4, mask);
            value(data, 5, xor);
        }
        Expr::Lookup { set, from, negate } => {
            data.string(1, set).be32(2, register(*from));
            if *negate {
                data.be32(5, 1);
            }
        }
        Expr::MapLookup { map, from, to } => {
            data.string(1, map).be32(2, register(*from)).be32(3, register(*to));
        }
        Expr::VerdictLookup { map, from } => {
            data.string(1, map).be32(2, register(*from)).be32(3, 0);
        }
        Expr::Immediate { to, value: bytes } => {
            data.be32(1, register(*to));
            value(data, 2, bytes);
        }
        Expr::Verdict(verdict) => {
            data.be32(1, 0).nested(2, |inner| encode_verdict(verdict, inner));
        }
        Expr::FibType { of, to } => {
            data.be32(1, register(*to)).be32(2, 3).be32(3, *of as u32);
        }
        Expr::Random { modulus, to } => {
            data.be32(1, register(*to)).be32(2, *modulus).be32(3, 1).be32(4, 0);
        }
        Expr::Nat { kind, ipv6, address, port } => {
            data.be32(1, *kind as u32).be32(2, if *ipv6 { 10 } else { 2 });
            if let Some(address) = address {
                data.be32(3, register(*address));
            }
            if let Some(port) = port {
                data.be32(5, register(*port));
            }
        }
        Expr::Masquerade { fully_random } => {
            if *fully_random {
                data.be32(1, RANDOM_FULLY);
            }
        }
        Expr::Reject(Reject::TcpReset) => {
            data.be32(1, 1);
        }
        Expr::Reject(Reject::PortUnreachable) => {
            data.be32(1, 2).u8(2, 1);
        }
        Expr::Update { set, from } => {
            data.string(1, set).be32(3, 1).be32(4, register(*from));
        }
        Expr::Counter => {}
    }
}

//! The kernel's side: apply a transaction, read a table back.

use std::sync::Arc;
use std::time::Duration;

use skiff_netlink::{NetlinkError, Socket};

use crate::observe::{observe, open};
use crate::{Family, Observed, Op, Ruleset, Transaction, encode};

#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("open nftables")]
    Open(#[source] NetlinkError),
    /// The kernel refused a transaction because of one operation; nothing has changed.
    #[error("table {table}: {op}")]
    Refused {
        table: String,
        op: String,
        #[source]
        source: NetlinkError,
    },
    #[error("read table {table}")]
    Read {
        table: String,
        #[source]
        source: NetlinkError,
    },
}

/// Between two readings of sets whose hashes the kernel may be moving.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(160);

/// A netfilter socket in the namespace of the thread that opened it.
pub struct Nft {
    socket: Socket,
    /// Chains that the kernel still held for busy when they were to be deleted; they are empty and tried again.
    lingering: Vec<(Family, Arc<str>, Arc<str>)>,
}

impl Nft {
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { socket: open().map_err(NftError::Open)?, lingering: Vec::new() })
    }

    /// All of the transaction or nothing of it.
    ///
    /// Kernels before 6.2 hold a chain for busy for a moment after the last element that names it went. Then the rest is applied and
    /// the chain, empty by now, is deleted at a later call.
    pub fn apply(&mut self, transaction: Transaction) -> Result<(), NftError> {
        let transaction = self.without_revived(transaction);
        if !transaction.is_empty() {
            let result = match self.send(&transaction) {
                Err(error) if busy(&error) => {
                    let (family, table) = (transaction.family, transaction.table.clone());
                    let (rest, chains) = transaction.split_chain_deletions();
                    let result = self.send(&rest);
                    if result.is_ok() {
                        self.lingering.extend(chains.into_iter().map(|chain| (family, table.clone(), chain)));
                    }
                    return result;
                }
                other => other,
            };
            result?;
        }
        self.delete_lingering();
        Ok(())
    }

    /// A chain that lingers and is wanted again is there already.
    fn without_revived(&mut self, mut transaction: Transaction) -> Transaction {
        if transaction.ops.contains(&Op::DeleteTable) {
            self.lingering.retain(|(family, table, _)| (*family, table) != (transaction.family, &transaction.table));
        }
        let lingering = &mut self.lingering;
        transaction.ops.retain(|op| {
            let Op::AddChain { chain, .. } = op else { return true };
            let wanted = (transaction.family, transaction.table.clone(), chain.clone());
            let before = lingering.len();
            lingering.retain(|l| *l != wanted);
            before == lingering.len()
        });
        transaction
    }

    fn delete_lingering(&mut self) {
        for (family, table, chain) in std::mem::take(&mut self.lingering) {
            let ops = vec![Op::DeleteChain { chain: chain.clone() }];
            if self.send(&Transaction { family, table: table.clone(), ops }).is_err_and(|error| busy(&error)) {
                self.lingering.push((family, table, chain));
            }
        }
    }

    fn send(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        let (messages, owners) = encode::batch(transaction);
        self.socket.batch("nftables transaction", messages).map_err(|source| {
            let owner = match &source {
                NetlinkError::Refused { sequence, .. } => owners.get(*sequence as usize).copied(),
                _ => None,
            };
            let op = owner.and_then(|index| transaction.ops.get(index)).map_or("commit".to_owned(), Op::to_string);
            NftError::Refused { table: transaction.table.to_string(), op, source }
        })
    }

    /// Removes the table with all that is in it; none there is fine.
    pub fn delete_table(&mut self, family: Family, table: &str) -> Result<(), NftError> {
        self.apply(Transaction { family, table: table.into(), ops: vec![Op::AddTable, Op::DeleteTable] })
    }

    pub fn observe(&mut self, family: Family, table: &str) -> Result<Observed, NftError> {
        let read = observe(&mut self.socket, family as u8, table);
        read.map_err(|source| NftError::Read { table: table.to_owned(), source })
    }

    /// True when the kernel's table is what `ruleset` says, whatever packets have changed in it.
    ///
    /// A set that has just grown is moved into a larger hash in the kernel's own time, and a listing made meanwhile may miss elements. So when
    /// nothing but elements differs, it is read again, for 0.3 s at most.
    pub fn holds(&mut self, ruleset: &Ruleset) -> Result<bool, NftError> {
        let lingering = self.lingering(&ruleset.table);
        let mut pause = FIRST_PAUSE;
        loop {
            let seen = self.observe(ruleset.family, &ruleset.table)?;
            if seen.matches(ruleset, &lingering) {
                return Ok(true);
            }
            if pause > LAST_PAUSE || !seen.same_rules(ruleset, &lingering) {
                return Ok(false);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    /// Chains of the table that are empty and wait to be deleted.
    pub fn lingering(&self, table: &str) -> Vec<Arc<str>> {
        self.lingering.iter().filter(|(_, t, _)| **t == *table).map(|(_, _, chain)| chain.clone()).collect()
    }
}

fn busy(error: &NftError) -> bool {
    matches!(error, NftError::Refused { source, .. } if source.is(libc::EBUSY))
}

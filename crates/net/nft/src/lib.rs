//! nftables: ruleset model, diff, atomic apply

//! Service and NetworkPolicy to ruleset, pure

//! Pod lifecycle decisions, pure

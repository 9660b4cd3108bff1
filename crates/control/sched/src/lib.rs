//! Scheduling decisions, pure

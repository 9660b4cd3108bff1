//! The embedded container runtime

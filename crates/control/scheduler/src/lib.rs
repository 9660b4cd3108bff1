//! The scheduler's loop

//! Shared informers over bytes

//! The contract of a datastore with etcd's semantics, its test suite and a memory fake

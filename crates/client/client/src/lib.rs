//! The cluster as every component reaches it: in process or over TLS

//! Certificate authorities, leaf certificates and keys of a cluster

//! Namespaces, garbage collection, endpoints, service accounts, volumes, nodes

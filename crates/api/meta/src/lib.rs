//! The vocabulary of the Kubernetes API: revisions, names, quantities, selectors, Status

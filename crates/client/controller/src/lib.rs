//! Work queues, reconcile loops, events, leases

//! The process that supervises a pod's containers

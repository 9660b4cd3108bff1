//! The contract between kubelet and container runtime, with a fake

//! Printer columns: how a kind looks as a `meta.k8s.io/v1` Table. Names, types, priorities and formats are upstream's
//! facts; cells are small functions over the object's JSON.

mod access;
mod cells;
mod cluster;
mod columns;
mod network;
mod pod;
mod volumes;
mod workloads;

pub use access::*;
pub use cells::{age, human};
pub use cluster::*;
pub use columns::{Cells, Column, Columns};
pub use network::*;
pub use pod::{pod, pod_template};
pub use volumes::*;
pub use workloads::*;

//! The image store as a whole: hostile layers, archives, a real registry on loopback, real overlay mounts.

mod build;
mod hostile;
mod import;
mod overlay;
mod registry;

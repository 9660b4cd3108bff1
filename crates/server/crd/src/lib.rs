//! CustomResourceDefinitions. So far: [`schema`], structural schemas compiled once, with pruning, defaults and the
//! rules of lists. Pure. The registry has the seam for rows of custom resources (`skiff_registry::table::Custom`);
//! nothing makes such rows yet.

pub mod schema;

//! CustomResourceDefinitions: structural schemas, pruning, validation

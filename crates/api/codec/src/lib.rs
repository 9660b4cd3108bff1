//! JSON, YAML, protobuf in and out by the tables, strict like Go

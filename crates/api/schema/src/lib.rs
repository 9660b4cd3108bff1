//! Tables of facts about every built-in type: fields, defaults, list kinds, merge keys, protobuf tags

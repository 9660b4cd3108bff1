//! Upstream's validation rules and messages, a function a kind

//! System calls of the runtime

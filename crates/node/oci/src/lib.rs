//! Container create, start, exec

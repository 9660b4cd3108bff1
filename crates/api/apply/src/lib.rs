//! Server-side apply: managed fields, merge and conflicts

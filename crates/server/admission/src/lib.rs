//! Built-in admission, upstream's default set

//! One API request and its answer, apart from any transport

//! The one write path and the table of resources

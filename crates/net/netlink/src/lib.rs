//! Links, addresses, routes

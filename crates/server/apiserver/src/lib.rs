//! HTTP: routes, negotiation, discovery, OpenAPI, watches, proxies

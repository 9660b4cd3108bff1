//! Authenticators and authorisers: certificates, service account tokens, RBAC, Node

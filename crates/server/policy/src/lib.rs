//! Contracts of authentication, authorisation and admission

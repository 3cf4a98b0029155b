//! Circuit breakers for ECM: whether a database may be used now.
//!
//! Each is an [`ecm_core::Breaker`], chosen by a recipe on the builder of `ecm`.

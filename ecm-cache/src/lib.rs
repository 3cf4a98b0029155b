//! Result caches for ECM: bounded stores of query results.
//!
//! Each is an [`ecm_core::Cache`], given to the builder of `ecm`. A cache only stores: whether an entry
//! may still be served is decided by the facade.

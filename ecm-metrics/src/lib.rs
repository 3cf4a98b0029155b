//! Prometheus metrics for ECM, by the names that users of its Python original know.

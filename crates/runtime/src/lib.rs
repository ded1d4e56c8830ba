//! hero-runtime

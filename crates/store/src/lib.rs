//! hero-store

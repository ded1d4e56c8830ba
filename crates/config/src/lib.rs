//! hero-config

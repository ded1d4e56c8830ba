//! hero-launcher

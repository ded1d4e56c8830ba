//! hero-testing

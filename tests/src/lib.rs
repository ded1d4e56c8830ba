//! hero-tests

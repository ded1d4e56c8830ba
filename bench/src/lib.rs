//! hero-bench

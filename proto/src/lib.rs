//! hero-proto

//! hero-gateway

//! hero-auth

//! hero-supervisor

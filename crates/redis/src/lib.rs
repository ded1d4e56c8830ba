//! hero-redis

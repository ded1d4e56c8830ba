//! hero-runner

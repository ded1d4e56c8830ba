//! hero-telemetry

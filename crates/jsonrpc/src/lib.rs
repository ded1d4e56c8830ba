//! hero-jsonrpc

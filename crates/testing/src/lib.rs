//! hero-testing

mod fake;

pub use fake::FakeNode;

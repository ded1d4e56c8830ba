//! The whole runner against a private, real Redis.

mod docs;
mod drain;
mod jobs;
mod objects;
mod outages;
mod sal;
mod setup;

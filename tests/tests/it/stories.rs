//! The stories, each a file: what somebody wants of a node, and what happens when things break.

mod attacks;
mod authorization;
mod bus;
mod circles;
mod fairness;
mod jobs;
mod launcher;
mod nodes;
mod observed;
mod outages;
mod outsiders;
mod overlay;
mod partition;
mod redis_away;
mod refusals;
mod rolling;
mod scripts;

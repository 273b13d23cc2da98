//! End to end: the real server, real publishers and viewers, judged by decoded picture and sound.
//!
//! Needs what `tests/run install` installs. Recordings and logs stay in `target/tmp`.
#![allow(unreachable_pub, reason = "a test program has no outside")]

mod churn;
mod early;
mod join;
mod matrix;
mod media;
mod moves;
mod page;
mod republish;
mod restart;
mod simulcast;
#[path = "../support/mod.rs"]
mod support;
mod tcp;
mod weather;

//! `srs-bench`: load for live servers, and what they make of it, measured from outside.
//!
//! A plan (`plan`) says which clients come and when; the engines drive them; each notes what it sees
//! in a `measure::Recorder`; `run` shows it while it grows and judges it at the end. `compare` puts the
//! same load on several servers in turn; `cost` measures a Weir beside this program by system calls. Nothing here knows a server's inside.
#![forbid(unsafe_code)]

pub mod clients;
mod command;
mod compare;
mod cost;
pub mod expect;
pub mod figures;
mod http;
pub mod measure;
pub mod media;
pub mod plan;
mod proc;
pub mod run;
mod yardstick;

pub use command::main;

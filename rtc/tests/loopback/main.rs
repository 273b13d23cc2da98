//! The server as its clients see it, over loopback and in real time.

mod fan_out;
#[path = "../link/hello.rs"]
mod hello;
mod hostile;
mod media;
mod moves;
mod peer;
mod server;
mod story;
mod strangers;
mod tcp;
mod whip;
mod wire;

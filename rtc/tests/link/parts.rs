//! Browsers, a network and the server's sessions in virtual time, for every program that runs on
//! them. The tests of the link use all of it.

pub(crate) mod camera;
pub(crate) mod client;
pub(crate) mod netem;
pub(crate) mod screen;
pub(crate) mod tape;
pub(crate) mod world;

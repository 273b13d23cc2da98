//! Who may come in, by every protocol: the real server, ffmpeg, aiortc and plain HTTP requests.
//!
//! Each protocol is tried with no token, a wrong one, an expired one, one for another stream and the right
//! one, to publish and to play, on a stream that is there and on one that is not.

mod support;
mod access {
    mod ask;
    mod matrix;
    mod rules;
    mod secrets;
    mod takeover;
}

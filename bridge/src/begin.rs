//! Where a player of frames begins.

use weir_source::FrameSubscriber;

/// With which of a live stream's frames a new player of RTMP, HTTP-FLV or HTTP-TS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// With the last keyframe, in the past (`gop_cache`). Default on; off: with the next one, which is a
    /// wait and no delay.
    pub cached: bool,
    /// Not if more frames than this have followed it, sound included (`gop_cache_max_frames`); 0, the
    /// default, for any number. The stream keeps six seconds or 4,096 frames at most.
    pub frames_max: u64,
}

impl Default for Begin {
    fn default() -> Self {
        Self { cached: true, frames_max: 0 }
    }
}

impl Begin {
    /// Moves a new subscriber to its beginning. One that is to wait for a keyframe wishes for it.
    pub fn place(self, subscriber: &mut FrameSubscriber) {
        let is_too_long = self.frames_max > 0 && subscriber.behind() > self.frames_max;
        if !self.cached || is_too_long {
            subscriber.seek_live();
            if subscriber.source().publisher_lane().is_some() {
                subscriber.source().request_keyframe();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use bytes::Bytes;
    use weir_source::{Codec, Frame, Hub, MediaTime, StreamKey, Track, TrackId};

    use super::*;
    use crate::NotifyWake;

    #[test]
    fn a_player_begins_in_the_cache_unless_that_is_off_or_too_long() {
        let (hub, key, now) = (Hub::new(), StreamKey::new("live", "s").unwrap(), Instant::now());
        let publisher = hub.publish_frames(&key, "p", NotifyWake::new(), now).unwrap();
        let track = Arc::new(Track::new(TrackId::VIDEO, Codec::H264, 90_000, 0));
        let frame = |ms: i64| {
            let time = MediaTime::from_millis(ms);
            Frame::new(Arc::clone(&track), time, time, ms == 0, Bytes::from_static(b"f"))
        };
        publisher.push(&mut (0..10).map(|n| frame(n * 40)).collect(), now);
        let behind = |cached, frames_max| {
            let mut subscriber = hub.subscribe_frames(&key, now);
            Begin { cached, frames_max }.place(&mut subscriber);
            subscriber.behind()
        };
        assert_eq!([behind(true, 0), behind(true, 10)], [10, 10]);
        assert!(publisher.take_keyframe_requests().is_empty());
        assert_eq!(behind(true, 9), 0);
        assert!(!publisher.take_keyframe_requests().is_empty(), "it waits for the next");
        assert_eq!(behind(false, 0), 0);
    }
}

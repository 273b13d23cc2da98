//! Which way streams may cross between WebRTC and RTMP, by vhost. It runs nothing itself.

use std::sync::Arc;

use arc_swap::ArcSwap;
use weir_bridge::remux::{RemuxBridge, RemuxConfig};
use weir_source::{Bridge, Lane, PerVhost, RemuxJob, StreamKey};

/// What a vhost allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directions {
    /// RTMP publishers reach WebRTC players (`rtmp_to_rtc`).
    pub(crate) to_packets: bool,
    /// WebRTC publishers reach RTMP, FLV and HLS players (`rtc_to_rtmp`).
    pub(crate) to_frames: bool,
}

/// Lets a remuxer run only in the directions that the configuration allows.
pub(crate) struct Remuxers {
    directions: ArcSwap<PerVhost<Directions>>,
    bridge: Arc<RemuxBridge>,
}

impl Remuxers {
    pub(crate) fn new(directions: PerVhost<Directions>, bridge: Arc<RemuxBridge>) -> Arc<Self> {
        Arc::new(Self { directions: ArcSwap::from_pointee(directions), bridge })
    }

    #[cfg(test)]
    pub(crate) fn directions(&self) -> Arc<PerVhost<Directions>> {
        self.directions.load_full()
    }

    #[cfg(test)]
    pub(crate) fn settings(&self) -> PerVhost<RemuxConfig> {
        self.bridge.settings()
    }

    /// Remuxers that run keep theirs.
    pub(crate) fn set_settings(&self, settings: PerVhost<RemuxConfig>) {
        self.bridge.set_settings(settings);
    }

    /// The hub is to review its remuxers afterwards.
    pub(crate) fn set_directions(&self, directions: PerVhost<Directions>) {
        self.directions.store(Arc::new(directions));
    }
}

impl Bridge for Remuxers {
    fn remux(&self, job: RemuxJob) {
        self.bridge.remux(job);
    }

    fn allows(&self, key: &StreamKey, lane: Lane) -> bool {
        let directions = self.directions.load();
        let directions = directions.get(key.vhost());
        match lane {
            Lane::Packets => directions.to_packets,
            Lane::Frames => directions.to_frames,
        }
    }
}

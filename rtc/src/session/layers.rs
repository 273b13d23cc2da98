//! Which of a publisher's simulcast layers one viewer gets.
//!
//! It decides from what flows ([`LayerState`]), what the viewer's line carries and what it asked for; a
//! layer that is wanted is begun at its next keyframe, and until then the old one goes on. It owns no
//! numbers and sees no payloads.

use std::time::{Duration, Instant};

use weir_source::{Layer, LayerState, MediaTime, Packet, TrackId, TrackSet, Tracks};

use super::stats::{LayerReason, LayerStats};

/// A better layer needs this many thousandths of its rate …
const HEADROOM: u64 = 1_150;
/// … for so long, or a line at the edge would go to and fro.
const HOLD: Duration = Duration::from_secs(1);
/// A layer that has flowed for less may be about to stop again; its rate is not known yet.
const SETTLED: Duration = Duration::from_secs(1);

/// A layer that is measured as less than this of all is a measurement that has only begun.
const PART_MIN: f64 = 0.02;

/// The choice for one viewer.
#[derive(Debug)]
pub(super) struct Layers {
    /// The encodings of the picture, the best first: their tracks, and names where there are several.
    list: Vec<(TrackId, Option<Layer>)>,
    /// Asked for by name: none better.
    max: Option<String>,
    /// Bits per second that the viewer's line carries of video; `None`: enough for anything.
    budget: Option<u64>,
    wanted: TrackId,
    reason: LayerReason,
    decided: bool,
    /// Since when a better layer would fit.
    fits_since: Option<Instant>,
    /// While joining: the layers whose keyframe is cached, and where the cache ends.
    cached: Option<(TrackSet, MediaTime)>,
    /// Thousandths of the wanted layer's rate that the line carries; 1,000 for all of it.
    share: u64,
    useful: Option<u64>,
    part: f64,
    /// The highest number of each track that went by.
    passed: [u64; TrackId::MAX],
    /// A keyframe that came late was not begun with.
    spared: bool,
}

/// What to do with a packet of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It goes on.
    Take,
    /// It is of a layer that the viewer does not get.
    Leave,
    /// The same, but it is of the wanted one, of which a keyframe must come first.
    Wish,
}

impl Layers {
    /// `max`: the name of the best layer that the viewer wants.
    pub(super) fn new(max: Option<String>) -> Self {
        Self {
            list: Vec::new(),
            max,
            budget: None,
            wanted: TrackId::VIDEO,
            reason: LayerReason::Only,
            decided: false,
            fits_since: None,
            cached: None,
            share: 1_000,
            useful: None,
            part: 1.0,
            passed: [0; TrackId::MAX],
            spared: false,
        }
    }

    /// The tracks that the source has now.
    pub(super) fn set_tracks(&mut self, tracks: &Tracks) {
        self.list = tracks.pictures().into_iter().map(|track| (track.id, track.layer.clone())).collect();
        if self.place(self.wanted).is_none() {
            self.wanted = self.list.get(self.best_allowed()).map_or(TrackId::VIDEO, |(track, _)| *track);
            self.decided = false;
        }
    }

    /// The tracks of the picture.
    pub(super) fn tracks(&self) -> impl Iterator<Item = TrackId> {
        self.list.iter().map(|(track, _)| *track)
    }

    /// Whether one of two layers is the lesser one.
    pub(super) fn is_lesser(&self, track: TrackId, other: TrackId) -> bool {
        self.place(track).zip(self.place(other)).is_some_and(|(place, other)| place > other)
    }

    pub(super) fn set_budget(&mut self, budget: Option<u64>) {
        self.budget = budget;
    }

    /// The viewer begins with what is cached before `live`: from `cached` layers' keyframes on.
    pub(super) fn join(&mut self, live: MediaTime, cached: TrackSet) {
        self.cached = Some((cached, live));
    }

    /// The layer that the viewer should get.
    pub(super) fn wanted(&self) -> TrackId {
        self.wanted
    }

    /// Bits per second at which the viewer would get the best that there is for it, if it does not.
    pub(super) fn useful(&self) -> Option<u64> {
        self.useful
    }

    /// What the layer needs that is the next better one to the wanted, if one flows.
    pub(super) fn next(&self, states: &[LayerState]) -> Option<u64> {
        let (first, place) = (self.best_allowed(), states.iter().position(|state| state.track == self.wanted)?);
        let better = states.get(first..place)?.iter().rev().find(|state| state.flowing.is_some())?;
        Some(better.bits_per_second.saturating_mul(HEADROOM) / 1_000 + 1)
    }

    /// The part that the wanted layer is of all that is sent of the picture.
    pub(super) fn part(&self) -> f64 {
        self.part
    }

    /// Thousandths of its rate that the viewer's line carries.
    pub(super) fn share(&self) -> u64 {
        self.share
    }

    /// Whether a packet goes to a viewer that is being sent `current` (`None`: nothing yet, or a
    /// keyframe must come).
    pub(super) fn admit(&mut self, packet: &Packet, current: Option<TrackId>) -> Admission {
        if self.list.len() <= 1 || current == Some(packet.track) {
            return Admission::Take;
        }
        let wanted = packet.track == self.wanted;
        // What a keyframe goes on with has gone by already if its first packet came late. The next may
        // be better, but where packets are always out of order none is.
        let place = packet.track.index();
        let late = current.is_some() && self.passed.get(place).is_some_and(|passed| packet.seq < *passed);
        let spared = packet.keyframe && late && !std::mem::replace(&mut self.spared, late);
        // Something to look at is better than nothing until the wanted layer comes.
        if packet.keyframe && !spared && (wanted || current.is_none() && self.serves(packet)) {
            self.spared = false;
            return Admission::Take;
        }
        if let Some(passed) = self.passed.get_mut(place) {
            *passed = packet.seq.max(*passed);
        }
        if wanted { Admission::Wish } else { Admission::Leave }
    }

    /// Whether a viewer that has nothing may begin with this keyframe, not of the wanted layer: a
    /// lesser one may, unless a better one's keyframe is cached and comes in a moment.
    fn serves(&self, packet: &Packet) -> bool {
        let (Some(place), Some(wanted)) = (self.place(packet.track), self.place(self.wanted)) else { return false };
        let better_comes = self.cached.is_some_and(|(cached, live)| {
            let between = self.list.iter().take(place).skip(wanted);
            packet.capture < live && between.into_iter().any(|(track, _)| cached.contains(*track))
        });
        place > wanted && !better_comes
    }

    /// Decides anew. `states` are those of the source's layers, the best first.
    pub(super) fn update(&mut self, now: Instant, states: &[LayerState]) {
        let allowed = self.best_allowed().min(states.len().saturating_sub(1));
        let budget = self.budget.unwrap_or(u64::MAX);
        let mut flowing: Vec<(usize, &LayerState)> = states.iter().enumerate().filter(|(_, s)| s.flowing.is_some()).collect();
        if flowing.iter().any(|(place, _)| *place >= allowed) {
            flowing.retain(|(place, _)| *place >= allowed);
        } else {
            // What was asked for is not sent: the next best thing to it is.
            flowing.drain(..flowing.len().saturating_sub(1));
        }
        let (Some(best), Some(least)) = (flowing.first(), flowing.last()) else { return };
        let current = flowing.iter().find(|(_, state)| self.decided && state.track == self.wanted);
        let fits = |state: &LayerState, thousandths: u64| state.bits_per_second.saturating_mul(thousandths) / 1_000 <= budget;
        let settled = |state: &LayerState| state.flowing.is_some_and(|flowing| flowing >= SETTLED);
        let largest = |thousandths| flowing.iter().find(|(_, state)| fits(state, thousandths)).unwrap_or(least);
        let chosen = match current {
            None => largest(1_000),
            Some((_, state)) if !fits(state, 1_000) => largest(1_000),
            Some((place, _)) => {
                let up = flowing.iter().find(|(other, state)| other < place && settled(state) && fits(state, HEADROOM));
                if up.is_none() {
                    self.fits_since = None;
                }
                let held = |since: Option<Instant>| since.is_some_and(|since| now.saturating_duration_since(since) >= HOLD);
                if up.is_some() && self.fits_since.is_none() {
                    self.fits_since = Some(now);
                }
                up.filter(|_| self.budget.is_none() || held(self.fits_since)).or(current).unwrap_or(least)
            }
        };
        if !self.decided || chosen.1.track != self.wanted {
            self.fits_since = None;
        }
        self.decided = true;
        self.wanted = chosen.1.track;
        self.reason = match chosen.0 {
            _ if states.len() == 1 => LayerReason::Only,
            0 => LayerReason::Best,
            place if place > best.0 && (settled(best.1) || !fits(best.1, HEADROOM)) => LayerReason::Bandwidth,
            place if place == allowed => LayerReason::Asked,
            _ => LayerReason::Missing,
        };
        let rate = chosen.1.bits_per_second.max(1);
        let all: u64 = states.iter().map(|state| state.bits_per_second).sum();
        self.part = if states.len() > 1 { (rate as f64 / all.max(1) as f64).clamp(PART_MIN, 1.0) } else { 1.0 };
        let better = flowing.first().filter(|(place, _)| *place < chosen.0);
        let full = if rate > budget { Some(rate) } else { better.map(|(_, state)| state.bits_per_second) };
        // Some more than what suffices: an estimate is not exact.
        self.useful = full.map(|rate| rate.saturating_mul(HEADROOM) / 1_000 * HEADROOM / 1_000);
        self.share = (u128::from(budget) * 1_000 / u128::from(rate)).min(1_000_000) as u64;
    }

    /// For the API. Nothing where the source has one encoding only.
    pub(super) fn stats(&self, current: Option<TrackId>) -> Option<LayerStats> {
        let named = |track: TrackId| self.list.iter().find(|(other, _)| *other == track).and_then(|(_, layer)| layer.clone());
        let wanted = named(self.wanted)?;
        Some(LayerStats {
            current: current.and_then(named),
            wanted: wanted.rid,
            reason: self.reason,
            budget_bps: self.budget,
            temporal_max: None,
        })
    }

    fn place(&self, track: TrackId) -> Option<usize> {
        self.list.iter().position(|(other, _)| *other == track)
    }

    /// The place of the best layer that was not ruled out. A name that no layer has rules out none.
    fn best_allowed(&self) -> usize {
        let named = |max: &String| self.list.iter().position(|(_, layer)| layer.as_ref().is_some_and(|l| l.rid == *max));
        self.max.as_ref().and_then(named).unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;

//! Renumbering for one viewer, over layers, writers and joins.

use bytes::Bytes;
use proptest::prelude::*;
use weir_source::PacketExtensions;

use super::*;

const SEED: u64 = 0xdead_beef_1234_7fff;

fn packet(epoch: u32, seq: u64, ms: i64, keyframe: bool) -> Packet {
    Packet {
        track: TrackId::VIDEO,
        epoch,
        seq,
        timestamp: 1_000_000 + u64::try_from(ms).unwrap_or(0) * 90,
        capture: MediaTime::from_millis(ms),
        marker: true,
        keyframe,
        extensions: PacketExtensions::default(),
        payload: Bytes::new(),
    }
}

fn video() -> Rewrite {
    Rewrite::new(true, 90_000, SEED)
}

#[test]
fn starts_at_a_keyframe_with_a_number_below_half_the_range() {
    let mut rewrite = video();
    assert_eq!(rewrite.map(&packet(1, 70_000, 0, false), None), Err(Refusal::Waiting));
    let first = rewrite.map(&packet(1, 70_001, 33, true), None).unwrap();
    assert_eq!(first.seq, SEED % (1 << 15), "late joiners start with roll-over counter zero");
    let next = rewrite.map(&packet(1, 70_002, 66, false), None).unwrap();
    assert_eq!(next.seq, first.seq + 1);
    assert_eq!(next.timestamp.wrapping_sub(first.timestamp), 33 * 90);
}

#[test]
fn a_real_hole_stays_and_is_filled_under_its_own_number() {
    let mut rewrite = video();
    let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
    let after = rewrite.map(&packet(1, 13, 99, false), None).unwrap();
    assert_eq!(after.seq, first.seq + 3);
    let late = rewrite.map(&packet(1, 11, 33, false), None).unwrap();
    assert_eq!((late.seq, late.late), (first.seq + 1, true));
    assert_eq!(rewrite.map(&packet(1, 9, -33, false), None), Err(Refusal::Late), "from before the start");
}

#[test]
fn what_we_leave_out_makes_no_hole() {
    let mut rewrite = video();
    let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
    rewrite.interrupt();
    for seq in 11..40 {
        assert_eq!(rewrite.map(&packet(1, seq, 33, false), None), Err(Refusal::Waiting));
    }
    let again = rewrite.map(&packet(1, 40, 999, true), None).unwrap();
    assert_eq!(again.seq, first.seq + 1);
    assert_eq!(again.timestamp.wrapping_sub(first.timestamp), 999 * 90, "time goes on all the same");
    assert_eq!(rewrite.map(&packet(1, 39, 990, false), None), Err(Refusal::Late));
}

#[test]
fn a_new_publisher_continues_at_its_first_keyframe() {
    let mut rewrite = video();
    let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
    assert_eq!(rewrite.map(&packet(2, 11, 33, false), None), Err(Refusal::Waiting));
    assert!(rewrite.is_waiting());
    assert_eq!(rewrite.map(&packet(2, 14, 99, true), None).unwrap().seq, first.seq + 1);
    assert_eq!(rewrite.map(&packet(1, 12, 50, true), None), Err(Refusal::Late), "the former one is over");
    assert_eq!(rewrite.map(&packet(2, 15, 132, false), None).unwrap().seq, first.seq + 2);
}

#[test]
fn a_hole_too_large_for_srtp_is_closed_up() {
    let mut rewrite = video();
    let first = rewrite.map(&packet(1, 10, 0, true), None).unwrap();
    assert_eq!(rewrite.map(&packet(1, 60_000, 33, false), None), Err(Refusal::Waiting));
    assert_eq!(rewrite.map(&packet(1, 60_001, 66, true), None).unwrap().seq, first.seq + 1);
}

#[test]
fn backlog_is_squeezed_and_ends_on_live_time() {
    let mut rewrite = video();
    rewrite.join(MediaTime::from_millis(3_000));
    let stamps: Vec<u32> = (0..=94).map(|n| rewrite.map(&packet(1, n, n as i64 * 32, n == 0), None).unwrap().timestamp).collect();
    for pair in stamps[..93].windows(2) {
        assert_eq!(pair[1].wrapping_sub(pair[0]), 90, "one millisecond apart");
    }
    let live = rewrite.timestamp(1_000_000 + 94 * 32 * 90);
    assert_eq!(stamps[94], live);
    assert_eq!(rewrite.timestamp(1_000_000 + 95 * 32 * 90).wrapping_sub(live), 32 * 90);
    assert_eq!(live.wrapping_sub(rewrite.timestamp(1_000_000 + 3_000 * 90)), 8 * 90, "no step at the seam");
}

#[test]
fn what_is_sent_again_fits_between_what_was_sent_and_what_is_live() {
    for (seconds, lost_ms) in [(1, 0), (1, 33), (10, 0), (10, 3_000)] {
        let mut rewrite = video();
        let pictures = seconds * 30;
        let all = |n: u64| packet(1, n, n as i64 * 33, n == 0);
        let last = pictures - lost_ms / 33;
        let stamps: Vec<u32> = (0..=last).map(|n| rewrite.map(&all(n), None).unwrap().timestamp).collect();
        let (sent, seq) = (stamps[last as usize], rewrite.next_seq);
        rewrite.rejoin(MediaTime::from_millis(pictures as i64 * 33));
        let again: Vec<Numbers> = (0..=pictures + 3).map(|n| rewrite.map(&all(n), None).unwrap()).collect();
        assert_eq!(again[0].seq, seq);
        let mut before = sent;
        for numbers in &again {
            let step = numbers.timestamp.wrapping_sub(before) as i32;
            assert!(step > 0 && !numbers.late, "{seconds} s, {lost_ms} ms: {step}");
            before = numbers.timestamp;
        }
        let live = again.last().map(|numbers| numbers.timestamp.wrapping_sub(stamps[0]));
        assert_eq!(live, Some((pictures as u32 + 3) * 33 * 90), "it ends where it would have been");
    }
}

#[test]
fn sound_starts_at_the_live_point() {
    let mut rewrite = Rewrite::new(false, 48_000, SEED);
    rewrite.join(MediaTime::from_millis(100));
    assert_eq!(rewrite.map(&packet(1, 5, 80, false), None), Err(Refusal::Waiting));
    let first = rewrite.map(&packet(1, 6, 100, false), None).unwrap();
    assert_eq!(first.seq, SEED % (1 << 15));
    assert!(rewrite.map(&packet(2, 7, 120, false), None).is_ok(), "no keyframe needed on a new epoch");
}

#[test]
fn what_is_left_out_of_a_stream_makes_no_hole_and_late_packets_keep_their_places() {
    let mut rewrite = video();
    let at = |seq: u64| packet(1, seq, seq as i64 * 33, seq == 10);
    let first = rewrite.map(&at(10), None).unwrap();
    assert!(rewrite.leave_out(&at(11), true));
    assert_eq!(rewrite.map(&at(12), None).unwrap().seq, first.seq + 1);
    // 13 is lost for now.
    assert!(rewrite.leave_out(&at(14), true));
    let next = rewrite.map(&at(15), None).unwrap();
    assert_eq!((next.seq, next.patch.picture), (first.seq + 3, 0u16.wrapping_sub(2)));
    let late = rewrite.map(&at(13), None).unwrap();
    assert_eq!((late.seq, late.late, late.patch.picture), (first.seq + 2, true, u16::MAX));
    for seq in (16..200).step_by(2) {
        assert!(rewrite.leave_out(&at(seq), true));
        rewrite.map(&at(seq + 1), None).unwrap();
    }
    assert!(!rewrite.leave_out(&at(150), true), "it came late");
    assert_eq!(rewrite.map(&at(13), None), Err(Refusal::Late), "too long ago");
    assert_eq!(rewrite.map(&at(200), None).unwrap().seq, first.seq + 4 + 92);
    assert!(rewrite.run.as_ref().unwrap().past.len() <= CUTS_MAX);
}

proptest! {
    #[test]
    fn no_number_is_used_twice_while_some_are_left_out(
        steps in proptest::collection::vec((0u64..6, any::<bool>(), 0u8..3), 1..300),
    ) {
        let mut rewrite = video();
        let (mut used, mut given) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        let mut base = 100_000u64;
        for (ahead, leave, track) in steps {
            base += ahead / 2;
            let (seq, track) = (base + ahead, TrackId::new(1 + track / 2).unwrap());
            if !given.insert((track, seq)) {
                continue;
            }
            let packet = Packet { track, ..packet(1, seq, seq as i64, ahead == 5) };
            if leave {
                rewrite.leave_out(&packet, true);
            } else if let Ok(numbers) = rewrite.map(&packet, None) {
                prop_assert!(used.insert(numbers.seq));
            }
        }
    }

    #[test]
    fn no_number_is_used_twice(steps in proptest::collection::vec((0u64..40, 0u32..3, any::<bool>(), any::<bool>()), 1..300)) {
        let mut rewrite = video();
        let (mut used, mut given) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        let (mut epoch, mut base) = (1, 100_000u64);
        for (ahead, bump, keyframe, interrupt) in steps {
            epoch += bump / 2;
            base += ahead / 2;
            if interrupt && ahead == 0 {
                rewrite.interrupt();
            }
            let seq = base + ahead;
            // A ring holds each number of an epoch once.
            if !given.insert((epoch, seq)) {
                continue;
            }
            if let Ok(numbers) = rewrite.map(&packet(epoch, seq, seq as i64, keyframe), None) {
                prop_assert!(used.insert(numbers.seq));
            }
        }
    }
}

//! AVC and HEVC parameter sets as FLV carries them, and samples of them for others.

use super::*;
use proptest::prelude::*;

/// 640x360, 30 frames a second, High 3.0, by x264.
pub(crate) const SPS: [u8; 26] = [
    0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00,
    0x3c, 0x0f, 0x16, 0x2d, 0x96,
];
pub(crate) const PPS: [u8; 4] = [0x68, 0xef, 0x8f, 0xcb];

pub(crate) fn record(length_size: u8) -> Bytes {
    let mut out = vec![1, SPS[1], SPS[2], SPS[3], 0xfc | (length_size - 1), 0xe1, 0, SPS.len() as u8];
    out.extend(SPS);
    out.extend([1, 0, PPS.len() as u8]);
    out.extend(PPS);
    out.extend([0xfd, 0xf8, 0xf8, 0]);
    out.into()
}

fn lengths(size: usize, nals: &[&[u8]]) -> Bytes {
    let mut out = Vec::new();
    for nal in nals {
        out.extend_from_slice(&(nal.len() as u32).to_be_bytes()[4 - size..]);
        out.extend_from_slice(nal);
    }
    out.into()
}

#[test]
fn a_record_is_kept_but_for_its_length_size() {
    for size in [1, 2, 4] {
        let config = AvcConfig::parse(&record(size)).unwrap();
        assert_eq!(config.length_size, usize::from(size));
        assert_eq!(config.record().unwrap(), record(4));
    }
}

#[test]
fn the_sps_tells_size_rate_profile_and_level() {
    let info = AvcConfig::parse(&record(4)).unwrap().info().unwrap();
    assert_eq!((info.width, info.height, info.fps), (640, 360, Some(30.0)));
    assert_eq!((&info.profile[..], &info.level[..]), ("High", "3.0"));
}

#[test]
fn a61_records_with_lying_counts_are_refused() {
    let good = record(4);
    for end in 0..good.len() - 4 {
        if end == 8 + SPS.len() {
            continue; // ends after the SPS: allowed
        }
        assert_eq!(AvcConfig::parse(&good.slice(..end)), Err(AvcError::BadConfig), "cut at {end}");
    }
    let mut many = good.to_vec();
    many[5] = 0xff;
    assert_eq!(AvcConfig::parse(&many.into()), Err(AvcError::BadConfig));
    assert_eq!(AvcConfig::parse(&Bytes::from_static(&[1, 100, 0, 30, 0xff, 0xe0, 0])), Err(AvcError::BadConfig));
}

#[test]
fn pictures_come_out_with_four_byte_lengths_whatever_they_had() {
    let slice: &[u8] = &[0x65, 1, 2, 3];
    for size in [1, 2, 3, 4] {
        let unit = access_unit(&lengths(size, &[slice, slice]), size).unwrap();
        assert_eq!(unit.data, lengths(4, &[slice, slice]), "length size {size}");
        assert!(unit.has_idr);
    }
    let annex_b = Bytes::from_static(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 7, 8, 0, 0, 0, 1, 0x41, 9]);
    let unit = access_unit(&annex_b, 4).unwrap();
    assert_eq!(unit.data, lengths(4, &[&[0x41, 7, 8], &[0x41, 9]]));
    assert!(!unit.has_idr);
}

#[test]
fn a_clean_picture_is_shared_not_copied() {
    let body = lengths(4, &[&[0x06, 1], &[0x41, 2]]);
    assert_eq!(access_unit(&body, 4).unwrap().data.as_ptr(), body.as_ptr());
}

#[test]
fn delimiters_filler_parameter_sets_and_empty_units_are_left_out() {
    let body = lengths(4, &[&[9, 0xf0], &SPS, &PPS, &[], &[6, 5], &[0x65, 1], &[12, 0xff]]);
    let unit = access_unit(&body, 4).unwrap();
    assert_eq!(unit.data, lengths(4, &[&[6, 5], &[0x65, 1]]));
    assert_eq!((&unit.sets.sps[0][..], &unit.sets.pps[0][..]), (&SPS[..], &PPS[..]));
}

#[test]
fn a61_units_without_slices_and_broken_framing_are_dropped() {
    assert_eq!(access_unit(&lengths(4, &[&[9, 0xf0]]), 4).unwrap_err(), AvcError::Empty);
    assert_eq!(access_unit(&lengths(4, &[&[6, 1, 2]]), 4).unwrap_err(), AvcError::Empty);
    assert_eq!(access_unit(&Bytes::new(), 4).unwrap_err(), AvcError::Empty);
    assert_eq!(access_unit(&Bytes::from_static(&[0, 0, 0, 9, 1]), 4).unwrap_err(), AvcError::BadFraming);
    let crumbs = Bytes::from([1, 0x41].repeat(NALS_MAX + 1));
    assert_eq!(access_unit(&crumbs, 1).unwrap_err(), AvcError::BadFraming);
}

#[test]
fn sets_within_pictures_replace_those_of_their_id() {
    let mut config = AvcConfig::parse(&record(4)).unwrap();
    let before = config.clone();
    config.update(InBand { sps: vec![Bytes::from_static(&SPS)], pps: vec![Bytes::from_static(&PPS)] });
    assert_eq!(config, before);
    let mut other = PPS;
    other[2] = 0;
    config.update(InBand { sps: vec![], pps: vec![Bytes::copy_from_slice(&other)] });
    assert_eq!(config.pps, [Bytes::copy_from_slice(&other)]);
    // ue(v) 1 is 010: another id.
    config.update(InBand { sps: vec![], pps: vec![Bytes::from_static(&[0x68, 0b0101_0000, 1])] });
    assert_eq!(config.pps.len(), 2);
}

#[test]
fn exp_golomb_codes_are_read() {
    assert_eq!(exp_golomb(&[0b1000_0000]), Some(0));
    assert_eq!(exp_golomb(&[0b0110_0000]), Some(2));
    assert_eq!(exp_golomb(&[0b0000_0001, 0b1111_1110]), Some(254));
    assert_eq!(exp_golomb(&[0, 0, 0, 0]), None);
    assert_eq!(exp_golomb(&[]), None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1usize..5) {
        let bytes = Bytes::from(bytes);
        let _ = access_unit(&bytes, size).map(|unit| AvcConfig::default().update(unit.sets));
        let _ = AvcConfig::parse(&bytes).map(|config| (config.record(), config.info()));
        let _ = video_info(&bytes);
    }

    #[test]
    fn no_mangled_sps_panics(flips in proptest::collection::vec((4usize..26, any::<u8>()), 1..8)) {
        let mut sps = SPS;
        for (at, byte) in flips {
            sps[at] = byte;
        }
        if let Some(info) = video_info(&sps) {
            prop_assert!(info.width <= PIXELS_MAX && info.height <= PIXELS_MAX);
        }
    }
}

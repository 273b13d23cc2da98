//! The sequence parameter set: picture facts, and the one bit that we change in it.

use bytes::Bytes;
use h264_reader::{
    nal::sps::{Profile, SeqParameterSet},
    rbsp,
};
use weir_source::VideoInfo;

use crate::remux::bits::{BitReader, escape, unescape};

/// Wider or higher pictures are not believed (level 6.2 allows 16,896 at most).
const SIDE_MAX: u32 = 16_384;
/// Faster streams are not believed: the field is often filled with nonsense.
const FPS_MAX: f64 = 480.0;
/// `Baseline` streams have no B-frames (ITU-T H.264 A.2.1).
const PROFILE_BASELINE: u8 = 66;

/// Picture facts of an SPS NAL unit, or `None` if it does not parse or is absurd.
pub fn video_info(sps: &[u8]) -> Option<VideoInfo> {
    let parsed = parse(sps)?;
    let (width, height) = parsed.pixel_dimensions().ok()?;
    if width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX {
        return None;
    }
    let fps = parsed.fps().filter(|fps| fps.is_finite() && *fps > 0.0 && *fps <= FPS_MAX);
    let level = parsed.level_idc;
    let level = if level % 10 == 0 { format!("{}", level / 10) } else { format!("{}.{}", level / 10, level % 10) };
    Some(VideoInfo { width, height, fps, profile: profile_name(parsed.profile()), level })
}

fn parse(sps: &[u8]) -> Option<SeqParameterSet> {
    let body = unescape(sps.get(1..)?);
    SeqParameterSet::from_bits(rbsp::BitReader::new(body.as_slice())).ok()
}

fn profile_name(profile: Profile) -> String {
    match profile {
        Profile::Baseline => "Baseline".to_owned(),
        Profile::Main => "Main".to_owned(),
        Profile::High => "High".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Chroma format and the two bit depths less eight, for profiles that have them (ISO/IEC 14496-15
/// 5.3.3.1.2); `None` for the others.
pub(super) fn chroma(sps: &[u8]) -> Option<[u8; 3]> {
    let profile = *sps.get(1)?;
    if !has_chroma(profile) {
        return None;
    }
    let body = unescape(sps.get(4..)?);
    let mut bits = BitReader::new(&body);
    let _id = bits.exp_golomb()?;
    let format = bits.exp_golomb()?;
    if format == 3 {
        bits.bit()?;
    }
    let luma = bits.exp_golomb()?;
    let depth = bits.exp_golomb()?;
    Some([u8::try_from(format).ok()? & 3, u8::try_from(luma).ok()? & 7, u8::try_from(depth).ok()? & 7])
}

/// Profiles whose SPS tells the chroma format (ITU-T H.264 7.3.2.1.1).
const fn has_chroma(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// `seq_parameter_set_id`.
pub(super) fn id(sps: &[u8]) -> Option<u32> {
    let body = unescape(sps.get(4..)?);
    BitReader::new(&body).exp_golomb().filter(|id| *id < 32)
}

/// Whether pictures may be coded in another order than they are shown. Where the SPS does not say,
/// they may.
pub(super) fn may_reorder(sps: &[u8]) -> bool {
    if sps.get(1) == Some(&PROFILE_BASELINE) {
        return false;
    }
    let restrictions = parse(sps).and_then(|sps| sps.vui_parameters).and_then(|vui| vui.bitstream_restrictions);
    restrictions.is_none_or(|restrictions| restrictions.max_num_reorder_frames > 0)
}

/// The SPS with `gaps_in_frame_num_value_allowed_flag` set (ITU-T H.264 7.4.2.1.1): decoders then
/// take missing reference pictures for intended, which they are where B-frames are left out. An
/// SPS that does not parse is returned as it is.
pub(super) fn allow_frame_num_gaps(sps: &Bytes) -> Bytes {
    let [header, profile, constraints, level, body @ ..] = sps.as_ref() else { return sps.clone() };
    let mut body = unescape(body);
    let Some(position) = gaps_flag(&body, *profile) else { return sps.clone() };
    let Some(byte) = body.get_mut(position / 8) else { return sps.clone() };
    *byte |= 0x80 >> (position % 8);
    let mut whole = vec![*header, *profile, *constraints, *level];
    whole.append(&mut body);
    Bytes::from(escape(&whole))
}

/// The bit position of the flag, counted from `seq_parameter_set_id` (ITU-T H.264 7.3.2.1.1).
fn gaps_flag(body: &[u8], profile: u8) -> Option<usize> {
    let mut bits = BitReader::new(body);
    let _id = bits.exp_golomb()?;
    if has_chroma(profile) {
        if bits.exp_golomb()? == 3 {
            bits.bit()?;
        }
        let (_luma, _chroma, _bypass) = (bits.exp_golomb()?, bits.exp_golomb()?, bits.bit()?);
        if bits.bit()? {
            // Scaling matrices: no live encoder sends them in the SPS. The flag is left alone.
            return None;
        }
    }
    let _log2_max_frame_num = bits.exp_golomb()?;
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            let (_delta, _non_reference, _field) = (bits.bit()?, bits.signed_exp_golomb()?, bits.signed_exp_golomb()?);
            for _ in 0..bits.exp_golomb()?.min(255) {
                bits.signed_exp_golomb()?;
            }
        }
        _ => {}
    }
    let _num_ref_frames = bits.exp_golomb()?;
    Some(bits.position())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 640x360 at 30/s, High, x264 with three B-frames.
    const HIGH: [u8; 26] = [
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03,
        0x00, 0x3c, 0x0f, 0x16, 0x2d, 0x96,
    ];

    #[test]
    fn facts_of_an_x264_stream() {
        let info = video_info(&HIGH).expect("parses");
        assert_eq!((info.width, info.height), (640, 360));
        assert_eq!(info.fps, Some(30.0));
        assert_eq!((info.profile.as_str(), info.level.as_str()), ("High", "3"));
        assert_eq!(chroma(&HIGH), Some([1, 0, 0]));
        assert_eq!(id(&HIGH), Some(0));
        assert!(may_reorder(&HIGH));
    }

    #[test]
    fn allowing_gaps_changes_nothing_else() {
        let before = Bytes::from_static(&HIGH);
        let after = allow_frame_num_gaps(&before);
        let (mut a, b) = (parse(&before).expect("parses"), parse(&after).expect("parses"));
        assert!(!a.gaps_in_frame_num_value_allowed_flag);
        a.gaps_in_frame_num_value_allowed_flag = true;
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
        assert_eq!(allow_frame_num_gaps(&after), after);
    }

    proptest! {
        #[test]
        fn hostile_sets_never_panic(
            random in proptest::collection::vec(any::<u8>(), 0..64),
            at in 0usize..26, with in any::<u8>(), cut in 0usize..26,
        ) {
            let mut broken = HIGH.to_vec();
            broken[at] = with;
            broken.truncate(cut.max(1));
            for sps in [random, broken] {
                video_info(&sps);
                chroma(&sps);
                may_reorder(&sps);
                allow_frame_num_gaps(&Bytes::from(sps));
            }
        }
    }
}

//! Descriptors written by a writer of the tests' own, from the syntax of appendix A.

use proptest::prelude::*;

use super::*;

/// Bits, highest first.
#[derive(Default)]
struct Writer(Vec<bool>);

impl Writer {
    fn put(&mut self, value: u32, bits: u32) -> &mut Self {
        self.0.extend((0..bits).rev().map(|bit| value >> bit & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)) << (8 - bits.len())).collect()
    }
}

/// A template: how it goes on to the next, its indications as in the specification's tables, its distances.
type Row = (u32, &'static str, &'static [u32]);

/// What libwebrtc's encoders send for three temporal layers.
const L1T3: [Row; 5] = [(0, "SSS", &[]), (1, "SSS", &[4]), (1, "-DS", &[2]), (0, "--D", &[1]), (3, "--D", &[1])];
/// Two pictures of two temporal layers each.
const L2T2: [Row; 6] =
    [(0, "SSSS", &[]), (1, "SSRR", &[2]), (2, "-D-R", &[1]), (0, "--SS", &[1]), (1, "--RR", &[2, 1]), (3, "---D", &[2, 1])];

fn indications(writer: &mut Writer, text: &str) {
    for name in text.chars() {
        writer.put("-DSR".find(name).unwrap() as u32, 2);
    }
}

/// A keyframe's descriptor: the structure, and a chain that protects all.
fn structure(offset: u32, rows: &[Row], sizes: u32) -> Vec<u8> {
    let mut writer = Writer::default();
    let targets = rows[0].1.len() as u32;
    writer.put(0b10, 2).put(offset, 6).put(77, 16).put(0b10000, 5);
    writer.put(offset, 6).put(targets - 1, 5);
    for (next, _, _) in rows {
        writer.put(*next, 2);
    }
    for (_, text, _) in rows {
        indications(&mut writer, text);
    }
    for (_, _, distances) in rows {
        for distance in *distances {
            writer.put(1, 1).put(distance - 1, 4);
        }
        writer.put(0, 1);
    }
    // One chain: of two, four or five values 1 is written in so many bits, and of one value none is written.
    writer.put(1, if targets == 1 { 1 } else { 2 });
    for _ in rows {
        writer.put(0, 4);
    }
    writer.put(u32::from(sizes > 0), 1);
    for _ in 0..sizes {
        writer.put(639, 16).put(359, 16);
    }
    writer.bytes()
}

/// One of a frame that follows a template.
fn frame(template: u32) -> Vec<u8> {
    Writer::default().put(0b11, 2).put(template, 6).put(78, 16).bytes()
}

fn place(layer: u8, needed: u8, switch: u8) -> Option<Place> {
    Some(Place { layer, needed, switch })
}

#[test]
fn three_temporal_layers_are_told_by_their_templates() {
    let mut dependencies = Dependencies::default();
    assert_eq!(dependencies.read(&frame(61)), None, "no structure has come");
    assert_eq!(dependencies.read(&structure(60, &L1T3, 1)), place(0, 0xff, 0xff));
    let read: Vec<_> = [61, 62, 63, 0].map(|template| dependencies.read(&frame(template))).into();
    let upper = place(2, 0xfc, 0);
    assert_eq!(read, [place(0, 0xff, 0xff), place(1, 0xfe, 0xfc), upper, upper], "numbers of templates wrap");
    assert_eq!(dependencies.read(&frame(1)), None, "there is no such template");
}

#[test]
fn a_frame_may_say_itself_what_needs_it() {
    let mut dependencies = Dependencies::default();
    dependencies.read(&structure(0, &L1T3, 0));
    let mut own = Writer::default();
    // Targets that are active, and indications of its own.
    own.put(0b11, 2).put(3, 6).put(80, 16).put(0b01100, 5).put(0b011, 3);
    indications(&mut own, "-SD");
    assert_eq!(dependencies.read(&own.bytes()), place(2, 0xfe, 0x02));
}

#[test]
fn of_several_pictures_the_largest_counts() {
    let mut dependencies = Dependencies::default();
    assert_eq!(dependencies.read(&structure(0, &L2T2, 2)), place(0, 0xff, 0xff));
    assert_eq!(dependencies.read(&frame(2)), place(1, 0xfe, 0), "of the smaller, but the larger builds on it");
    assert_eq!(dependencies.read(&frame(5)), place(1, 0xfe, 0));
}

#[test]
fn without_a_choice_nothing_is_said() {
    let mut dependencies = Dependencies::default();
    assert_eq!(dependencies.read(&structure(5, &[(0, "S", &[]), (3, "S", &[1])], 0)), None);
    assert_eq!(dependencies.read(&frame(6)), None);
}

#[test]
fn a_structure_cut_short_anywhere_says_nothing_and_forgets_the_old() {
    for whole in [structure(60, &L1T3, 1), structure(0, &L2T2, 2)] {
        for len in 0..whole.len() {
            let mut dependencies = Dependencies::default();
            assert!(dependencies.read(&whole).is_some());
            let read = dependencies.read(&whole[..len]);
            // Three bytes are a frame of a template.
            assert_eq!(read.is_some(), len == MANDATORY_LEN, "{len}");
            assert_eq!(dependencies.structure.is_some(), len <= MANDATORY_LEN, "{len}");
        }
    }
}

#[test]
fn frames_are_numbered() {
    assert_eq!(frame_number(&structure(60, &L1T3, 1)), Some(77));
    assert_eq!(frame_number(&[0xc0, 1]), None);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        all in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..256), 0..6),
        flip in 0usize..400,
    ) {
        let mut dependencies = Dependencies::default();
        let mut damaged = structure(60, &L1T3, 1);
        if let Some(byte) = damaged.get_mut(flip / 8) {
            *byte ^= 1 << (flip % 8);
        }
        for bytes in all.iter().chain([&damaged]) {
            if let Some(place) = dependencies.read(bytes) {
                prop_assert!(place.layer <= TEMPORAL_MAX && place.needed >= 0x80);
            }
            let known = dependencies.structure.as_ref().map_or(0, |structure| structure.templates.len());
            prop_assert!(known <= TEMPLATES_MAX);
        }
    }
}

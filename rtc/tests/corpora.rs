//! The fuzzer's corpora in every test run: each file, each beginning of it, and some thousands of
//! mutations, always the same ones.

use std::{fs, path::Path, time::Instant};

use weir_rtc::fuzz::TARGETS;

/// Mutations per target, shared among its files …
const MUTATIONS: usize = 6_000;
/// … and of those that cost a microsecond.
const CHEAP_MUTATIONS: usize = 100_000;
const CHEAP: [&str; 4] = ["stun", "rtp", "rtcp", "hello"];
/// Beginnings per file: all of a datagram's, and every so many bytes of a long offer.
const BEGINNINGS: usize = 1_600;

/// A generator of its own (xorshift), so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize
    }

    fn below(&mut self, end: usize) -> usize {
        self.roll() % end.max(1)
    }
}

/// Values at which lengths and counters turn over.
const EDGES: [u8; 10] = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xbe, 0xfe, 0xff];

fn mutate(dice: &mut Dice, seed: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(data.len());
        match dice.below(7) {
            _ if data.is_empty() => data.push(dice.roll() as u8),
            0 => data[at] ^= 1 << dice.below(8),
            1 => data[at] = dice.roll() as u8,
            2 => data[at] = EDGES[dice.below(EDGES.len())],
            3 => data.truncate(at),
            4 => {
                data.remove(at);
            }
            5 => {
                let end = at + dice.below(16).min(data.len() - at);
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
            _ => {
                let from = dice.below(other.len());
                let end = from + dice.below(40).min(other.len() - from);
                data.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    data
}

#[test]
fn corpora_and_thousands_of_mutations_do_no_harm() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in TARGETS {
        let began = Instant::now();
        let folder = fs::read_dir(corpora.join(name)).unwrap_or_else(|error| panic!("the corpus of {name}: {error}"));
        let mut paths: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
        // The order of a folder is the disk's own.
        paths.sort();
        let files: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("a file")).collect();
        assert!(files.len() >= 3, "{name} has a corpus");
        for file in &files {
            for end in (0..=file.len()).step_by(file.len() / BEGINNINGS + 1) {
                target(&file[..end]);
            }
            target(file);
        }
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        for _ in 0..if CHEAP.contains(name) { CHEAP_MUTATIONS } else { MUTATIONS } {
            let (seed, other) = (dice.below(files.len()), dice.below(files.len()));
            target(&mutate(&mut dice, &files[seed], &files[other]));
        }
        eprintln!("{name}: {} files, {:?}", files.len(), began.elapsed());
    }
}

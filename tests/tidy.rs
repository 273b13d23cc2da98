//! The house rules that a program can check, checked on every Rust file of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files may be this long; past it they hold more than one noun.
const LINES_MAX: usize = 800;
/// Long tables by nature: (path, why).
const LONG_FILES: &[(&str, &str)] = &[];
/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "misc", "helpers", "helper", "manager"];

struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    /// The lines before the file's own unit tests, which stand last.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line)).take_while(|(_, line)| *line != "#[cfg(test)]")
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("tests.rs")
    }
}

fn files() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        ["src", "rtc", "bridge", "web", "srs-bench", "tests", "fuzz"].iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" {
                open.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file is readable");
                let path = path.strip_prefix(root).expect("it is under the root").to_string_lossy().into_owned();
                found.push(SourceFile { path, text });
            }
        }
    }
    assert!(found.len() > 30, "the walk finds the repository");
    found
}

/// Runs a rule over all files and shows every breach at once.
fn check(rule: &str, breaches: impl Fn(&SourceFile) -> Vec<String>) {
    let all: Vec<String> =
        files().iter().flat_map(|file| breaches(file).into_iter().map(|b| format!("{}: {b}", file.path))).collect();
    assert!(all.is_empty(), "{rule}:\n{}", all.join("\n"));
}

fn lines_with(file: &SourceFile, words: &[&str]) -> Vec<String> {
    let hit = |line: &str| words.iter().find(|word| line.contains(**word)).map(ToString::to_string);
    file.code().filter_map(|(n, line)| hit(line).map(|word| format!("line {n} has {word}"))).collect()
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    check("a file opens with //!", |file| if file.text.starts_with("//!") { vec![] } else { vec!["no //! at its head".into()] });
}

#[test]
fn no_file_is_longer_than_the_hard_limit() {
    check("at most 800 lines", |file| {
        let exempt = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        let lines = file.text.lines().count();
        if exempt || lines <= LINES_MAX { vec![] } else { vec![format!("{lines} lines")] }
    });
}

#[test]
fn no_file_has_a_name_that_says_nothing() {
    check("a helper belongs to a noun", |file| {
        let parts = file.path.trim_end_matches(".rs").split('/');
        parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| format!("named {part}")).collect()
    });
}

#[test]
fn nothing_is_left_half_done() {
    let words =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];
    check("no work left in comments", |file| lines_with(file, &words));
}

#[test]
fn every_queue_has_a_bound() {
    let words = [concat!("unbounded", "_channel"), concat!("unbounded", "()"), concat!("mpsc::", "channel()")];
    check("no unbounded queue", |file| lines_with(file, &words));
}

#[test]
fn unsafe_stays_with_the_system_calls() {
    check("unsafe only in rtc/src/net", |file| {
        let allowed = file.path.starts_with("rtc/src/net");
        let words = [concat!("unsafe", " {"), concat!("unsafe", " fn"), concat!("unsafe", " impl")];
        if allowed { vec![] } else { lines_with(file, &words) }
    });
}

#[test]
fn protocol_code_of_webrtc_reads_no_clock_and_takes_no_lock() {
    let rooms = ["rtc/src/wire", "rtc/src/sdp", "rtc/src/ice", "rtc/src/dtls", "rtc/src/srtp", "rtc/src/session"];
    let words = ["Instant::now(", "SystemTime::now(", "Mutex", "RwLock", "thread::spawn", "UdpSocket"];
    check("sans-IO rooms", |file| {
        let concerned = !file.is_test() && rooms.iter().any(|room| file.path.starts_with(room));
        if concerned { lines_with(file, &words) } else { vec![] }
    });
}

#[test]
fn webrtc_and_the_bridges_do_not_know_each_other() {
    check("imports", |file| {
        let forbidden: &[&str] = match file.path.split('/').next() {
            _ if file.is_test() => &[],
            Some("rtc") => &["weir_bridge", "weir_web"],
            Some("bridge") if file.path.starts_with("bridge/source") => &["weir_rtc", "weir_bridge", "weir_web", "tokio"],
            Some("bridge") => &["weir_rtc", "weir_web"],
            _ => &[],
        };
        lines_with(file, forbidden)
    });
}

/// The ids at the head of a test's name: `h17_h19_trickle_needs_the_right_tag` has two.
fn rows_of(name: &str) -> impl Iterator<Item = &str> {
    let is_row = |word: &&str| {
        let mut letters = word.chars();
        matches!(letters.next(), Some('a' | 'h' | 'w')) && word.len() == 3 && letters.all(|letter| letter.is_ascii_digit())
    };
    name.split('_').take_while(is_row)
}

/// Rows of the threat catalogue about what is not built: MPEG-TS in, streams pushed to others, clusters.
const NOT_BUILT: [&str; 3] = ["a63", "a66", "a70"];

#[test]
fn every_row_of_whip_whep_and_the_threat_catalogue_has_a_test() {
    let all = files();
    let tests = all.iter().filter(|file| file.path != "tests/tidy.rs").flat_map(|file| file.text.lines());
    let names = tests.filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?.split('(').next());
    let found: Vec<&str> = names.flat_map(rows_of).collect();
    let wanted = [('h', 49), ('w', 10), ('a', 72)].into_iter();
    let wanted = wanted.flat_map(|(letter, rows)| (1..=rows).map(move |row| format!("{letter}{row:02}")));
    let missing: Vec<String> =
        wanted.filter(|row| !found.contains(&row.as_str()) && !NOT_BUILT.contains(&row.as_str())).collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}

#[test]
fn main_stays_small() {
    let main = files().into_iter().find(|file| file.path == "src/main.rs").expect("there is a program");
    let lines = main.text.lines().count();
    assert!(lines <= 40, "src/main.rs has {lines} lines");
}

#[test]
fn unit_tests_wait_for_events_and_not_for_time() {
    check("no sleep in the unit tests of protocol code", |file| {
        let sans_io = file.path.starts_with("rtc/src/")
            && !file.path.starts_with("rtc/src/net")
            && !file.path.starts_with("rtc/src/worker");
        let word = concat!("thread::", "sleep");
        if sans_io && file.text.contains(word) { vec!["sleeps".into()] } else { vec![] }
    });
}

//! The real program against a real server, small and short.

use std::{path::Path, process::Command};

/// The first number that follows `word` in `text`.
fn number_after(text: &str, word: &str) -> f64 {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}")).1;
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number after {word} in {text}"))
}

#[test]
fn a_small_run_measures_both_kinds_of_viewers() {
    let bench = Path::new(env!("CARGO_BIN_EXE_srs-bench"));
    let weir = bench.with_file_name("weir");
    assert!(weir.exists(), "{} is missing: test the whole workspace", weir.display());
    let mut command = Command::new(bench);
    command.args(["cost", "--no-pin", "--whep", "4", "--rtmp", "6", "--seconds", "3", "--weir"]).arg(&weir);
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));

    // 30 pictures of about 3 packets and 50 sound packets a second and viewer.
    let packets = number_after(&text, "WHEP, 4 viewers\n  work");
    assert!((4.0 * 3.0 * 90.0..4.0 * 3.0 * 250.0).contains(&packets), "{text}");
    assert!(text.contains("4 of 4 viewers on AEAD_AES_128_GCM, 0 packets failed their check"), "{text}");
    // 30 pictures and 47 sound frames a second.
    let published = number_after(&text, "RTMP, 6 players\n  work");
    assert!((3.0 * 60.0..3.0 * 100.0).contains(&published), "{text}");
    assert_eq!(number_after(&text, "messages published,"), published * 6.0);
    for word in ["per packet", "per write", "server"] {
        assert!(number_after(&text, word) > 0.0, "{word} in {text}");
    }
}

#[test]
fn a_server_that_does_not_start_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_srs-bench"))
        .args(["cost", "--no-pin", "--weir", "/nonexistent/weir"])
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("it starts");
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("/nonexistent/weir did not start"), "{errors}");
}

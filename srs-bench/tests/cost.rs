//! The real program against a real server, small and short.

use std::{path::Path, process::Command};

/// The first number that follows `word` in `text`.
fn number_after(text: &str, word: &str) -> f64 {
    let rest = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}")).1;
    let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number after {word} in {text}"))
}

/// What a short run without pinning prints.
fn cost(args: &[&str]) -> String {
    let bench = Path::new(env!("CARGO_BIN_EXE_srs-bench"));
    let weir = bench.with_file_name("weir");
    assert!(weir.exists(), "{} is missing: test the whole workspace", weir.display());
    let mut command = Command::new(bench);
    command.args(["cost", "--no-pin", "--seconds", "3", "--weir"]).arg(&weir).args(args);
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_small_run_measures_both_kinds_of_viewers() {
    let text = cost(&["--whep", "4", "--rtmp", "6", "--publishers", "0"]);
    // 25 pictures of about 3 packets and 50 sound packets a second and viewer.
    let packets = number_after(&text, "WHEP, 4 viewers from RTMP\n  work");
    assert!((4.0 * 3.0 * 90.0..4.0 * 3.0 * 250.0).contains(&packets), "{text}");
    assert!(text.contains("4 of 4 on AEAD_AES_128_GCM, 0 packets failed their check"), "{text}");
    assert!(number_after(&text, "datagrams in") > 0.0, "{text}");
    // 25 pictures and 47 sound frames a second.
    let published = number_after(&text, "RTMP, 6 players\n  work");
    assert!((3.0 * 55.0..3.0 * 95.0).contains(&published), "{text}");
    assert_eq!(number_after(&text, "messages published,"), published * 6.0);
    for word in ["per packet", "per write", "server"] {
        assert!(number_after(&text, word) > 0.0, "{word} in {text}");
    }
    assert!(text.contains("\n| 4 WHEP from RTMP | Gcm | 1 |"), "{text}");
}

#[test]
fn a_small_run_measures_whip_with_the_cipher_and_the_workers_asked_for() {
    let text =
        cost(&["--whep", "3", "--source", "whip", "--publishers", "3", "--rtmp", "0", "--cipher", "cm80", "--workers", "2"]);
    let packets = number_after(&text, "WHEP, 3 viewers from WHIP\n  work");
    assert!((3.0 * 3.0 * 90.0..3.0 * 3.0 * 250.0).contains(&packets), "{text}");
    let received = number_after(&text, "WHIP, 3 publishers without viewers\n  work");
    assert!((3.0 * 3.0 * 90.0..3.0 * 3.0 * 250.0).contains(&received), "{text}");
    assert_eq!(text.matches("3 of 3 on AES_CM_128_HMAC_SHA1_80, 0 packets failed their check").count(), 2, "{text}");
    for row in ["\n| 3 WHEP from WHIP | Cm80 | 2 |", "\n| 3 WHIP publishers | Cm80 | 2 |"] {
        assert!(text.contains(row), "{row} in {text}");
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

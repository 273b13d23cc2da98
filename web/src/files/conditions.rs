//! What of a file a request wants: all, a part, or only to hear that it has not changed (RFC 9110
//! sections 13 and 14).

use axum::http::{HeaderMap, HeaderName, header};

use super::found::File;

/// What to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Part {
        start: u64,
        len: u64,
    },
    /// What the client has is still so.
    Unchanged,
    /// A part that is not there.
    Nothing,
}

pub(super) fn wanted(file: &File, headers: &HeaderMap) -> Wanted {
    let etag = file.etag();
    // If-Modified-Since does not count beside If-None-Match (RFC 9110 section 13.1.3).
    let is_known = match text(headers, &header::IF_NONE_MATCH) {
        Some(tags) => tags.split(',').any(|tag| matches!(tag.trim(), "*") || tag.trim().trim_start_matches("W/") == etag),
        None => date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| file.modified <= since),
    };
    if is_known {
        return Wanted::Unchanged;
    }
    let is_of_this = match text(headers, &header::IF_RANGE) {
        None => true,
        Some(tag) if tag.contains('"') => tag.trim() == etag,
        Some(_) => date(headers, &header::IF_RANGE).is_some_and(|at| at == file.modified),
    };
    let mut ranges = headers.get_all(header::RANGE).iter();
    match (ranges.next().and_then(|value| value.to_str().ok()), ranges.next()) {
        (Some(range), None) if is_of_this => part(range, file.len),
        _ => Wanted::All,
    }
}

/// One range of bytes. Several are answered with all, which section 14.2 allows: cutting them out
/// would let a short request ask for the file many times over (A48).
fn part(range: &str, len: u64) -> Wanted {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Wanted::All;
    };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // One that is too large for us is past the end of any file.
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(start), Some(last)) if start <= last => (start, last.saturating_add(1).min(len)),
        (Some(start), None) if last.is_empty() => (start, len),
        (None, Some(suffix)) if first.is_empty() => (if suffix == 0 { len } else { len.saturating_sub(suffix) }, len),
        _ => return Wanted::All,
    };
    if start >= end { Wanted::Nothing } else { Wanted::Part { start, len: end - start } }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<std::time::SystemTime> {
    text(headers, name).and_then(|text| httpdate::parse_http_date(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a48_one_range_at_most_is_served() {
        let many = format!("bytes=0-0{}", ",1-1".repeat(10_000));
        let piece = |start, len| Wanted::Part { start, len };
        for (range, want) in [
            ("bytes=0-0", piece(0, 1)),
            ("bytes=2-4", piece(2, 3)),
            ("bytes=2-", piece(2, 8)),
            ("bytes=-3", piece(7, 3)),
            ("bytes=-300", piece(0, 10)),
            ("bytes=9-99999999999999999999999", piece(9, 1)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=4-2", Wanted::All),
            ("bytes=--1", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=0-1,2-3", Wanted::All),
            ("lines=0-1", Wanted::All),
            (&many, Wanted::All),
        ] {
            assert_eq!(part(range, 10), want, "{}", range.get(..20).unwrap_or(range));
        }
        assert_eq!(part("bytes=0-", 0), Wanted::Nothing);
    }
}

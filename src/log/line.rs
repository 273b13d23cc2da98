//! The text of a line: fields collected, cut to a length, and made harmless.
//!
//! Names, user agents and URLs in a line are whatever a client sent. None can start a line of its
//! own, move a terminal's cursor or turn the reading direction.

use std::fmt::{self, Write as _};

use jiff::{Timestamp, ZonedDateTime, tz::TimeZone};
use tracing::{
    Level,
    field::{Field, Visit},
};

use super::LogFormat;

/// The longest field, in characters. What is longer is cut and ends in `…`.
const FIELD_CHARS_MAX: usize = 256;
/// The longest message: it may quote several fields.
const MESSAGE_CHARS_MAX: usize = 1_024;
/// The most fields of an event, and of all its spans together.
const FIELDS_MAX: usize = 32;

/// The fields of an event or a span.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) message: String,
    /// The trace id, from the field `id`.
    pub(super) cid: Option<String>,
    pub(super) others: Vec<(&'static str, Value)>,
}

/// The value of a field, escaped already.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// A number or a truth value.
    Plain(String),
}

impl Value {
    fn as_str(&self) -> &str {
        let (Self::Text(text) | Self::Plain(text)) = self;
        text
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => {}
            "id" if self.cid.is_none() => self.cid = Some(value.as_str().to_owned()),
            name if self.others.len() < FIELDS_MAX => self.others.push((name, value)),
            _ => {}
        }
    }

    fn add_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.message = harmless(text, MESSAGE_CHARS_MAX);
        } else {
            self.add(field, Value::Text(harmless(text, FIELD_CHARS_MAX)));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Plain(value.to_string()));
    }
}

/// Text of at most `chars` characters, with those escaped that would be more than text.
fn harmless(text: fmt::Arguments<'_>, chars: usize) -> String {
    let mut escape = Escape { out: String::new(), left: chars };
    if escape.write_fmt(text).is_err() {
        escape.out.push('…');
    }
    escape.out
}

/// Stops the formatting of what is longer than will be kept.
struct Escape {
    out: String,
    left: usize,
}

impl fmt::Write for Escape {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            if c.is_control() || is_steering(c) {
                self.out.extend(c.escape_default());
            } else {
                self.out.push(c);
            }
        }
        Ok(())
    }
}

/// Characters that break lines or turn the direction of what follows (Unicode's bidirectional
/// controls), and those that cannot be seen.
const fn is_steering(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What is known of a line besides its fields.
pub(super) struct Head<'a> {
    pub(super) level: Level,
    pub(super) cid: &'a str,
    pub(super) utc: bool,
}

/// The whole line with its end.
pub(super) fn render(head: &Head<'_>, message: &str, fields: &[(&'static str, Value)], format: LogFormat) -> String {
    let now = if head.utc { Timestamp::now().to_zoned_datetime(TimeZone::UTC) } else { ZonedDateTime::now() };
    let mut out = String::with_capacity(128);
    // Writing to a string cannot fail.
    let _written = match format {
        LogFormat::Srs => srs(&mut out, &now, head, message, fields),
        LogFormat::Json => json(&mut out, &now, head, message, fields),
    };
    out.push('\n');
    out
}

fn srs(out: &mut String, now: &ZonedDateTime, head: &Head<'_>, message: &str, fields: &[(&'static str, Value)]) -> fmt::Result {
    let (level, pid, cid) = (head.level, std::process::id(), head.cid);
    write!(out, "[{}][{level}][{pid}][{cid}] {message}", now.strftime("%Y-%m-%d %H:%M:%S%.3f"))?;
    for (name, value) in fields {
        match value.as_str() {
            text if text.is_empty() || text.contains([' ', '"']) => write!(out, " {name}=\"{}\"", text.replace('"', "'"))?,
            text => write!(out, " {name}={text}")?,
        }
    }
    Ok(())
}

fn json(out: &mut String, now: &ZonedDateTime, head: &Head<'_>, message: &str, fields: &[(&'static str, Value)]) -> fmt::Result {
    let (level, pid) = (head.level, std::process::id());
    write!(out, "{{\"time\":\"{}\",\"level\":\"{level}\",\"pid\":{pid},\"cid\":", now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))?;
    quote(out, head.cid)?;
    out.push_str(",\"message\":");
    quote(out, message)?;
    for (name, value) in fields {
        out.push(',');
        quote(out, name)?;
        out.push(':');
        match value {
            // Not a number is no JSON.
            Value::Plain(text) if !text.contains(['N', 'i']) => out.push_str(text),
            value => quote(out, value.as_str())?,
        }
    }
    out.push('}');
    Ok(())
}

/// What is left to escape for JSON: control characters are escaped already (RFC 8259 section 7).
fn quote(out: &mut String, text: &str) -> fmt::Result {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\{c}")?,
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_stays_one_line_of_text() {
        let evil = "a\r\nb\u{1b}[31m\u{202e}c\u{2028}\0d\u{200b}é";
        assert_eq!(harmless(format_args!("{evil}"), 256), "a\\r\\nb\\u{1b}[31m\\u{202e}c\\u{2028}\\u{0}d\\u{200b}é");
    }

    #[test]
    fn long_fields_are_cut() {
        let long = "x".repeat(100_000);
        let text = harmless(format_args!("{long}"), FIELD_CHARS_MAX);
        assert_eq!(text.chars().count(), 257);
        assert!(text.ends_with("x…"));
        assert_eq!(harmless(format_args!("{}", "y".repeat(256)), 256).len(), 256);
    }

    #[test]
    fn a_line_has_the_form_of_srs() {
        let head = Head { level: Level::INFO, cid: "abcd1234", utc: true };
        let fields =
            [("ip", Value::Text("192.0.2.1".into())), ("why", Value::Text("a \"b\"".into())), ("n", Value::Plain("3".into()))];
        let line = render(&head, "publishing", &fields, LogFormat::Srs);
        let (time, rest) = line.split_once(']').unwrap();
        assert_eq!(time.len(), "[2026-11-28 13:52:32.123".len());
        assert_eq!(&time[11..12], " ");
        assert_eq!(rest, format!("[INFO][{}][abcd1234] publishing ip=192.0.2.1 why=\"a 'b'\" n=3\n", std::process::id()));
    }

    #[test]
    fn a_json_line_is_json_whatever_is_in_it() {
        let head = Head { level: Level::WARN, cid: "-", utc: true };
        let text = harmless(format_args!("quo\"te \\ back\nline"), 256);
        let fields =
            [("f", Value::Text(text.clone())), ("n", Value::Plain("1.5".into())), ("nan", Value::Plain(f64::NAN.to_string()))];
        let line = render(&head, &text, &fields, LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["f"], text);
        assert_eq!(value["message"], text);
        assert_eq!((&value["n"], &value["nan"]), (&serde_json::json!(1.5), &serde_json::json!("NaN")));
        assert_eq!(value["level"], "WARN");
        assert!(value["time"].as_str().unwrap().ends_with("+00:00"));
    }
}

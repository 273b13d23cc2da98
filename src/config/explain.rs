//! `config explain`: what every directive is set to, and who said so.

use std::fmt::Write as _;

use super::{
    check::scopes,
    settings::Settings,
    syntax::quoted,
    table::{self, Kind, Label, Status},
};

/// Names of directives whose values are not shown.
const SECRETS: &[&str] = &["password", "passphrase", "secret", "token", "ice_server"];

/// One line for each directive and vhost: `path value # origin`.
pub(super) fn explain(settings: &Settings) -> String {
    let mut lines = Vec::new();
    let rows = || table::rows().filter(|row| row.is_setting());
    for row in rows().filter(|row| !row.is_of_vhost()) {
        lines.push(line(settings, "", row, row.path.to_owned()));
    }
    for vhost in settings.vhosts() {
        for row in rows().filter(|row| row.is_of_vhost()) {
            let path = row.path.strip_prefix("vhost").unwrap_or(row.path);
            lines.push(line(settings, vhost, row, format!("vhost {vhost}{path}")));
        }
    }
    let width = lines.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0).min(WIDTH_MAX);
    lines.into_iter().fold(String::new(), |mut text, (left, right)| {
        let _infallible = writeln!(text, "{left:width$}  # {right}");
        text
    })
}

/// Longer lines stand out to the right, rather than push all others there.
const WIDTH_MAX: usize = 72;

fn line(settings: &Settings, vhost: &str, row: &table::Row, path: String) -> (String, String) {
    let setting = settings.get(vhost, row);
    let text = if SECRETS.contains(&row.name()) && !setting.entries.is_empty() { "…".to_owned() } else { setting.text() };
    let status = match row.status {
        Status::Works => String::new(),
        Status::NoEffect(reason) => format!("; no effect: {reason}"),
        Status::NotYet => "; not built yet".to_owned(),
    };
    let left = if text.is_empty() { path } else { format!("{path} {text}") };
    (left, format!("{}{status}", setting.origin))
}

/// A directive whose value is another one than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The vhost whose it is; `None`: the server's.
    pub vhost: Option<String>,
    /// Its path in the table; `vhost` alone: the vhost has come or gone.
    pub path: &'static str,
}

/// What is different, in the table's order; vhosts that have come or gone first.
pub(super) fn diff(old: &Settings, new: &Settings) -> Vec<Change> {
    let mut changes = Vec::new();
    let of = |vhost: &str, path| Change { vhost: Some(vhost.to_owned()), path };
    changes.extend(old.vhosts().filter(|name| !new.vhosts().any(|other| other == *name)).map(|name| of(name, "vhost")));
    changes.extend(new.vhosts().filter(|name| !old.vhosts().any(|other| other == *name)).map(|name| of(name, "vhost")));
    for row in table::rows().filter(|row| row.is_setting()) {
        for vhost in scopes(new, row) {
            let is_new = row.is_of_vhost() && !old.vhosts().any(|name| name == vhost);
            if !is_new && old.get(vhost, row).entries != new.get(vhost, row).entries {
                changes.push(Change { vhost: (!vhost.is_empty()).then(|| vhost.to_owned()), path: row.path });
            }
        }
    }
    changes
}

/// A file with every directive, its default and what it does: `conf/full.conf`.
pub(super) fn full() -> String {
    let mut text = String::from(
        "# Every directive, set to its default. Generated: weir config full\n#\n\
         # In the environment each is SRS_ and its path in capitals: SRS_HTTP_API_LISTEN, and for vhosts, which\n\
         # are all meant, SRS_VHOST_HLS_HLS_FRAGMENT. Any value may be $NAME, that of another variable.\n\
         # [no effect: …] marks what is read because SRS has it. [not built yet] marks what is refused when it\n\
         # is turned on. A directive without a default stands behind a '#'.\n",
    );
    table::rows_in("").for_each(|row| write_row(&mut text, row, 0));
    text
}

fn write_row(text: &mut String, row: &table::Row, depth: usize) {
    let indent = "    ".repeat(depth);
    let status = match row.status {
        Status::Works => String::new(),
        Status::NoEffect(reason) => format!(" [no effect: {reason}]"),
        Status::NotYet => " [not built yet]".to_owned(),
    };
    let _infallible = match row.kind {
        Kind::Block(label) => {
            let name = match label {
                Label::Name => format!("{} {}", row.name(), weir_source::DEFAULT_VHOST),
                _ => row.name().to_owned(),
            };
            let _infallible = writeln!(text, "\n{indent}# {}{status}\n{indent}{name} {{", row.doc);
            table::rows_in(row.path).for_each(|row| write_row(text, row, depth + 1));
            writeln!(text, "{indent}}}")
        }
        Kind::Free => writeln!(text, "{indent}# {}{status}\n{indent}{} {{\n{indent}}}", row.doc, row.name()),
        _ => {
            // Where RTMP listens has no default, and a file in which nothing listens is refused.
            let default = if row.path == "listen" { vec!["1935".to_owned()] } else { row.default_words() };
            let words: Vec<String> = default.iter().map(|word| quoted(word)).collect();
            let off = if words.is_empty() { "#" } else { "" };
            let line = format!("{off}{} {}", row.name(), words.join(" "));
            writeln!(text, "{indent}# {}{status}\n{indent}{};", row.doc, line.trim_end())
        }
    };
}

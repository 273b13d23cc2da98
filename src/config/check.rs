//! The first step: a tree of directives held against the table. Every mistake is found, not only the
//! first one; what stands is laid down as [`Settings`].

use std::collections::HashMap;

use weir_source::DEFAULT_VHOST;

use super::{
    Environment, Mistake, Origin,
    settings::Settings,
    suggest,
    syntax::{Directive, Place},
    table::{self, Kind, Label, Row, Status},
    value,
};

/// Vhosts of one server; each costs a look when a client names its host.
const VHOSTS_MAX: usize = 1_000;
/// A name that stands in more blocks than this tells nothing of where it belongs.
const PLACES_TOLD_MAX: usize = 2;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) settings: Settings,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) notes: Vec<String>,
}

/// Holds a tree and an environment against the table.
pub(super) fn check(tree: &[Directive], environment: &Environment) -> Found {
    let mut check = Check { environment, found: Found::default() };
    check.block(tree, &Block { path: "", vhost: "", detached: false });
    let Found { mut settings, mut mistakes, mut notes } = check.found;
    if settings.vhosts().next().is_none() {
        settings.add_vhost(DEFAULT_VHOST);
    }
    environment.overlay(&mut settings, &mut mistakes);
    environment.strangers(&mut notes, &mut mistakes);
    statuses(&settings, &mut mistakes, &mut notes);
    Found { settings, mistakes, notes }
}

/// The block that is being read.
struct Block<'a> {
    path: &'static str,
    vhost: &'a str,
    /// Of a kind of which there may be many: its values are no settings.
    detached: bool,
}

struct Check<'a> {
    environment: &'a Environment,
    found: Found,
}

impl Check<'_> {
    /// Recursion is as deep as the table, which knows no deeper blocks.
    fn block(&mut self, directives: &[Directive], block: &Block<'_>) {
        let mut seen: HashMap<(&str, &str), &Place> = HashMap::new();
        for d in directives {
            let path = if block.path.is_empty() { d.name.clone() } else { format!("{}.{}", block.path, d.name) };
            let Some(row) = table::row(&path) else {
                self.unknown(d, block.path);
                continue;
            };
            let label = match row.kind {
                Kind::Block(Label::Many) | Kind::Rules(_) => None,
                Kind::Block(Label::Name) => Some(d.args.first().map_or("", String::as_str)),
                _ => Some(""),
            };
            if let Some(label) = label {
                if let Some(first) = seen.get(&(d.name.as_str(), label)) {
                    let what = if label.is_empty() { d.name.clone() } else { format!("{} {label}", d.name) };
                    self.mistake(
                        &d.place,
                        format!("{what}: stands here a second time, first at {}:{}", first.line, first.column),
                    );
                    continue;
                }
                seen.insert((d.name.as_str(), label), &d.place);
            }
            self.directive(d, row, block);
        }
    }

    fn directive(&mut self, d: &Directive, row: &'static Row, block: &Block<'_>) {
        match (row.kind, &d.block) {
            (Kind::Block(_) | Kind::Free, None) => self.mistake(&d.place, format!("{}: needs a block {{ … }}", row.path)),
            (Kind::Free, Some(_)) => {}
            (Kind::Block(label), Some(children)) => self.labelled(d, row, label, children, block),
            (_, Some(_)) => self.mistake(&d.place, format!("{}: takes no block; end it with ';'", row.path)),
            (kind, None) => {
                let words = self.environment.expand(row, &d.args);
                match words.and_then(|words| value::check(kind, &words).map(|()| words)) {
                    Ok(_) if block.detached => {}
                    Ok(words) => self.found.settings.write(block.vhost, row, words, Origin::File(d.place.clone())),
                    Err(reason) => self.mistake(&d.place, format!("{}: {reason}", row.path)),
                }
            }
        }
    }

    fn labelled(&mut self, d: &Directive, row: &'static Row, label: Label, children: &[Directive], block: &Block<'_>) {
        match (label, d.args.as_slice()) {
            (Label::None, []) => self.block(children, &Block { path: row.path, ..*block }),
            (Label::None, _) => self.mistake(&d.place, format!("{}: takes no name before its block", row.path)),
            (Label::Name, [name]) if !name.is_empty() => {
                if self.found.settings.vhosts().count() >= VHOSTS_MAX {
                    return self.mistake(&d.place, format!("more than {VHOSTS_MAX} vhosts"));
                }
                self.found.settings.add_vhost(name);
                self.block(children, &Block { path: row.path, vhost: name, detached: block.detached });
            }
            (Label::Name, _) => self.mistake(&d.place, format!("{}: takes one name before its block", row.path)),
            (Label::Many, _) => {
                let on = |child: &Directive| child.name == "enabled" && child.args == ["on"];
                if row.status == Status::NotYet && children.iter().any(on) {
                    self.mistake(&d.place, refusal(row));
                }
                self.block(children, &Block { path: row.path, vhost: block.vhost, detached: true });
            }
        }
    }

    fn unknown(&mut self, d: &Directive, block: &str) {
        let name = d.name.as_str();
        let elsewhere: Vec<&Row> = table::rows().filter(|row| row.name() == name).collect();
        let text = match elsewhere.as_slice() {
            [] => {
                let here = suggest::near(name, table::rows_in(block).map(Row::name));
                let near = here.or_else(|| suggest::near(name, table::rows().map(Row::name)));
                let hint = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
                format!("unknown directive '{name}'{}{hint}", within(block))
            }
            rows if rows.len() <= PLACES_TOLD_MAX => {
                let places: Vec<String> = rows.iter().map(|row| whereabouts(row)).collect();
                format!("'{name}' does not belong{}; it belongs {}", here(block), places.join(" or "))
            }
            _ => format!("'{name}' does not belong{}", here(block)),
        };
        self.mistake(&d.place, text);
    }

    fn mistake(&mut self, place: &Place, text: impl Into<String>) {
        self.found.mistakes.push(Mistake::at(place, text));
    }
}

fn within(block: &str) -> String {
    if block.is_empty() { String::new() } else { format!(" in {block}") }
}

fn here(block: &str) -> String {
    if block.is_empty() { " outside of blocks".to_owned() } else { format!(" in {block}") }
}

/// `in vhost { hls { … } }`.
fn whereabouts(row: &Row) -> String {
    match row.parent() {
        "" => "outside of blocks".to_owned(),
        parent => {
            let blocks: Vec<&str> = parent.split('.').collect();
            format!("in {} {{ … {}", blocks.join(" { "), "}".repeat(blocks.len()))
        }
    }
}

/// Settings of directives that are not built yet, or that nothing here depends on.
fn statuses(settings: &Settings, mistakes: &mut Vec<Mistake>, notes: &mut Vec<String>) {
    for row in table::rows().filter(|row| row.is_setting()) {
        for vhost in scopes(settings, row) {
            if !settings.is_set(vhost, row) || !is_in_force(settings, vhost, row) {
                continue;
            }
            let setting = settings.get(vhost, row);
            let differs = setting.entries != [row.default_words()];
            let block = table::row(row.parent()).map_or(Status::Works, |block| block.status);
            match row.status {
                Status::NotYet if differs => mistakes.push(Mistake { origin: setting.origin, text: refusal(row) }),
                // Its `enabled` speaks for the whole block.
                Status::Works if block == Status::NotYet && row.name() == "enabled" && differs => {
                    let text = table::row(row.parent()).map(refusal).unwrap_or_default();
                    mistakes.push(Mistake { origin: setting.origin, text });
                }
                Status::NoEffect(reason) if differs => notes.push(format!("{}: {}: {reason}", setting.origin, row.path)),
                _ => {}
            }
        }
    }
}

/// The vhosts that a row has a setting for; an empty one if it is the server's.
pub(super) fn scopes<'a>(settings: &'a Settings, row: &Row) -> Vec<&'a str> {
    if row.is_of_vhost() { settings.vhosts().collect() } else { vec![""] }
}

/// None of the blocks around it is off.
fn is_in_force(settings: &Settings, vhost: &str, row: &Row) -> bool {
    table::ancestors(row.path).all(|block| {
        let enabled = format!("{block}.enabled");
        enabled == row.path || table::row(&enabled).is_none() || settings.is_on(vhost, &enabled)
    })
}

fn refusal(row: &Row) -> String {
    format!("{}: is not built yet, and ignoring it would not be safe", row.path)
}

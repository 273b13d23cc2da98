//! What older and newer versions of SRS write in another way, brought to the names of the table.

use super::syntax::{Directive, Place};

/// Directives of a vhost that have moved into a block of their own: old name, block, new name.
const MOVED: &[(&str, &str, &str)] = &[
    ("publish_1stpkt_timeout", "publish", "firstpkt_timeout"),
    ("publish_normal_timeout", "publish", "normal_timeout"),
    ("time_jitter", "play", "time_jitter"),
    ("mix_correct", "play", "mix_correct"),
    ("atc", "play", "atc"),
    ("atc_auto", "play", "atc_auto"),
    ("mw_latency", "play", "mw_latency"),
    ("gop_cache", "play", "gop_cache"),
    ("gop_cache_max_frames", "play", "gop_cache_max_frames"),
    ("queue_length", "play", "queue_length"),
    ("send_min_interval", "play", "send_min_interval"),
    ("reduce_sequence_header", "play", "reduce_sequence_header"),
    ("mode", "cluster", "mode"),
    ("origin", "cluster", "origin"),
    ("token_traverse", "cluster", "token_traverse"),
    ("vhost", "cluster", "vhost"),
    ("debug_srs_upnode", "cluster", "debug_srs_upnode"),
    ("refer_play", "refer", "play"),
    ("refer_publish", "refer", "publish"),
];

/// Directives of a vhost whose blocks became directives of another block: old block, old name, new
/// block, new name.
const FLATTENED: &[(&str, &str, &str, &str)] = &[
    ("mr", "enabled", "publish", "mr"),
    ("mr", "latency", "publish", "mr_latency"),
    ("nack", "enabled", "rtc", "nack"),
    ("nack", "no_copy", "rtc", "nack_no_copy"),
    ("twcc", "enabled", "rtc", "twcc"),
];

/// Directives that SRS has dropped and reads without effect, by their block.
const GONE: &[(&str, &str)] = &[
    ("rtc_server", "perf_stat"),
    ("rtc_server", "queue_length"),
    ("rtc_server", "dir"),
    ("stream_caster", "tcp_enable"),
    ("stream_caster", "rtp_port_min"),
    ("stream_caster", "rtp_port_max"),
    ("stream_caster", "wait_keyframe"),
    ("stream_caster", "rtp_idle_timeout"),
    ("stream_caster", "audio_enable"),
    ("stream_caster", "auto_create_channel"),
    ("stream_caster", "host"),
    ("vhost", "bandcheck"),
    ("http_remux", "hstrs"),
    ("hls", "hls_storage"),
    ("hls", "hls_mount"),
];

/// Rewrites a tree; what it changed is told in the notes.
pub(super) fn modernise(tree: &mut Vec<Directive>, notes: &mut Vec<String>) {
    unwrap_rtmp(tree);
    for d in tree {
        match d.name.as_str() {
            "http_stream" => rename(d, "http_server", notes),
            "srt_server" => {
                let old = d.block.iter_mut().flatten().filter(|child| child.name == "tlpkdrop");
                old.for_each(|child| rename(child, "tlpktdrop", notes));
            }
            _ => {}
        }
        drop_gone(d, notes);
        if d.name == "vhost" {
            vhost(d, notes);
        }
    }
}

/// Later versions of SRS write `rtmp { listen 1935; chunk_size 60000; }`.
fn unwrap_rtmp(tree: &mut Vec<Directive>) {
    let known = |d: &Directive| matches!(d.name.as_str(), "listen" | "chunk_size");
    for at in (0..tree.len()).rev() {
        let Some(d) = tree.get(at) else { continue };
        if d.name == "rtmp" && d.args.is_empty() && d.block.is_some() && d.children().iter().all(known) {
            let children = tree.remove(at).block.unwrap_or_default();
            tree.splice(at..at, children);
        }
    }
}

fn drop_gone(d: &mut Directive, notes: &mut Vec<String>) {
    let name = d.name.clone();
    for child in d.block.iter_mut().flatten() {
        drop_gone(child, notes);
    }
    if let Some(block) = &mut d.block {
        block.retain(|child| {
            let gone = GONE.contains(&(name.as_str(), child.name.as_str()));
            if gone {
                notes.push(format!("{}: {}: has no effect in SRS any more, and none here", child.place, child.name));
            }
            !gone
        });
    }
}

fn vhost(d: &mut Directive, notes: &mut Vec<String>) {
    let Some(old) = d.block.take() else { return };
    // The blocks that take up what moves have to be there before it.
    let is_moved = |child: &Directive| moved(child).is_some();
    let (moving, mut block): (Vec<Directive>, Vec<Directive>) = old.into_iter().partition(is_moved);
    for child in &mut block {
        match child.name.as_str() {
            "http" => rename(child, "http_static", notes),
            "forward" if child.block.is_none() && !child.args.is_empty() => {
                let args = std::mem::take(&mut child.args);
                let on = Directive::plain("enabled", vec!["on".to_owned()], child.place.clone());
                child.block = Some(vec![on, Directive::plain("destination", args, child.place.clone())]);
                told(notes, &child.place, "forward", "forward { destination }");
            }
            "rtc" => rtc(child, notes),
            _ => {}
        }
    }
    for child in moving {
        for (target, name, args) in moved(&child).unwrap_or_default() {
            told(notes, &child.place, &child.name, &format!("{target} {{ {name} }}"));
            put(&mut block, target, name, args, &child.place);
        }
    }
    d.block = Some(block);
}

/// Where a directive of a vhost has gone: block, name and words.
fn moved(d: &Directive) -> Option<Vec<(&'static str, &'static str, Vec<String>)>> {
    let plain = MOVED.iter().find(|(old, ..)| *old == d.name).filter(|_| d.block.is_none());
    if let Some((_, block, name)) = plain {
        let mut all = vec![(*block, *name, d.args.clone())];
        if *block == "refer" {
            all.push(("refer", "enabled", vec!["on".to_owned()]));
        }
        return Some(all);
    }
    if d.name == "refer" && d.block.is_none() {
        return Some(vec![("refer", "all", d.args.clone()), ("refer", "enabled", vec!["on".to_owned()])]);
    }
    let of_block = |child: &Directive| {
        let to = FLATTENED.iter().find(|(block, name, ..)| *block == d.name && *name == child.name)?;
        Some((to.2, to.3, child.args.clone()))
    };
    let flattened = d.block.is_some() && FLATTENED.iter().any(|(block, ..)| *block == d.name);
    flattened.then(|| d.children().iter().filter_map(of_block).collect())
}

/// Words of SRS 4 for two flags.
fn rtc(d: &mut Directive, notes: &mut Vec<String>) {
    for child in d.block.iter_mut().flatten() {
        let (name, on) = match child.name.as_str() {
            "aac" => ("rtmp_to_rtc", "transcode"),
            "bframe" => ("keep_bframe", "keep"),
            _ => continue,
        };
        child.args = vec![if child.args == [on] { "on" } else { "off" }.to_owned()];
        rename(child, name, notes);
    }
}

/// What the block has already stays.
fn put(block: &mut Vec<Directive>, target: &str, name: &str, args: Vec<String>, place: &Place) {
    if !block.iter().any(|d| d.name == target && d.block.is_some()) {
        block.push(Directive { name: target.to_owned(), args: Vec::new(), block: Some(Vec::new()), place: place.clone() });
    }
    let target = block.iter_mut().find(|d| d.name == target && d.block.is_some());
    if let Some(children) = target.and_then(|d| d.block.as_mut())
        && !children.iter().any(|child| child.name == name)
    {
        children.push(Directive::plain(name, args, place.clone()));
    }
}

fn rename(d: &mut Directive, name: &str, notes: &mut Vec<String>) {
    told(notes, &d.place, &d.name, name);
    name.clone_into(&mut d.name);
}

fn told(notes: &mut Vec<String>, place: &Place, old: &str, new: &str) {
    notes.push(format!("{place}: {old}: is written {new} today"));
}

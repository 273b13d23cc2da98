//! The flags of SRS's own tools: `srs_bench` (one dash, words) and `sb_rtmp_load`, `sb_http_load`,
//! `sb_hls_load`, `sb_rtmp_publish` (letters). They make the same plans as our own words.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::{
    Group, Plan, Span,
    args::{ClientArgs, MediaArgs, group},
};

/// Flags of `srs_bench` that have a value.
const SRS_VALUED: &[&str] = &["sfu", "sr", "pr", "nn", "sn", "delay", "sa", "sv", "fps", "da", "dv", "pli", "stat", "cl"];
/// And those that are true or false.
const SRS_SWITCHES: &[&str] = &["al", "twcc"];
/// Flags of the `sb_` programs: short, long.
const SB_FLAGS: &[(&str, &str)] =
    &[("c", "clients"), ("r", "url"), ("i", "input"), ("t", "repeat"), ("s", "start"), ("d", "delay"), ("e", "error")];
/// Of ours, which may stand among them.
const OWN_FLAGS: &[&str] = &["pid", "json", "expect", "duration"];

/// Whether a command line is of SRS's tools: no sub-command, and a flag of theirs first.
pub(crate) fn is_theirs(args: &[String]) -> bool {
    let Some(flag) = args.first().and_then(|first| first.strip_prefix('-')) else { return false };
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    is_srs(name.trim_start_matches('-')) || is_sb(name)
}

fn is_srs(name: &str) -> bool {
    SRS_VALUED.contains(&name) || SRS_SWITCHES.contains(&name)
}

fn is_sb(flag: &str) -> bool {
    SB_FLAGS.iter().any(|(short, long)| *short == flag || flag.strip_prefix('-') == Some(*long))
}

/// Flags and their values, in order.
#[derive(Debug, Default)]
struct Flags(Vec<(String, String)>);

impl Flags {
    fn read(args: &[String]) -> anyhow::Result<Self> {
        let (mut flags, mut args) = (Vec::new(), args.iter());
        while let Some(arg) = args.next() {
            let flag = arg.strip_prefix('-').with_context(|| format!("{arg:?} is no flag"))?;
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let long = SB_FLAGS.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| *long);
            let known = is_srs(long) || OWN_FLAGS.contains(&long) || SB_FLAGS.iter().any(|(_, flag)| *flag == long);
            ensure!(known, "-{name} is no flag of srs_bench or sb_rtmp_load");
            let value = match value {
                Some(value) => value,
                // Go's flags take the next word only where it is no switch.
                None if SRS_SWITCHES.contains(&long) => "true".to_owned(),
                None => args.next().with_context(|| format!("-{name} has no value"))?.clone(),
            };
            flags.push((long.to_owned(), value));
        }
        Ok(Self(flags))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> anyhow::Result<T> {
        self.get(name).map_or(Ok(default), |text| text.parse().ok().with_context(|| format!("-{name} {text}: no number")))
    }

    fn is_false(&self, name: &str) -> bool {
        matches!(self.get(name), Some("false" | "0" | "f" | "F" | "False" | "FALSE"))
    }
}

/// The plan of such a command line.
pub(crate) fn plan(args: &[String]) -> anyhow::Result<Plan> {
    let flags = Flags::read(args)?;
    let mut plan = if flags.get("url").is_some() { of_sb(&flags)? } else { of_srs(&flags)? };
    plan.duration = flags.get("duration").map(str::parse::<Span>).transpose()?.map(|span| span.0);
    plan.pid = flags.get("pid").map(str::parse).transpose().context("--pid")?;
    plan.json = flags.get("json").map(Into::into);
    for (_, text) in flags.0.iter().filter(|(name, _)| name == "expect") {
        plan.expects.push(text.parse()?);
    }
    Ok(plan)
}

/// `-sr` and `-pr`: `-sn` streams with `-nn` viewers each, one more client every `-delay` ms.
fn of_srs(flags: &Flags) -> anyhow::Result<Plan> {
    let (clients, streams): (usize, usize) = (flags.number("nn", 1)?, flags.number("sn", 1)?);
    let delay = Duration::from_millis(flags.number("delay", 50)?);
    ensure!(clients > 0 && streams > 0, "-nn and -sn are at least 1");
    if let Some(sfu @ ("janus" | "gb28181" | "live")) = flags.get("sfu") {
        bail!("-sfu {sfu}: for servers other than SRS give a WHIP or WHEP address with our own words, see --help");
    }
    let mut plan = Plan::default();
    if let Some(url) = flags.get("sr") {
        plan.groups.push(srs_group(url, false, streams * clients, streams, delay, flags)?);
    }
    if let Some(url) = flags.get("pr") {
        plan.groups.push(srs_group(url, true, streams, streams, delay, flags)?);
    }
    ensure!(!plan.groups.is_empty(), "neither -sr nor -pr: nothing to play or to publish");
    for (flag, why) in [
        ("da", "nothing is dumped"),
        ("dv", "nothing is dumped"),
        ("stat", "there is no server of statistics: see --json"),
        ("pli", "a keyframe is asked for when the picture cannot be decoded"),
        ("al", "no audio level is sent"),
        ("cl", "unknown to us"),
    ] {
        if flags.get(flag).is_some() {
            plan.notes.push(format!("-{flag} has no effect: {why}"));
        }
    }
    Ok(plan)
}

fn srs_group(url: &str, publish: bool, count: usize, streams: usize, delay: Duration, flags: &Flags) -> anyhow::Result<Group> {
    let mut url = placeholder(url);
    if streams > 1 && !url.contains("{n}") {
        url.push_str("{n}");
    }
    let without = if flags.is_false("twcc") { vec!["twcc".to_owned()] } else { Vec::new() };
    let ramp = Some(Span(delay * u32::try_from(count).unwrap_or(u32::MAX)));
    let args = ClientArgs { count: Some(count), streams: Some(streams), ramp, without, ..ClientArgs::default() };
    let media = MediaArgs {
        fps: flags.get("fps").map(str::parse).transpose().context("-fps")?.filter(|fps| *fps > 0),
        video: flags.get("sv").filter(|path| !path.is_empty()).map(Into::into),
        audio: flags.get("sa").filter(|path| !path.is_empty()).map(Into::into),
        ..MediaArgs::default()
    };
    let studio = if publish { Some(media.studio()?) } else { None };
    group(&url, publish, &args, studio, None)
}

/// `-c` clients of `-r`, started within `-s` seconds; `-i` is the file to publish.
fn of_sb(flags: &Flags) -> anyhow::Result<Plan> {
    let url = placeholder(flags.get("url").context("no -r")?);
    let count: usize = flags.number("clients", 1)?;
    let seconds: f64 = flags.number("start", 5.0)?;
    let ramp = Some(Span(Duration::try_from_secs_f64(seconds).context("-s")?));
    let publish = flags.get("input").is_some();
    let media = MediaArgs { video: flags.get("input").map(Into::into), ..MediaArgs::default() };
    let studio = if publish { Some(media.studio()?) } else { None };
    let args = ClientArgs { count: Some(count), ramp, ..ClientArgs::default() };
    let mut plan = Plan { groups: vec![group(&url, publish, &args, studio, None)?], ..Plan::default() };
    for (flag, why) in [
        ("repeat", "a live stream is played until the end"),
        ("delay", "clients do not come again: see churn"),
        ("error", "a client that failed does not come again"),
    ] {
        if flags.get(flag).is_some() {
            plan.notes.push(format!("--{flag} has no effect: {why}"));
        }
    }
    Ok(plan)
}

/// The stream's number: `%d`, `[s]` and `{i}` are theirs, `{n}` is ours.
fn placeholder(url: &str) -> String {
    ["%d", "[s]", "{i}"].iter().fold(url.to_owned(), |url, theirs| url.replace(theirs, "{n}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Kind;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn plan_of(line: &str) -> Plan {
        let args = words(line);
        assert!(is_theirs(&args), "{line}");
        plan(&args).unwrap_or_else(|error| panic!("{line}: {error:#}"))
    }

    #[test]
    fn flags_of_srs_make_the_plans_they_made() {
        type Made<'a> = (Kind, &'a str, usize, usize, u64);
        let table: [(&str, &[Made<'_>]); 8] = [
            ("-sr webrtc://localhost/live/livestream", &[(Kind::WebrtcPlay, "webrtc://localhost/live/livestream", 1, 1, 50)]),
            ("-sr=webrtc://h/live/a -nn=3", &[(Kind::WebrtcPlay, "webrtc://h/live/a", 3, 1, 150)]),
            ("-sr webrtc://h/live/a_%d -sn 2 -nn 3", &[(Kind::WebrtcPlay, "webrtc://h/live/a_{n}", 6, 2, 300)]),
            ("-sr webrtc://h/live/a -sn 2 --nn 3", &[(Kind::WebrtcPlay, "webrtc://h/live/a{n}", 6, 2, 300)]),
            ("-pr webrtc://h/live/a_[s] -sn 2 -delay 10", &[(Kind::WebrtcPublish, "webrtc://h/live/a_{n}", 2, 2, 20)]),
            (
                "-sfu srs -sr webrtc://h/live/a -pr webrtc://h/live/a -nn 2 -al=false -twcc",
                &[(Kind::WebrtcPlay, "webrtc://h/live/a", 2, 1, 100), (Kind::WebrtcPublish, "webrtc://h/live/a", 1, 1, 50)],
            ),
            ("-c 500 -r rtmp://h:1935/live/a", &[(Kind::RtmpPlay, "rtmp://h:1935/live/a", 500, 1, 5_000)]),
            ("--clients=9 --url http://h/live/{i}.flv -s 0 -t 1", &[(Kind::FlvPlay, "http://h/live/{n}.flv", 9, 0, 0)]),
        ];
        for (line, wanted) in table {
            let plan = plan_of(line);
            let of =
                |group: &Group| (group.kind, group.url.clone(), group.options.count, group.options.streams, group.options.ramp);
            let made: Vec<_> = plan.groups.iter().map(of).collect();
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(kind, url, count, streams, ms)| (*kind, (*url).to_owned(), *count, *streams, Duration::from_millis(*ms)))
                .collect();
            assert_eq!(made, wanted, "{line}");
        }
    }

    #[test]
    fn flags_without_effect_are_told_and_ours_may_stand_among_them() {
        let plan = plan_of("-sr webrtc://h/live/a -da a.ogg -pli 5 -twcc=false --expect loss<1% --duration 30s --pid 7 --json x");
        assert_eq!(plan.notes.len(), 2);
        assert!(!plan.groups[0].options.feedback.transport_cc);
        assert_eq!((plan.expects.len(), plan.pid, plan.duration), (1, Some(7), Some(Duration::from_secs(30))));
    }

    #[test]
    fn our_own_words_are_not_taken_for_theirs() {
        for line in ["play rtmp://h/a/b", "--help", "-V", "cost -c 3", "", "-h"] {
            assert!(!is_theirs(&words(line)), "{line}");
        }
    }

    #[test]
    fn wrong_flags_say_what_is_wrong() {
        for (line, what) in [
            ("-nn 3", "neither -sr nor -pr"),
            ("-sr webrtc://h/live/a -nn three", "no number"),
            ("-sr webrtc://h/live/a -nn 0", "at least 1"),
            ("-sr webrtc://h/live/a -xx 0", "-xx is no flag"),
            ("-sr", "has no value"),
            ("-sfu janus -sr webrtc://h/live/a", "WHEP"),
            ("-sr nothing", "no URL"),
            ("-pr webrtc://h/live/a -sv /nonexistent.h264 -fps 25", "nonexistent"),
        ] {
            let error = plan(&words(line)).map(|_| ()).unwrap_err();
            assert!(format!("{error:#}").contains(what), "{line}: {error:#}");
        }
    }
}

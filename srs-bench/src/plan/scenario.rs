//! A run in a file: so many publishers, so many viewers of each protocol, when they come.

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use super::{
    Group, Plan, Span,
    args::{ChurnArgs, ClientArgs, MediaArgs, group},
};
use crate::expect::{Expect, ExpectError};

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Scenario {
    duration: Option<Span>,
    pid: Option<u32>,
    json: Option<std::path::PathBuf>,
    #[serde(default)]
    expect: Vec<String>,
    expected_kbps: Option<u32>,
    #[serde(default)]
    publish: Vec<Clients>,
    #[serde(default)]
    play: Vec<Clients>,
}

/// One `[[publish]]` or `[[play]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Clients {
    url: String,
    name: Option<String>,
    #[serde(default)]
    after: Span,
    #[serde(default)]
    clients: ClientArgs,
    #[serde(default)]
    media: MediaArgs,
    churn: Option<ChurnArgs>,
    /// Of this group's own figures.
    #[serde(default)]
    expect: Vec<String>,
}

impl Clients {
    fn group(self, publish: bool) -> anyhow::Result<Group> {
        let studio = if publish { Some(self.media.studio()?) } else { None };
        let group = group(&self.url, publish, &self.clients, studio, self.churn)?;
        let name = self.name.unwrap_or(group.name);
        Ok(Group { after: self.after.0, name, expects: expects(&self.expect)?, ..group })
    }
}

impl Plan {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// It cannot be read, or says what makes no sense.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// Reads a scenario's text.
    ///
    /// # Errors
    ///
    /// It says what makes no sense.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Scenario = toml::from_str(text)?;
        let mut groups = Vec::new();
        for (clients, publish) in [(scenario.publish, true), (scenario.play, false)] {
            for clients in clients {
                groups.push(clients.group(publish)?);
            }
        }
        anyhow::ensure!(!groups.is_empty(), "no [[publish]] and no [[play]]");
        Ok(Self {
            groups,
            duration: scenario.duration.map(|span| span.0),
            pid: scenario.pid,
            json: scenario.json,
            expects: expects(&scenario.expect)?,
            expected_kbps: scenario.expected_kbps,
            notes: Vec::new(),
        })
    }
}

fn expects(texts: &[String]) -> Result<Vec<Expect>, ExpectError> {
    texts.iter().map(|text| text.parse()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clients::{Kind, Prompt};

    const MIXED: &str = r#"
        duration = "10m"
        expect = ["loss<0.1%", "connected=100%"]

        [[publish]]
        url = "http://127.0.0.1:1985/rtc/v1/whip/?app=live&stream=s{n}"
        clients = { count = 3 }
        media = { kbps = 1200, fps = 30, size = "1280x720" }

        [[play]]
        url = "http://127.0.0.1:1985/rtc/v1/whep/?app=live&stream=s{n}"
        after = "3s"
        clients = { count = 300, streams = 3, ramp = "30s", without = ["twcc"] }

        [[play]]
        url = "rtmp://127.0.0.1/live/s0"
        name = "late comers"
        expect = ["p99-latency<1s"]
        clients = { count = 10 }
        churn = { stay = "5s", pause = "500ms" }
    "#;

    #[test]
    fn a_scenario_mixes_publishers_and_viewers() {
        let plan = Plan::parse(MIXED).unwrap();
        let kinds: Vec<Kind> = plan.groups.iter().map(|group| group.kind).collect();
        assert_eq!(kinds, [Kind::WebrtcPublish, Kind::WebrtcPlay, Kind::RtmpPlay]);
        assert_eq!((plan.duration, plan.expects.len()), (Some(Duration::from_secs(600)), 2));
        assert_eq!(plan.ramp(), Duration::from_secs(33));
        let viewers = &plan.groups[1];
        assert_eq!((viewers.options.count, viewers.options.streams), (300, 3));
        assert!(!viewers.options.feedback.transport_cc && viewers.options.feedback.nack);
        let churn = plan.groups[2].options.churn.unwrap();
        assert_eq!((churn.stay, churn.pause), (Duration::from_secs(5), Duration::from_millis(500)));
        assert_eq!((plan.groups[2].name.as_str(), plan.groups[2].expects.len()), ("late comers", 1));
    }

    #[test]
    fn a_few_webrtc_viewers_may_be_sampled() {
        let play = |url: &str, rest: &str| Plan::parse(&format!("[[play]]\nurl = '{url}'\nclients = {{ {rest} }}"));
        assert_eq!(play("http://h/whep", "count = 3, sample = 2").unwrap().groups[0].sample, 2);
        assert_eq!(play("http://h/whep", "count = 3").unwrap().groups[0].sample, 0);
        for (url, rest, why) in [
            ("http://h/whep", "count = 100, sample = 17", "at most 16"),
            ("http://h/whep", "sample = 2", "no more than"),
            ("rtmp://h/a/b", "count = 3, sample = 1", "of WebRTC viewers"),
            ("janus://h/janus?room=1", "count = 3, sample = 1", "Janus"),
            ("http://h/whep", "count = 3, sample = 1 }\nchurn = { stay = '1s'", "come and go"),
        ] {
            let error = format!("{:#}", play(url, rest).unwrap_err());
            assert!(error.contains(why), "{url} {rest}: {error}");
        }
    }

    #[test]
    fn players_may_be_read_now_and_then() {
        let play = |rest: &str| Plan::parse(&format!("[[play]]\nurl = 'rtmp://h/a/b'\nclients = {{ {rest} }}"));
        let options = |rest: &str| play(rest).unwrap().groups[0].options.clone();
        let (usual, told) = (options("count = 3"), options("count = 3, prompt = '1/16', read-every = '50ms'"));
        assert_eq!((usual.prompt, usual.read_every), (Prompt::Some, Duration::from_millis(200)));
        assert_eq!((told.prompt, told.read_every), (Prompt::Every(16), Duration::from_millis(50)));
        for (rest, why) in [("prompt = 'few'", "1/N"), ("read-every = '5s'", "500ms"), ("read-every = 0", "1ms")] {
            let error = format!("{:#}", play(rest).unwrap_err());
            assert!(error.contains(why), "{rest}: {error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let error = |text: &str| format!("{:#}", Plan::parse(text).unwrap_err());
        assert!(error("").contains("no [[publish]]"));
        assert!(error("[[play]]\nurl = 'gopher://h/a'").contains("gopher"));
        assert!(error("[[play]]\nurl = 'rtmp://h/a/b'\nclients = { cuont = 3 }").contains("cuont"));
        assert!(error("[[publish]]\nurl = 'rtmp://h/a/b'\nclients = { count = 2 }").contains("{n}"));
        assert!(error("duration = 'long'\n[[play]]\nurl = 'rtmp://h/a/b'").contains("no duration"));
        assert!(error("expect = ['fun>1']\n[[play]]\nurl = 'rtmp://h/a/b'").contains("no figure"));
        assert!(error("[[publish]]\nurl = 'rtmp://h/a/b'\nmedia = { video = '/nonexistent.flv' }").contains("nonexistent"));
    }
}

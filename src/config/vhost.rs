//! `vhost`: everything that differs by the host that clients name.

use weir_source::{DEFAULT_VHOST, PerVhost, Vhosts};
use weir_web::access::{AccessConfig, Refer, Security, TokenConfig};

use super::{
    hls, hooks, play, publish, refer, remux, rtc, security,
    settings::Settings,
    table::{Kind, Label, Row},
    token,
};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "vhost",
        Kind::Block(Label::Name),
        "",
        "Streams of one host name; __defaultVhost__ takes the clients that name no other",
    ),
    Row::new("vhost.enabled", Kind::Flag, "on", "Let clients in"),
    Row::new("vhost.chunk_size", Kind::Number(128, 65_536), "", "Bytes of RTMP's chunks; nothing: the server's"),
    Row::new("vhost.min_latency", Kind::Flag, "off", "Send what comes at once: mw_latency is 0 unless written"),
    Row::new("vhost.tcp_nodelay", Kind::Flag, "off", "Send small packets at once").without_effect("they always are"),
    Row::new(
        "vhost.in_ack_size",
        Kind::Number(0, 2_147_483_647),
        "0",
        "Bytes of an RTMP client after which they are acknowledged, where it does not ask otherwise; 0: never",
    ),
    Row::new(
        "vhost.out_ack_size",
        Kind::Number(0, 2_147_483_647),
        "2500000",
        "Bytes after which RTMP clients are asked to acknowledge; 0: they are not asked",
    ),
];

/// Settings of one vhost.
#[derive(Clone, Debug, PartialEq)]
pub struct Vhost {
    /// Bytes of the chunks that its RTMP clients are sent, 128 to 65,536.
    pub chunk_size: usize,
    /// Bytes after which we acknowledge, and RTMP clients are asked to; 0: none.
    pub ack_sizes: [u32; 2],
    /// How players are sent to.
    pub play: play::Play,
    /// What publishers may do.
    pub publish: publish::Publish,
    /// Which pages may embed.
    pub refer: Option<Refer>,
    /// Who may come.
    pub security: Option<Security>,
    /// What they must show.
    pub token: Option<TokenConfig>,
    /// Who is told.
    pub hooks: weir_web::HooksConfig,
    /// HTTP-FLV.
    pub remux: remux::Remux,
    /// HLS.
    pub hls: hls::Hls,
    /// WebRTC.
    pub rtc: rtc::Rtc,
}

impl Vhost {
    /// Its rules at the door.
    pub(crate) fn access(&self) -> AccessConfig {
        AccessConfig {
            security: self.security.clone(),
            refer: self.refer.clone(),
            token: self.token.clone(),
            takeover: self.publish.takeover,
        }
    }
}

/// Which vhosts there are and how each is set. One that is off is known, and nobody gets in.
pub(super) fn read(settings: &Settings) -> (Vhosts, PerVhost<Vhost>) {
    let names: Vec<&str> = settings.vhosts().collect();
    let mut vhosts = Vhosts::new(names.iter().copied());
    names.iter().filter(|name| !settings.is_on(name, "vhost.enabled")).for_each(|name| vhosts.close(name));
    // Clients reach no vhost that is not named here: these are for the default one.
    let mut all = PerVhost::all(one(settings, DEFAULT_VHOST));
    for name in names.into_iter().filter(|name| *name != DEFAULT_VHOST) {
        all.insert(name, one(settings, name));
    }
    (vhosts, all)
}

fn one(settings: &Settings, name: &str) -> Vhost {
    let own = settings.vhost(name, "vhost");
    let ack_sizes = ["in_ack_size", "out_ack_size"].map(|name| own.number(name));
    let chunk_size = if own.is_set("chunk_size") { own } else { settings.server("") };
    Vhost {
        ack_sizes,
        chunk_size: chunk_size.number("chunk_size"),
        play: play::read(settings, name),
        publish: publish::read(settings, name),
        refer: refer::read(settings, name),
        security: security::read(settings, name),
        token: token::read(settings, name),
        hooks: hooks::read(settings, name),
        remux: remux::read(settings, name),
        hls: hls::read(settings, name),
        rtc: rtc::read(settings, name),
    }
}

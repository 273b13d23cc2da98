//! What is right by itself and wrong together.

use std::{collections::HashMap, net::SocketAddr};

use weir_rtc::{CONSENT_MIN, CONSENT_TIMEOUT, OwnAddresses, Protocols};

use super::{Config, Mistake, Origin, settings::Settings, table};

/// Finds them in what was read.
pub(super) fn check(config: &Config, settings: &Settings, mistakes: &mut Vec<Mistake>, notes: &mut Vec<String>) {
    let mut all = Contradictions { settings, mistakes, notes };
    all.listeners(config);
    all.tls(config);
    all.webrtc(config);
    all.api(config);
    for vhost in settings.vhosts() {
        if settings.is_on(vhost, "vhost.enabled") {
            all.vhost(config, vhost);
        }
    }
}

struct Contradictions<'a> {
    settings: &'a Settings,
    mistakes: &'a mut Vec<Mistake>,
    notes: &'a mut Vec<String>,
}

impl Contradictions<'_> {
    /// Two servers cannot have one address; the API and the HTTP server are one where they meet.
    fn listeners(&mut self, config: &Config) {
        let https = |tls: &Option<super::TlsListener>| tls.as_ref().map(|tls| tls.listen.clone()).unwrap_or_default();
        let mut exporter = config.exporter.as_ref().map(|exporter| exporter.listen.clone()).unwrap_or_default();
        // The API's port has the metrics as well.
        exporter.retain(|addr| !config.http_api.listen.contains(addr));
        let all: [(&str, &str, Vec<SocketAddr>); 8] = [
            ("listen", "RTMP", config.rtmp.listen.clone()),
            ("rtmps.listen", "RTMPS", https(&config.rtmp.tls)),
            ("http_api.listen", "HTTP", config.http_api.listen.clone()),
            ("http_server.listen", "HTTP", config.http_server.listen.clone()),
            ("http_api.https.listen", "HTTPS", https(&config.http_api.https)),
            ("http_server.https.listen", "HTTPS", https(&config.http_server.https)),
            ("rtc_server.tcp.listen", "WebRTC", config.rtc_server.tcp.clone()),
            ("exporter.listen", "metrics", exporter),
        ];
        if all.iter().all(|(_, _, listen)| listen.is_empty()) && config.rtc_server.listen.is_empty() {
            self.mistakes.push(Mistake {
                origin: Origin::Default,
                text: "nothing listens: write 'listen 1935;' or enable a server".into(),
            });
        }
        let mut taken: HashMap<SocketAddr, (&str, &str)> = HashMap::new();
        for (path, what, listen) in all {
            for addr in listen {
                match taken.insert(addr, (path, what)) {
                    Some((first, other)) if other != what || first == path => {
                        self.mistake(path, format!("{addr} is taken by {first} already"));
                    }
                    _ => {}
                }
            }
        }
    }

    fn tls(&mut self, config: &Config) {
        let (api, server) = (&config.http_api, &config.http_server);
        if api.https.is_some() && api.listen.is_empty() {
            self.mistake("http_api.https.enabled", "needs http_api { enabled on; }");
        }
        if server.https.is_some() && server.listen.is_empty() {
            self.mistake("http_server.https.enabled", "needs http_server { enabled on; }");
        }
        if config.rtmp.tls.as_ref().is_some_and(|tls| tls.listen.is_empty()) {
            self.mistake("rtmps.enabled", "needs rtmps { listen …; }: there is no default port");
        }
        self.acme(config);
    }

    fn acme(&mut self, config: &Config) {
        let sections = [
            ("rtmps.acme", &config.rtmp.tls),
            ("http_api.https.acme", &config.http_api.https),
            ("http_server.https.acme", &config.http_server.https),
        ];
        let mut asking = sections.into_iter().filter_map(|(path, tls)| Some((path, tls.as_ref()?))).filter(|(_, tls)| tls.acme);
        let Some((first, _)) = asking.clone().next() else {
            if !config.acme.domains.is_empty() {
                self.note("acme.domain", "nobody asks for this certificate: write 'acme on;' into https or rtmps");
            }
            return;
        };
        if config.acme.domains.is_empty() {
            self.mistake(first, "needs acme { domain …; }");
        }
        if let Some((path, _)) = asking.find(|(_, tls)| tls.self_signed) {
            self.mistake(path, "goes without self_signed: such a certificate is shown by itself until there is one");
        }
    }

    fn webrtc(&mut self, config: &Config) {
        let rtc = &config.rtc_server;
        if !rtc.listen.is_empty() && rtc.protocol != Protocols::Udp && rtc.tcp.is_empty() {
            self.mistake("rtc_server.protocol", "clients are told of TCP, which needs rtc_server { tcp { enabled on; } }");
        }
        if rtc.listen.len() > super::LISTEN_MAX {
            self.mistake("rtc_server.listen", format!("takes {} addresses at most", super::LISTEN_MAX));
        }
        if !rtc.listen.is_empty() && rtc.candidates.is_empty() && rtc.names.is_empty() {
            self.own_addresses(rtc);
        }
        if !rtc.listen.is_empty() && config.http_api.listen.is_empty() {
            self.note("rtc_server.enabled", "nobody can come by WebRTC without http_api, where WHIP and WHEP are");
        }
    }

    fn own_addresses(&mut self, rtc: &super::RtcServer) {
        let is_told = |addr: &SocketAddr| !addr.ip().is_unspecified() || rtc.own.has(addr.is_ipv4());
        if rtc.listen.iter().any(is_told) {
            return;
        }
        if rtc.own != OwnAddresses::NONE {
            self.mistake("rtc_server.ip_family", "rtc_server { listen … } has no such address: [::]:8000 is IPv6's, 8000 IPv4's");
        } else if !rtc.reached.host {
            self.mistake("rtc_server.use_auto_detect_network_ip", "no client is told an address: name a candidate");
        }
    }

    fn api(&mut self, config: &Config) {
        let missing = |auth: &super::BasicAuth| auth.username.is_empty() || auth.password.is_empty();
        if config.http_api.auth.as_ref().is_some_and(missing) {
            self.mistake("http_api.auth.enabled", "needs http_api { auth { username …; password …; } } or a token");
        }
        if config.http_api.auth.as_ref().is_some_and(|auth| auth.username.contains(':')) {
            self.mistake("http_api.auth.username", "a name has no colon (RFC 7617)");
        }
        if config.log.file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            self.mistake("srs_log_tank", "file needs srs_log_file");
        }
    }

    fn vhost(&mut self, config: &Config, name: &str) {
        let vhost = config.vhosts.get(name);
        if vhost.hls.enabled && vhost.hls.window < vhost.hls.fragment {
            self.vhost_mistake(name, "vhost.hls.hls_window", "is shorter than hls_fragment");
        }
        if vhost.hls.enabled && config.http_server.listen.is_empty() {
            self.vhost_note(name, "vhost.hls.enabled", "nobody can ask for HLS without http_server, which serves it");
        }
        if vhost.remux.enabled && config.http_server.listen.is_empty() {
            self.vhost_note(name, "vhost.http_remux.enabled", "nobody can ask for HTTP-FLV without http_server, which serves it");
        }
        if vhost.rtc.enabled && config.rtc_server.listen.is_empty() {
            self.vhost_note(name, "vhost.rtc.enabled", "nobody can come by WebRTC without rtc_server");
        }
        let consent = vhost.rtc.terms.consent;
        if vhost.rtc.enabled && consent > CONSENT_TIMEOUT {
            self.vhost_note(
                name,
                "vhost.rtc.stun_timeout",
                "counts as 30: who does not check is not sent to for longer (RFC 7675)",
            );
        }
        if vhost.rtc.enabled && consent < CONSENT_MIN {
            self.vhost_note(
                name,
                "vhost.rtc.stun_timeout",
                "counts as 13: clients check every 6 seconds, and a check may be lost",
            );
        }
        if vhost.security.as_ref().is_some_and(|security| security.rules.is_empty()) {
            self.vhost_note(name, "vhost.security.enabled", "without a rule nobody gets in");
        }
        if vhost.token.as_ref().is_some_and(|token| token.jwt.keys.is_empty()) {
            self.vhost_mistake(name, "vhost.token.enabled", "needs a secret, secret_file, public_key or jwks");
        }
        let both = ["vhost.token.secret", "vhost.token.secret_file"];
        if both.iter().all(|path| table::row(path).is_some_and(|row| self.settings.is_set(name, row))) {
            self.vhost_mistake(name, "vhost.token.secret_file", "there is a secret already");
        }
    }

    fn mistake(&mut self, path: &'static str, text: impl AsRef<str>) {
        self.vhost_mistake("", path, text);
    }

    fn vhost_mistake(&mut self, vhost: &str, path: &'static str, text: impl AsRef<str>) {
        let origin = self.origin(vhost, path);
        self.mistakes.push(Mistake { origin, text: format!("{path}: {}", text.as_ref()) });
    }

    fn note(&mut self, path: &'static str, text: &str) {
        self.vhost_note("", path, text);
    }

    fn vhost_note(&mut self, vhost: &str, path: &'static str, text: &str) {
        self.notes.push(format!("{}: {path}: {text}", self.origin(vhost, path)));
    }

    fn origin(&self, vhost: &str, path: &'static str) -> Origin {
        table::row(path).map_or(Origin::Default, |row| self.settings.get(vhost, row).origin)
    }
}

//! Whole files: what they mean, what is wrong with them, and what the samples promise.

use std::{net::SocketAddr, path::Path, time::Duration};

use weir_rtc::{OwnAddresses, Protocols, sdp::DtlsRole};
use weir_source::DEFAULT_VHOST;

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn read(text: &str) -> (Config, Vec<String>) {
    read_with(text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

fn read_with(text: &str, variables: &[(&str, &str)]) -> Result<(Config, Vec<String>), Vec<String>> {
    let environment = Environment::of(variables.iter().copied());
    Config::parse("a.conf", text, &environment).map_err(|error| error.to_string().lines().map(str::to_owned).collect())
}

/// What is wrong with a file that listens.
fn mistakes(text: &str) -> Vec<String> {
    read_with(&format!("listen 1935;{text}"), &[]).expect_err("it is wrong")
}

/// A vhost's settings.
fn vhost(text: &str) -> Vhost {
    let (config, _) = read(&format!("listen 1935; http_server {{ enabled on; }} vhost a {{ {text} }}"));
    (**config.vhosts.get("a")).clone()
}

#[test]
fn what_is_built_in_listens_on_loopback_only() {
    let (config, notes) = Config::load(&Source::BuiltIn, &Environment::default()).unwrap();
    let all = [&config.rtmp.listen, &config.http_api.listen, &config.http_server.listen, &config.rtc_server.listen];
    assert!(all.iter().all(|listen| listen.len() == 1 && listen[0].ip().is_loopback()));
    let vhost = config.vhosts.get(DEFAULT_VHOST);
    assert!(vhost.rtc.enabled && vhost.rtc.rtmp_to_rtc && vhost.rtc.rtc_to_rtmp && vhost.hls.enabled && vhost.remux.enabled);
    assert_eq!((vhost.hls.fragment, vhost.hls.window), (Duration::from_secs(2), Duration::from_secs(12)));
    assert_eq!(notes, [""; 0]);
}

#[test]
fn a69_every_mistake_is_named_with_its_place() {
    let text = "listen 1935 99999;\nfrobnicate 1;\nvhost __defaultVhost__ {\n  rtc { rtmp_to_rtc maybe; }\n  hls { hls_fragment -1; hls_fragmnt 2; }\n}\n";
    assert_eq!(
        read_with(text, &[("SRS_HTTP_API_ENABLED", "yes")]).unwrap_err(),
        [
            "a.conf:1:1: listen: '99999' is neither a port (1 to 65535) nor ADDRESS:PORT",
            "a.conf:2:1: unknown directive 'frobnicate'",
            "a.conf:4:9: vhost.rtc.rtmp_to_rtc: must be on or off, not 'maybe'",
            "a.conf:5:9: vhost.hls.hls_fragment: must be seconds from 0.5 to 60, not '-1'",
            "a.conf:5:26: unknown directive 'hls_fragmnt' in vhost.hls; did you mean 'hls_fragment'?",
            "SRS_HTTP_API_ENABLED: http_api.enabled: must be on or off, not 'yes'",
            "nothing listens: write 'listen 1935;' or enable a server",
        ]
    );
}

#[test]
fn wrong_files_and_their_messages() {
    let table: &[(&str, &str)] = &[
        ("\nhls_fragment 2;", "2:1: 'hls_fragment' does not belong outside of blocks; it belongs in vhost { hls { … }}"),
        (
            "\nhttp_api { candidate *; }",
            "2:12: 'candidate' does not belong in http_api; it belongs in rtc_server { … } or in stream_caster { sip { … }}",
        ),
        ("\nvhost a { listen 1; }", "2:11: 'listen' does not belong in vhost"),
        ("\nhttp_api { lisen 1; }", "2:12: unknown directive 'lisen' in http_api; did you mean 'listen'?"),
        ("\ndaemon off;\ndaemon off;", "3:1: daemon: stands here a second time, first at 2:1"),
        ("\nvhost a { }\nvhost a { }", "3:1: vhost a: stands here a second time, first at 2:1"),
        ("\nvhost a { hls { } hls { } }", "2:19: hls: stands here a second time, first at 2:11"),
        ("\nvhost { }", "2:1: vhost: takes one name before its block"),
        ("\nvhost a b { }", "2:1: vhost: takes one name before its block"),
        ("\nvhost a;", "2:1: vhost: needs a block { … }"),
        ("\nhttp_api on { }", "2:1: http_api: takes no name before its block"),
        ("\ndaemon { }", "2:1: daemon: takes no block; end it with ';'"),
        ("\ndaemon;", "2:1: daemon: takes on or off, not 0 words"),
        ("\ndaemon on off;", "2:1: daemon: takes on or off, not 2 words"),
        ("\ndaemon true;", "2:1: daemon: must be on or off, not 'true'"),
        ("\nmax_connections 0;", "2:1: max_connections: must be a whole number from 1 to 1000000, not '0'"),
        ("\nmax_connections 1e308;", "2:1: max_connections: must be a whole number from 1 to 1000000, not '1e308'"),
        ("\nchunk_size 64;", "2:1: chunk_size: must be a whole number from 128 to 65536, not '64'"),
        ("\npithy_print_ms -1;", "2:1: pithy_print_ms: must be milliseconds from 0 to 86400000, not '-1'"),
        ("\nsrs_log_tank disk;", "2:1: srs_log_tank: must be one of console, file, not 'disk'"),
        ("\nsrs_log_level loud;", "2:1: srs_log_level: must be one of verbose, info, trace, warn, error, not 'loud'"),
        ("\nwork_dir $NOWHERE;", "2:1: work_dir: the environment has no NOWHERE"),
        ("\nrtc_server { workers 0; }", "2:14: rtc_server.workers: must be auto or a number from 1 to 64, not '0'"),
        (
            "\nrtc_server { buffer 1k; }",
            "2:14: rtc_server.buffer: must be bytes from 65536 to 1073741824 (or with k, m, g), not '1k'",
        ),
        ("\nrtc_server { protocol sctp; }", "2:14: rtc_server.protocol: must be one of udp, tcp, all, not 'sctp'"),
        (
            "\nrtc_server { enabled on; protocol all; }",
            "2:26: rtc_server.protocol: clients are told of TCP, which needs rtc_server { tcp { enabled on; } }",
        ),
        (
            "\nrtc_server { enabled on; ip_family ipv6; }",
            "2:26: rtc_server.ip_family: rtc_server { listen … } has no such address: [::]:8000 is IPv6's, 8000 IPv4's",
        ),
        (
            "\nrtc_server { enabled on; use_auto_detect_network_ip off; api_as_candidates off; }",
            "2:26: rtc_server.use_auto_detect_network_ip: no client is told an address: name a candidate",
        ),
        (
            "\nrtc_server { enabled on; tcp { enabled on; listen 1935; } }",
            "2:44: rtc_server.tcp.listen: 0.0.0.0:1935 is taken by listen already",
        ),
        ("\nhttp_server { enabled on; listen 1935; }", "2:27: http_server.listen: 0.0.0.0:1935 is taken by listen already"),
        (
            "\nacme { domain a.example *.example; }",
            "2:8: acme.domain: '*.example': this server cannot prove a wildcard, name each",
        ),
        (
            "\nacme { domain 192.0.2.1; }",
            "2:8: acme.domain: must be names of this server, such as live.example.com, not '192.0.2.1'",
        ),
        ("\nacme { email ops; }", "2:8: acme.email: must be an address such as you@example.com, not 'ops'"),
        ("\nacme { directory http://a/dir; }", "2:8: acme.directory: must begin with https://HOST, not 'http://a/dir'"),
        ("\nrtmps { enabled on; listen 443; acme on; }", "2:33: rtmps.acme: needs acme { domain …; }"),
        (
            "\nacme { domain a.example; } rtmps { enabled on; listen 443; acme on; self_signed on; }",
            "2:60: rtmps.acme: goes without self_signed: such a certificate is shown by itself until there is one",
        ),
        (
            "\nvhost a { http_remux { mount [vhost]/[app]/[stream].mp4; } }",
            "2:24: vhost.http_remux.mount: is [vhost]/[app]/[stream] with .flv, .ts, .aac or .mp3 behind it, not '[vhost]/[app]/[stream].mp4': other forms are not built yet",
        ),
        ("\nvhost a { hls { enabled on; hls_window 4; } }", "2:29: vhost.hls.hls_window: is shorter than hls_fragment"),
        (
            "\nvhost a { hls { enabled on; hls_keys on; } }",
            "2:29: vhost.hls.hls_keys: is not built yet, and ignoring it would not be safe",
        ),
        ("\nvhost a { dvr { enabled on; } }", "2:17: vhost.dvr: is not built yet, and ignoring it would not be safe"),
        (
            "\nvhost a { cluster { mode remote; origin b:1; } }",
            "2:21: vhost.cluster.mode: is not built yet, and ignoring it would not be safe",
        ),
        ("\nvhost a { ingest b { enabled on; } }", "2:11: vhost.ingest: is not built yet, and ignoring it would not be safe"),
        ("\nvhost a { forward b:1935; }", "2:11: vhost.forward: is not built yet, and ignoring it would not be safe"),
        ("\nstream_caster { enabled on; }", "2:1: stream_caster: is not built yet, and ignoring it would not be safe"),
        (
            "\nvhost a { security { enabled off; allow watch all; } }",
            "2:35: vhost.security.allow: must begin with publish or play, not 'watch'",
        ),
        (
            "\nvhost a { http_hooks { on_play ftp://b; } }",
            "2:24: vhost.http_hooks.on_play: must begin with http://HOST or https://HOST, not 'ftp://b'",
        ),
        (
            "\nvhost a { http_hooks { on_publish http://b http://u:p@b; } }",
            "2:24: vhost.http_hooks.on_publish: the URL must not hold a user or password: 'http://u:p@b'",
        ),
        (
            "\nvhost a { http_hooks { on_hls_notify http://[app]/x; } }",
            "2:24: vhost.http_hooks.on_hls_notify: placeholders may stand only behind the host: 'http://[app]/x'",
        ),
        (
            "\nvhost a { transcode { engine ff { vfps fast; } } }",
            "2:35: vhost.transcode.engine.vfps: must be a number from 0 to 1000, not 'fast'",
        ),
        ("\ninclude b.conf;", "2:1: include: needs a file around it"),
        ("\nvhost a {", "2:1: this block is not closed"),
    ];
    for (text, message) in table {
        assert_eq!(mistakes(text), [format!("a.conf:{message}")], "{text}");
    }
}

#[test]
fn what_is_off_is_checked_and_left_aside() {
    let off = "dvr { dvr_plan segment; } cluster { mode local; } hls { hls_keys on; } exec { publish ffmpeg -i x; } \
               transcode live { enabled off; engine a { vparams { anything 1; } } } http_hooks { on_play http://b; }";
    let (config, notes) = read(&format!("listen 1935; srt_server {{ enabled off; }} vhost a {{ {off} }}"));
    assert_eq!((notes.as_slice(), config.names.list().collect::<Vec<_>>()), (&[][..], vec!["a"]));
    // A vhost that is off may have anything on.
    read("listen 1935; vhost a { enabled off; dvr { enabled on; } }");
}

#[test]
fn what_does_nothing_here_is_warned_of_unless_it_is_the_default() {
    let (_, notes) = read(
        "listen 1935;\nasprocess off;\nquery_latest_version on;\nvhost a {\n tcp_nodelay on;\n play { mw_latency 350; mw_msgs 4; }\n}",
    );
    assert_eq!(
        notes,
        [
            "a.conf:3:1: query_latest_version: nobody is asked",
            "a.conf:5:2: vhost.tcp_nodelay: they always are",
            "a.conf:6:25: vhost.play.mw_msgs: mw_latency alone says when",
        ]
    );
    let (_, notes) = read("listen 1935; vhost a {\n hls { enabled on; }\n http_remux { enabled on; }\n rtc { enabled on; }\n}");
    assert_eq!(notes.len(), 3, "{notes:#?}");
}

#[test]
fn a_vhost_has_its_own_settings_and_srs_s_defaults() {
    let text = "listen 1935; http_server { enabled on; }\nvhost __defaultVhost__ { hls { enabled on; hls_fragment 4; } }\n\
                vhost a { hls { enabled on; } publish { normal_timeout 7000; } }\nvhost b { enabled off; }";
    let (config, _) = read(text);
    let hls = |name| config.vhosts.get(name).hls.clone();
    assert_eq!((hls(DEFAULT_VHOST).fragment, hls(DEFAULT_VHOST).window), (Duration::from_secs(4), Duration::from_secs(60)));
    assert_eq!(
        (hls("a").fragment, hls("a").aof_ratio, hls("a").dispose),
        (Duration::from_secs(10), 2.1, Duration::from_secs(120))
    );
    assert!(!hls("b").enabled);
    assert_eq!(config.vhosts.get("a").publish.normal_timeout, Duration::from_secs(7));
    assert_eq!(config.vhosts.get("b").publish.normal_timeout, Duration::from_secs(5));
    assert_eq!(config.names.resolve("a"), Ok("a"));
    assert!(config.names.resolve("b").is_err(), "it is off");
    assert_eq!(config.names.resolve("c"), Ok(DEFAULT_VHOST));
    assert!(read("listen 1935; vhost a { }").0.names.resolve("c").is_err(), "there is no default one");
    assert_eq!(read("listen 1935;").0.names.resolve("c"), Ok(DEFAULT_VHOST), "where none is written, there is one");
}

#[test]
fn sections_of_vhosts_are_typed() {
    let one = vhost("rtc { enabled on; rtmp_to_rtc on; stun_timeout 20; opus_bitrate 64000; opus_frame 40; }");
    assert!(one.rtc.enabled && one.rtc.rtmp_to_rtc && !one.rtc.rtc_to_rtmp && one.rtc.opus_pairs);
    assert_eq!((one.rtc.terms.consent, one.rtc.opus_bitrate, one.rtc.aac_bitrate), (Duration::from_secs(20), 64_000, 128_000));
    assert_eq!(one.rtc.pli_for_rtmp, Duration::from_secs(2));
    let one = vhost("hls { enabled on; hls_fragment 4; hls_td_ratio 1.5; hls_window 30; }");
    assert_eq!((one.hls.fragment, one.hls.window), (Duration::from_secs(6), Duration::from_secs(30)));
    let one = vhost("play { gop_cache off; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }");
    assert!(!one.play.begin.cached && one.remux.enabled);
    assert_eq!((one.refer, one.security, one.hooks.enabled), (None, None, false));
    let hooks = vhost(
        "http_hooks { enabled on; on_play http://b https://c/d?e; on_hls_notify http://b/[app]; decision_timeout 2.5; tries 3; }
         hls { hls_nb_notify 5; hls_ctx off; }",
    );
    assert!(!hooks.hls.ctx && hooks.hls.ts_ctx && hooks.hooks.enabled && hooks.hooks.on_publish.is_empty());
    let shown: Vec<_> = hooks.hooks.on_play.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["http://b/", "https://c/d"], "the query may hold a secret");
    assert_eq!((hooks.hooks.on_hls_notify.len(), hooks.hooks.tries_max, hooks.hooks.hls_nb_notify), (1, 3, 5));
    assert_eq!(hooks.hooks.decision_timeout, Duration::from_millis(2_500));
}

#[test]
fn which_own_addresses_are_told_is_the_configurations_choice() {
    let own = |more: &str| {
        let text = format!("listen 1935; http_api {{ enabled on; }} rtc_server {{ enabled on; listen 8000 [::]:8000; {more} }}");
        read(&text).0.rtc_server.own
    };
    let OwnAddresses { v4, v6 } = own("");
    assert!(v4 && v6, "what is listened on");
    assert_eq!(own("ip_family ipv4;"), OwnAddresses { v4: true, v6: false });
    assert_eq!(own("ip_family ipv6;"), OwnAddresses { v4: false, v6: true });
    assert_eq!(own("use_auto_detect_network_ip off; ip_family all;"), OwnAddresses::NONE);
}

#[test]
fn rtmp_clients_wait_for_callback_servers_that_may_think_longer() {
    let settings = |vhost: &str| {
        let config = read(&format!("listen 1935; vhost a {{ {vhost} }}")).0;
        crate::server::settings_of(&config)
    };
    assert_eq!(settings("").rtmp.decision_timeout, Duration::from_secs(30));
    let long = settings(
        "http_hooks { enabled on; on_publish http://b; decision_timeout 60; } in_ack_size 7; rtc { keep_avc_nalu_sei off; }",
    );
    assert_eq!(long.rtmp.decision_timeout, Duration::from_secs(61));
    let vhost = long.rtmp.vhosts.get("a");
    assert_eq!((vhost.ack_window_in, vhost.ack_window_out), (7, 2_500_000));
    assert!(!long.remux.get("a").keep_sei && long.remux.get("b").keep_sei);
}

#[test]
fn sections_of_the_server_are_typed() {
    let (config, _) = read(
        "listen 1935 [::1]:1936; chunk_size 4096; pid /run/weir.pid; server_id x; grace_start_wait 100;\n\
         srs_log_tank file; srs_log_file /var/log/weir.log; srs_log_level warn; utc_time on;\n\
         http_api { enabled on; listen 127.0.0.1:1985 1986; crossdomain on; }\n\
         rtc_server { enabled on; workers 3; buffer 1m; coalesce 0; candidate 192.0.2.1 example.net * ; }\n\
         heartbeat { enabled on; interval 3.3; url https://a/b; ports on; } exporter { enabled on; tag t; }",
    );
    assert_eq!(
        (config.rtmp.listen, config.vhosts.get("any").chunk_size),
        (vec![addr("0.0.0.0:1935"), addr("[::1]:1936")], 4_096)
    );
    assert_eq!(config.process.pid.as_deref(), Some(Path::new("/run/weir.pid")));
    assert_eq!((config.process.server_id.as_deref(), config.process.grace_start_wait), (Some("x"), Duration::from_millis(100)));
    assert_eq!(
        (config.log.file.as_deref(), config.log.level, config.log.utc),
        (Some(Path::new("/var/log/weir.log")), Level::Warn, true)
    );
    assert_eq!(config.http_api.listen, [addr("127.0.0.1:1985"), addr("0.0.0.0:1986")]);
    assert!(config.http_api.crossdomain && config.http_api.auth.is_none() && config.http_server.listen.is_empty());
    let rtc = config.rtc_server;
    assert_eq!((rtc.workers, rtc.buffer, rtc.coalesce), (3, 1 << 20, Duration::ZERO));
    assert_eq!((rtc.candidates, rtc.names), (vec!["192.0.2.1".parse().unwrap()], vec!["example.net".to_owned()]));
    let heartbeat = config.heartbeat.unwrap();
    assert_eq!(
        (heartbeat.interval, heartbeat.url.as_str(), heartbeat.ports),
        (Duration::from_millis(3_300), "https://a/b", true)
    );
    assert_eq!(
        config.exporter.map(|exporter| (exporter.listen, exporter.tag)),
        Some((vec![addr("0.0.0.0:9972")], "t".to_owned()))
    );
}

#[test]
fn levels_are_those_of_srs_and_the_common_ones() {
    let level = |text: &str| read(&format!("listen 1935; {text}")).0.log.level;
    for (text, want) in [
        ("", Level::Info),
        ("srs_log_level trace;", Level::Info),
        ("srs_log_level info;", Level::Debug),
        ("srs_log_level verbose;", Level::Trace),
        ("srs_log_level error; srs_log_level_v2 TRACE;", Level::Trace),
        ("srs_log_level_v2 info;", Level::Info),
    ] {
        assert_eq!(level(text), want, "{text}");
    }
}

#[test]
fn ice_over_tcp_is_off_until_enabled_and_has_the_port_of_udp() {
    let of = |text: &str| read(&format!("rtc_server {{ enabled on; {text} }}")).0.rtc_server;
    let rtc = of("tcp { listen 8000; }");
    assert_eq!((rtc.tcp, rtc.protocol), (vec![], Protocols::Udp), "as in SRS");
    assert_eq!(of("listen 127.0.0.1:9000; tcp { enabled on; }").tcp, [addr("127.0.0.1:9000")]);
    let rtc = of("tcp { enabled on; listen 8001; } protocol tcp;");
    assert_eq!((rtc.tcp, rtc.protocol), (vec![addr("0.0.0.0:8001")], Protocols::Tcp));
    assert!(read("listen 1935; rtc_server { enabled off; tcp { enabled on; } }").0.rtc_server.tcp.is_empty());
}

#[test]
fn sections_that_are_off_do_not_listen() {
    let (config, _) = read("listen 127.0.0.1:2935;\nhttp_api { enabled off; }\nrtc_server { enabled off; }\n");
    assert_eq!(config.rtmp.listen, [addr("127.0.0.1:2935")]);
    assert!(config.http_api.listen.is_empty() && config.http_server.listen.is_empty() && config.rtc_server.listen.is_empty());
}

#[test]
fn what_vhosts_differ_in_reaches_their_parts() {
    let (config, notes) = read(
        "listen 1935; chunk_size 4096; limits { connections 9; }\n\
         http_server { enabled on; } http_api { enabled on; } rtc_server { enabled on; resolve_api_domain off; }\n\
         vhost a {\n chunk_size 512; publish { firstpkt_timeout 300; normal_timeout 700; kickoff_for_idle 9; }\n\
         play { gop_cache off; gop_cache_max_frames 7; }\n\
         http_remux { enabled on; has_audio off; guess_has_av off; drop_if_not_match off; }\n\
         rtc { enabled on; nack off; twcc off; stun_timeout 60; dtls_role active; }\n}\n\
         vhost __defaultVhost__ { }",
    );
    assert_eq!(notes.len(), 1, "{notes:#?}");
    assert!(notes[0].contains("vhost.rtc.stun_timeout: counts as 30"), "{notes:#?}");
    let settings = crate::server::settings_of(&config);
    let (ours, other) = (settings.rtmp.vhosts.get("a"), settings.rtmp.vhosts.get("b"));
    let millis = Duration::from_millis;
    assert_eq!((ours.chunk_size_out, ours.first_media_timeout, ours.idle_timeout), (512, millis(300), millis(700)));
    assert_eq!((other.chunk_size_out, other.first_media_timeout, other.idle_timeout), (4_096, millis(20_000), millis(5_000)));
    assert_eq!((**settings.idle.get("a"), **settings.idle.get("b")), (millis(9_000), Duration::ZERO));
    let (ours, other) = (settings.web.vhosts.get("a"), settings.web.vhosts.get("b"));
    assert_eq!((ours.begin.cached, ours.begin.frames_max), (false, 7));
    assert_eq!((other.begin.cached, other.begin.frames_max), (true, 2_500));
    let content = ours.content;
    assert_eq!((content.audio, content.video, content.guess, content.drop_excluded), (false, true, false, false));
    assert_eq!(other.content, weir_web::Content::default());
    assert_eq!((ours.terms.nack, ours.terms.transport_cc, ours.terms.dtls_role), (false, false, DtlsRole::Active));
    assert_eq!(other.terms, weir_rtc::sdp::Terms::default());
    assert_eq!((settings.web.reached.host, settings.web.reached.resolve), (true, false));
    assert_eq!(settings.limits.address_connections_max, 9);
    let unlimited = crate::server::settings_of(&read("listen 1935;").0).limits.address_connections_max;
    assert_eq!(unlimited, usize::MAX);
}

#[test]
fn the_environment_goes_before_the_file() {
    let text = "listen 1935; http_api { enabled on; listen 1985; } vhost a { hls { hls_fragment 4; } } vhost b { }";
    let variables = [
        ("SRS_LISTEN", "1936 1937"),
        ("SRS_HTTP_API_LISTEN", "127.0.0.1:1986"),
        ("SRS_HTTP_SERVER_ENABLED", "on"),
        ("SRS_VHOST_HLS_ENABLED", "on"),
        ("SRS_VHOST_HLS_HLS_FRAGMENT", "3"),
        ("SRS_LOG_LEVEL", "warn"),
        ("SRS_SERVER_ID", "two words"),
        ("SRS_MAX_CONNECTIONS", ""),
        ("SRS_VHOST_SECURITY_ALLOW", "play all; publish 10.0.0.0/8"),
        ("SRS_CONFIG_FILE", "/etc/weir.conf"),
    ];
    let (config, notes) = read_with(text, &variables).unwrap();
    assert_eq!(config.rtmp.listen, [addr("0.0.0.0:1936"), addr("0.0.0.0:1937")]);
    assert_eq!(config.http_api.listen, [addr("127.0.0.1:1986")]);
    for name in ["a", "b"] {
        assert_eq!(config.vhosts.get(name).hls.fragment, Duration::from_secs(3), "all vhosts");
    }
    assert_eq!((config.log.level, config.process.server_id.as_deref()), (Level::Warn, Some("two words")));
    assert_eq!(config.process.max_connections, 1_000, "an empty one is none");
    assert_eq!(config.settings.vhost("a", "vhost.security").entries("allow").len(), 2);
    assert_eq!(notes, [""; 0]);
}

#[test]
fn wrong_variables_are_named() {
    for (name, value, message) in [
        (
            "SRS_MAX_CONNECTIONS",
            "many",
            "SRS_MAX_CONNECTIONS: max_connections: must be a whole number from 1 to 1000000, not 'many'",
        ),
        ("SRS_VHOST_RTC_NACKS", "on", "SRS_VHOST_RTC_NACKS: no directive has this name; did you mean SRS_VHOST_RTC_NACK?"),
        (
            "SRS_RTC_SERVER_PROTOCOL",
            "tcp",
            "SRS_RTC_SERVER_PROTOCOL: rtc_server.protocol: clients are told of TCP, which needs rtc_server { tcp { enabled on; } }",
        ),
        ("SRS_VHOST_DVR_ENABLED", "on", "SRS_VHOST_DVR_ENABLED: vhost.dvr: is not built yet, and ignoring it would not be safe"),
        ("SRS_WORK_DIR", "$NOWHERE", "SRS_WORK_DIR: work_dir: the environment has no NOWHERE"),
    ] {
        assert_eq!(
            read_with("listen 1935; rtc_server { enabled on; } http_api { enabled on; }", &[(name, value)]).unwrap_err(),
            [message]
        );
    }
    let strangers =
        [("SRS_WHATEVER_THIS_IS", "1"), ("SRS_SERVICE_HOST", "10.0.0.1"), ("SRS_PORT_1935_TCP_PORT", "1935"), ("PATH", "/bin")];
    let (_, notes) = read_with("listen 1935;", &strangers).unwrap();
    assert_eq!(notes, ["SRS_WHATEVER_THIS_IS: no directive has this name"], "Kubernetes' are no concern");
}

#[test]
fn a_value_may_be_another_variable_s() {
    let text = "listen $PORTS; work_dir $DIR; rtc_server { enabled on; candidate $CANDIDATE *; } http_api { enabled on; }";
    let (config, _) = read_with(text, &[("PORTS", "1935 1936"), ("DIR", "/a b"), ("CANDIDATE", "192.0.2.7,192.0.2.8")]).unwrap();
    assert_eq!((config.rtmp.listen.len(), config.process.work_dir.as_path()), (2, Path::new("/a b")));
    assert_eq!(config.rtc_server.candidates.len(), 2);
    let variables = [("PORTS", "1935"), ("DIR", "/"), ("SRS_RTC_SERVER_CANDIDATE", "$EIP"), ("EIP", "192.0.2.9")];
    assert_eq!(read_with(text, &variables).unwrap().0.rtc_server.candidates, ["192.0.2.9".parse::<std::net::IpAddr>().unwrap()]);
    let (config, _) = read_with(text, &[("PORTS", "1935"), ("DIR", "/")]).unwrap();
    assert!(config.rtc_server.candidates.is_empty(), "without it, the machine's own");
    // The bare variable counts where no candidate is named.
    let (config, _) = read_with("rtc_server { enabled on; }", &[("CANDIDATE", "192.0.2.7")]).unwrap();
    assert_eq!(config.rtc_server.candidates.len(), 1);
    let (config, _) = read_with("rtc_server { enabled on; candidate 192.0.2.1; }", &[("CANDIDATE", "192.0.2.7")]).unwrap();
    assert_eq!(config.rtc_server.candidates, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn the_environment_alone_is_enough() {
    let load = |variables: &[(&str, &str)]| {
        let environment = Environment::of(variables.iter().copied());
        Config::load(&Source::of(None, true, &environment), &environment).unwrap().0
    };
    let config = load(&[]);
    assert_eq!((config.rtmp.listen, config.http_api.listen, config.process.daemon), (vec![addr("0.0.0.0:1935")], vec![], false));
    assert_eq!((config.log.file, config.names.resolve("x")), (None, Ok(DEFAULT_VHOST)));
    let config = load(&[
        ("SRS_LISTEN", "19350"),
        ("SRS_HTTP_API_ENABLED", "on"),
        ("SRS_RTC_SERVER_ENABLED", "on"),
        ("SRS_VHOST_RTC_ENABLED", "on"),
    ]);
    assert_eq!((config.rtmp.listen, config.http_api.listen), (vec![addr("0.0.0.0:19350")], vec![addr("0.0.0.0:1985")]));
    assert!(!config.rtc_server.listen.is_empty() && config.vhosts.get(DEFAULT_VHOST).rtc.enabled);
}

#[test]
fn the_source_is_the_environment_s_choice_first() {
    let of = |file: Option<&str>, alone, variables: &[(&str, &str)]| {
        Source::of(file.map(Path::new), alone, &Environment::of(variables.iter().copied()))
    };
    assert_eq!(of(None, false, &[]), Source::BuiltIn);
    assert_eq!(of(Some("a"), false, &[]), Source::File("a".into()));
    assert_eq!(of(Some("a"), false, &[("SRS_CONFIG_FILE", "b")]), Source::File("b".into()));
    assert_eq!(of(Some("a"), false, &[("SRS_ENV_ONLY", "on")]), Source::EnvironmentOnly);
    assert_eq!(of(Some("a"), true, &[]), Source::EnvironmentOnly);
}

#[test]
fn older_and_newer_ways_of_writing_are_understood() {
    let text = "rtmp { listen 1935; chunk_size 4096; }\nhttp_stream { enabled on; }\nvhost a {\n refer github.com;\n gop_cache off;\n\
                mr { enabled off; latency 500; }\n publish_normal_timeout 7000;\n rtc { enabled on; aac transcode; bframe discard; }\n nack { enabled on; }\n hls { hls_storage disk; }\n}";
    let (config, notes) = read(text);
    let vhost = config.vhosts.get("a");
    assert_eq!(vhost.refer.as_ref().map(|refer| refer.all.clone()), Some(vec!["github.com".to_owned()]));
    assert_eq!((config.vhosts.get("a").chunk_size, config.http_server.listen.len()), (4_096, 1));
    assert!(!vhost.play.begin.cached && vhost.rtc.rtmp_to_rtc);
    assert_eq!(vhost.publish.normal_timeout, Duration::from_secs(7));
    assert!(notes.iter().any(|note| note == "a.conf:2:1: http_stream: is written http_server today"), "{notes:#?}");
    assert!(notes.iter().any(|note| note == "a.conf:5:2: gop_cache: is written play { gop_cache } today"), "{notes:#?}");
}

#[test]
fn explain_tells_value_and_origin_of_all() {
    let text = "listen 1935;\nhttp_api { enabled on; auth { password hush; } }\nvhost a { hls { enabled on; } }";
    let (config, _) = read_with(text, &[("SRS_VHOST_HLS_HLS_WINDOW", "30")]).unwrap();
    let text = config.explain();
    let line = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in\n{text}"));
        line.split_once("  # ").map(|(left, right)| (left.trim_end().to_owned(), right.to_owned())).unwrap()
    };
    let pair = |left: &str, right: &str| (left.to_owned(), right.to_owned());
    assert_eq!(line("listen "), pair("listen 1935", "a.conf:1:1"));
    assert_eq!(line("http_api.enabled"), pair("http_api.enabled on", "a.conf:2:12"));
    assert_eq!(line("http_api.listen"), pair("http_api.listen 1985", "default"));
    assert_eq!(line("http_api.auth.password"), pair("http_api.auth.password …", "a.conf:2:31"));
    assert_eq!(line("vhost a.hls.hls_window"), pair("vhost a.hls.hls_window 30", "SRS_VHOST_HLS_HLS_WINDOW"));
    assert_eq!(line("vhost a.dvr.enabled"), pair("vhost a.dvr.enabled off", "default"));
    assert!(line("asprocess").1.starts_with("default; no effect: "));
    let settings = table::rows().filter(|row| row.is_setting()).count();
    assert_eq!(text.lines().count(), settings);
}

#[test]
fn a_difference_names_paths_and_vhosts() {
    let of = |text: &str| read(&format!("listen 1935; http_server {{ enabled on; }} {text}")).0;
    let change = |vhost: Option<&str>, path| Change { vhost: vhost.map(str::to_owned), path };
    let old = of("vhost a { hls { enabled on; } } vhost b { }");
    assert_eq!(Config::diff(&old, &old), []);
    assert_eq!(
        Config::diff(&old, &of("vhost b { } vhost a { hls { enabled on; hls_fragment 10; } }")),
        [],
        "what is meant counts"
    );
    let new = of("max_connections 5; vhost a { hls { enabled off; } } vhost c { }");
    assert_eq!(
        Config::diff(&old, &new),
        [
            change(Some("b"), "vhost"),
            change(Some("c"), "vhost"),
            change(None, "max_connections"),
            change(Some("a"), "vhost.hls.enabled")
        ]
    );
}

#[test]
fn the_rules_at_the_door_are_read() {
    let text = "listen 1935;\nlimits { per_second 5; burst 9; exempt_loopback off; }\ntrusted_proxies 10.0.0.0/8 ::1;\n\
        trusted_proxies 192.0.2.1;\nvhost a {\n publish { takeover identity; }\n token { enabled on; play on; secret \
        0123456789abcdef0123456789abcdef; audience me; }\n security { enabled on; deny play all; }\n}\nvhost b { }";
    let (config, notes) = read(text);
    assert_eq!(notes, [""; 0]);
    let limits = config.limits.addresses;
    assert_eq!((limits.per_second, limits.burst, limits.exempt_loopback), (5, 9, false));
    assert_eq!(config.limits.trusted_proxies.len(), 3);
    let door = config.vhosts.get("a").access();
    assert_eq!(door.takeover, weir_source::Takeover::Identity);
    let token = door.token.unwrap();
    assert!(token.publish && token.play && token.query && token.url_key.is_some());
    assert_eq!((token.jwt.keys.len(), token.jwt.require_expiry, token.jwt.audience.as_deref()), (1, true, Some("me")));
    assert_eq!(door.security.unwrap().rules.len(), 1);
    assert_eq!(config.vhosts.get("b").access(), weir_web::access::AccessConfig::default());
    assert!(!config.explain().contains("0123456789"), "a secret is not shown");
    assert!(!format!("{config:?}").contains("89abcdef"), "nor printed");
}

#[test]
fn tokens_without_a_key_are_refused() {
    let refused = |vhost: &str| mistakes(&format!("\nvhost a {{ token {{ {vhost} }} }}"));
    assert_eq!(refused("enabled on;"), ["a.conf:2:19: vhost.token.enabled: needs a secret, secret_file, public_key or jwks"]);
    for (text, said) in [
        ("enabled on; secret short;", "at least 32 bytes"),
        ("enabled on; secret_file /nonexistent;", "/nonexistent"),
        ("enabled on; public_key /dev/null;", "/dev/null"),
        ("enabled on; jwks /nonexistent;", "/nonexistent"),
    ] {
        let all = refused(text);
        assert!(all.iter().any(|mistake| mistake.contains(said)), "{text}: {all:?}");
        assert!(!all.iter().any(|mistake| mistake.contains("short")), "{all:?}");
    }
}

#[test]
fn floods_of_vhosts_are_refused() {
    let text: String = (0..1_002).map(|n| format!("vhost v{n} {{ }}\n")).collect();
    assert_eq!(mistakes(&text).len(), 2);
}

fn sample(name: &str) -> Result<(Config, Vec<String>), ConfigError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name);
    // The one of tokens has no secret of its own: whoever starts with it must bring one.
    let secret = ("SRS_VHOST_TOKEN_SECRET", "0123456789abcdef0123456789abcdef");
    Config::load(&Source::File(path), &Environment::of((name == "token.conf").then_some(secret)))
}

#[test]
fn the_sample_of_tokens_does_not_start_without_a_secret() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/token.conf");
    let error = Config::load(&Source::File(path), &Environment::default()).unwrap_err().to_string();
    assert!(error.contains("vhost.token.enabled: needs a secret"), "{error}");
}

/// Samples of what is not built yet, and what they are refused for.
const WAITING: &[(&str, &str)] = &[];

#[test]
fn every_sample_loads_without_a_note() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".conf"));
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        match (sample(&name), WAITING.iter().find(|(waiting, _)| *waiting == name)) {
            (Ok((_, notes)), None) => assert_eq!(notes, [""; 0], "{name}"),
            (Err(error), Some((_, path))) => {
                assert!(error.to_string().contains(&format!(": {path}: is not built yet")), "{name}: {error}")
            }
            (Ok(_), Some(_)) => panic!("{name} is not waiting any more"),
            (Err(error), None) => panic!("{name}: {error}"),
        }
    }
}

#[test]
fn samples_hold_what_their_names_promise() {
    let of = |name: &str| {
        let (config, _) = sample(name).unwrap();
        let vhost = (**config.vhosts.get(DEFAULT_VHOST)).clone();
        (config, vhost)
    };
    let (_, vhost) = of("security.deny.publish.conf");
    assert_eq!(vhost.security.map(|security| security.rules.len()), Some(4));
    let (_, vhost) = of("token.conf");
    assert!(vhost.token.is_some_and(|token| token.publish && token.play));
    let (config, vhost) = of("rtmp.conf");
    assert_eq!((config.rtmp.listen, config.http_api.listen.len()), (vec![addr("0.0.0.0:1935")], 0));
    assert!(!vhost.remux.enabled && !vhost.hls.enabled && !vhost.rtc.enabled);
    let (_, vhost) = of("realtime.conf");
    assert!(vhost.remux.enabled && vhost.play.gather.is_zero());
    let (_, vhost) = of("hls.conf");
    assert!(vhost.hls.enabled && !vhost.remux.enabled);
    assert_eq!(vhost.play.gather.as_millis(), 350, "SRS's default");
    let (_, vhost) = of("http.flv.live.conf");
    assert!(vhost.remux.enabled && !vhost.hls.enabled);
    let (config, vhost) = of("rtc.conf");
    assert!(vhost.rtc.enabled && !vhost.rtc.rtmp_to_rtc && !vhost.rtc.rtc_to_rtmp && !config.rtc_server.listen.is_empty());
    let (_, vhost) = of("rtmp2rtc.conf");
    assert!(vhost.rtc.rtmp_to_rtc && !vhost.rtc.rtc_to_rtmp);
    let (_, vhost) = of("rtc2rtmp.conf");
    assert!(!vhost.rtc.rtmp_to_rtc && vhost.rtc.rtc_to_rtmp && vhost.remux.enabled && vhost.hls.enabled);
    for name in ["weir.conf", "docker.conf"] {
        let (config, vhost) = of(name);
        assert!(vhost.rtc.rtmp_to_rtc && vhost.rtc.rtc_to_rtmp && vhost.remux.enabled && vhost.hls.enabled);
        assert_eq!((config.rtc_server.listen, config.log.file), (vec![addr("0.0.0.0:8000")], None));
    }
}

#[test]
fn full_conf_is_what_the_table_says_and_changes_nothing() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/full.conf");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), Config::full(), "cargo run -- config full > conf/full.conf");
    let (full, notes) = sample("full.conf").unwrap();
    assert_eq!(notes, [""; 0]);
    assert_eq!(Config::diff(&read("listen 1935;").0, &full), []);
    // Each setting with a default is written, as itself.
    let written = full.explain().lines().filter(|line| line.contains("full.conf:")).count();
    let defaults = table::rows().filter(|row| row.is_setting() && (!row.default.is_empty() || row.path == "listen")).count();
    assert_eq!(written, defaults);
}

#[test]
fn the_corpus_of_the_fuzzer_does_no_harm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let data = std::fs::read(entry.unwrap().path()).unwrap();
        (0..=data.len()).step_by(data.len() / 100 + 1).for_each(|end| fuzz(&data[..end]));
        fuzz(&data);
        files += 1;
    }
    assert!(files >= 5);
}

//! What a configuration means to the HTTP API, the exporter and the heartbeat.

use std::net::SocketAddr;

use weir_web::{
    ApiConfig, ApiToken, BasicAuth, Endpoints, ExporterConfig, HeartbeatConfig, RawApi, Role, StatsConfig, WebConfig,
};

use crate::Config;

/// Fills these parts of the HTTP side's settings.
pub(crate) fn fill(web: &mut WebConfig, config: &Config) {
    web.api = api(config);
    web.endpoints = endpoints(config);
    web.heartbeat = config.heartbeat.as_ref().map_or_else(HeartbeatConfig::default, |heartbeat| HeartbeatConfig {
        enabled: true,
        interval: heartbeat.interval,
        url: heartbeat.url.clone(),
        device_id: heartbeat.device_id.clone(),
        summaries: heartbeat.summaries,
        ports: heartbeat.ports,
    });
}

fn api(config: &Config) -> ApiConfig {
    let http_api = &config.http_api;
    let exporter = config.exporter.as_ref().map_or_else(ExporterConfig::default, |exporter| ExporterConfig {
        enabled: true,
        label: exporter.label.clone(),
        tag: exporter.tag.clone(),
    });
    let token = |token: &crate::config::Token| ApiToken {
        name: token.name.clone(),
        secret: token.secret.clone(),
        role: if token.operate { Role::Operate } else { Role::Read },
    };
    ApiConfig {
        crossdomain: http_api.crossdomain,
        jsonp: http_api.jsonp,
        basic: http_api
            .auth
            .as_ref()
            .map(|basic| BasicAuth { username: basic.username.clone(), password: basic.password.clone() }),
        tokens: http_api.tokens.iter().map(token).collect(),
        raw: RawApi { enabled: http_api.raw_enabled, allow_reload: http_api.raw_reload },
        exporter,
        stats: StatsConfig { network: config.stats.network, disks: config.stats.disk.clone() },
    }
}

fn endpoints(config: &Config) -> Endpoints {
    let plain = |addrs: &[SocketAddr]| addrs.iter().map(endpoint).collect();
    let with = |scheme: &str, addrs: &[SocketAddr]| addrs.iter().map(|addr| format!("{scheme}://{}", endpoint(addr))).collect();
    let rtc = &config.rtc_server;
    let (udp, tcp): (Vec<String>, Vec<String>) = (with("udp", &rtc.listen), with("tcp", &rtc.tcp));
    Endpoints {
        rtmp: plain(&config.rtmp.listen),
        http: plain(&config.http_server.listen),
        api: plain(&config.http_api.listen),
        rtc: udp.into_iter().chain(tcp).collect(),
    }
}

/// As SRS writes it: the port alone where it listens on all addresses.
fn endpoint(addr: &SocketAddr) -> String {
    if addr.ip().is_unspecified() { addr.port().to_string() } else { addr.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn what_is_written_reaches_the_api() {
        let text = "listen 1935 127.0.0.1:1936;\nhttp_api { enabled on; crossdomain on; jsonp on; raw_api { enabled on; }\n\
            auth { enabled on; username admin; password p; token a read aaaaaaaaaaaaaaaa; token b operate bbbbbbbbbbbbbbbb; } }\n\
            exporter { enabled on; label l; }\nheartbeat { enabled on; interval 3; device_id d; }\nstats { network 1; disk sda; }\n";
        let (config, _) = Config::parse("a.conf", text, &Environment::default()).unwrap();
        let mut web = WebConfig::default();
        fill(&mut web, &config);
        assert_eq!(web.endpoints.rtmp, ["1935", "127.0.0.1:1936"]);
        assert!(web.api.crossdomain && web.api.jsonp && web.api.raw.enabled && !web.api.raw.allow_reload);
        assert_eq!(web.api.basic.as_ref().unwrap().username, "admin");
        assert_eq!(web.api.tokens.iter().map(|token| token.role).collect::<Vec<_>>(), [Role::Read, Role::Operate]);
        assert_eq!((web.api.exporter.enabled, &*web.api.exporter.label, web.api.stats.network), (true, "l", 1));
        assert_eq!((web.heartbeat.enabled, web.heartbeat.interval.as_secs(), &*web.heartbeat.device_id), (true, 3, "d"));
        let (config, _) = Config::parse("a.conf", "listen 1935;\n", &Environment::default()).unwrap();
        let mut web = WebConfig::default();
        fill(&mut web, &config);
        let closed = WebConfig { endpoints: web.endpoints.clone(), ..WebConfig::default() };
        assert_eq!(web, closed, "nothing is on that is not written");
    }
}

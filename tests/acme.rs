//! Certificates by ACME, from Let's Encrypt's test authority (pebble), which looks at our listener as
//! a real one does: obtained, shown, kept, renewed under a viewer, and what happens when it is down.

mod support;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use support::{
    Weir, eventually,
    process::{Client, read_file},
    server::{free_both, free_tcp, http_get},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "live.weir.test";

/// An authority that is not running yet, and where it will look for the name.
struct Authority {
    dir: TempDir,
    listen: SocketAddr,
    roots: SocketAddr,
    running: Vec<Child>,
}

impl Authority {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        fs::write(dir.path().join("https.pem"), made.cert.pem()).expect("a file");
        fs::write(dir.path().join("https.key"), made.signing_key.serialize_pem()).expect("a file");
        let [listen, roots] = [(); 2].map(|()| free_tcp());
        Self { dir, listen, roots, running: Vec::new() }
    }

    /// What a server is told of it.
    fn directives(&self, cache: &Path) -> String {
        format!(
            "acme {{ domain {NAME}; email ops@weir.test; cache {}; directory https://localhost:{}/dir; ca {}; }}\n",
            cache.display(),
            self.listen.port(),
            self.dir.path().join("https.pem").display()
        )
    }

    /// Issues from now on for names whose proof is at this port of the loopback.
    fn start(&mut self, proof_port: u16, validity: Duration) {
        let [dns, management] = [free_both(), free_tcp()].map(|addr| addr.to_string());
        let dir = self.dir.path().to_owned();
        let file = |name: &str| dir.join(name).display().to_string();
        let config = serde_json::json!({"pebble": {
            "listenAddress": self.listen.to_string(),
            "managementListenAddress": self.roots.to_string(),
            "certificate": file("https.pem"),
            "privateKey": file("https.key"),
            "httpPort": free_tcp().port(),
            "tlsPort": proof_port,
            "certificateValidityPeriod": validity.as_secs(),
        }});
        fs::write(file("pebble.json"), config.to_string()).expect("a file");
        // Whatever name it asks for is this machine.
        let names = ["-dns01", &dns, "-management", &management, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""];
        let no_others = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
        self.run("pebble-challtestsrv", &[names.as_slice(), &no_others].concat());
        self.run("pebble", &["-config", &file("pebble.json"), "-dnsserver", &dns]);
    }

    fn run(&mut self, program: &str, args: &[&str]) {
        let log = fs::File::create(self.dir.path().join(format!("{program}.log"))).expect("a file");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        // At once. Of the faults that it can make on purpose this one: every fourth nonce is refused (RFC 8555
        // section 6.5), some three in an order.
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", "25").env("PEBBLE_AUTHZREUSE", "0");
        self.running.push(command.spawn().unwrap_or_else(|error| panic!("{program} (Debian's package pebble): {error}")));
    }

    fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            let _gone = child.kill();
            let _reaped = child.wait();
        }
    }

    /// The certificate that leads to all that it issues, for a client to trust.
    fn root(&self) -> PathBuf {
        let path = self.dir.path().join("root.pem");
        let url = format!("https://{}/roots/0", self.roots);
        eventually("the authority names its root", PATIENCE, || {
            let status = Command::new("curl").args(["-sfk", "-o"]).arg(&path).arg(&url).status().expect("curl runs");
            status.success().then_some(())
        });
        path
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("---- the authority's log ----\n{}", read_file(&self.dir.path().join("pebble.log")));
        }
    }
}

/// A server with HTTPS and RTMPS, besides a plain API.
struct Secure {
    child: Child,
    dir: TempDir,
    rtmp: SocketAddr,
    rtmps: SocketAddr,
    api: SocketAddr,
    https: SocketAddr,
    http: SocketAddr,
}

impl Secure {
    /// `identity` is what the listeners say of their certificate, `global` what stands beside them.
    fn start(identity: &str, global: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let [rtmp, rtmps, api, https, http] = [(); 5].map(|()| free_tcp());
        let child = Command::new("true").spawn().expect("it runs");
        let mut server = Self { child, dir, rtmp, rtmps, api, https, http };
        server.write(identity, global);
        server.spawn();
        server
    }

    fn write(&self, identity: &str, global: &str) {
        let Self { rtmp, rtmps, api, https, http, .. } = self;
        let conf = format!(
            "listen {rtmp};\n{global}rtmps {{ enabled on; listen {rtmps}; {identity} }}\n\
             http_api {{ enabled on; listen {api}; }}\nexporter {{ enabled on; listen {api}; }}\n\
             http_server {{ enabled on; listen {http}; https {{ enabled on; listen {https}; {identity} }} }}\n\
             vhost __defaultVhost__ {{ http_remux {{ enabled on; }} }}\n"
        );
        fs::write(self.dir.path().join("weir.conf"), conf).expect("a file");
    }

    fn spawn(&mut self) {
        let _reaped = self.child.wait();
        self.child = Weir::spawn(&["-c", &self.dir.path().join("weir.conf").to_string_lossy()], self.dir.path());
        eventually("the server answers", PATIENCE, || {
            assert!(self.child.try_wait().expect("a child").is_none(), "the server ended:\n{}", self.log());
            http_get(self.api, "/api/v1/versions")
        });
    }

    fn end(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }

    fn reload(&self) {
        let asked = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(asked.success());
    }

    fn log(&self) -> String {
        read_file(&self.dir.path().join("log"))
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("acme")
    }

    /// The kept certificate with its key.
    fn kept(&self) -> PathBuf {
        let files = fs::read_dir(self.cache()).expect("a folder").map(|entry| entry.expect("an entry").path());
        files.into_iter().find(|path| path.extension().is_some_and(|end| end == "pem")).expect("a certificate is kept")
    }

    fn metric(&self, name: &str) -> u64 {
        let (_, text) = http_get(self.api, "/metrics").expect("metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is not there")).trim().parse().expect("a number")
    }

    /// Asks by the public name, trusting the authority and nobody else.
    fn asked_by_name(&self, root: &Path) -> String {
        let port = self.https.port();
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "10", "--resolve", &format!("{NAME}:{port}:127.0.0.1"), "--cacert"]).arg(root);
        Client::start("curl", command.arg(format!("https://{NAME}:{port}/api/v1/versions"))).finish(PATIENCE).stdout
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("---- the server's log ----\n{}", self.log());
        }
    }
}

/// The fingerprint of the certificate that a new connection is shown.
fn shown(addr: SocketAddr) -> String {
    fingerprint(&format!("openssl s_client -connect {addr} </dev/null 2>/dev/null"))
}

/// The fingerprint of the first certificate in a command's output.
fn fingerprint(command: &str) -> String {
    let line = format!("{command} | openssl x509 -noout -fingerprint -sha256");
    let output = Command::new("sh").args(["-c", &line]).output().expect("openssl runs");
    String::from_utf8_lossy(&output.stdout).trim().rsplit('=').next().unwrap_or_default().to_owned()
}

fn of_file(path: &Path) -> String {
    fingerprint(&format!("cat {}", path.display()))
}

#[test]
fn a_certificate_is_issued_and_renewed_under_a_viewer_and_kept_for_the_next_start() {
    let mut authority = Authority::new();
    let mut server = Secure::start("self_signed on;", "");
    let source = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-c:v", "libx264", "-preset", "ultrafast"];
    let rtmp = format!("rtmp://{}/live/acme", server.rtmp);
    let _publisher = Client::ffmpeg("ffmpeg publishes", &[&source[..], &["-g", "25", "-f", "flv", &rtmp]].concat());
    let seen = server.dir.path().join("seen.flv");
    let mut play = Command::new("curl");
    play.args(["-sSk", "-o"]).arg(&seen).arg(format!("https://{}/live/acme.flv", server.https));
    let mut viewer = Client::start("curl plays", &mut play);
    let size = || fs::metadata(&seen).map_or(0, |data| data.len());
    eventually("the viewer plays", PATIENCE, || (size() > 20_000).then_some(()));
    let self_signed = shown(server.https);

    // A reload turns it on, while somebody watches.
    authority.start(server.https.port(), Duration::from_secs(30));
    let root = authority.root();
    server.write("acme on;", &authority.directives(&server.cache()));
    server.reload();
    let first = eventually("a certificate is issued", PATIENCE, || {
        let now = shown(server.https);
        (!now.is_empty() && now != self_signed).then_some(now)
    });
    assert_eq!(shown(server.rtmps), first, "RTMPS shows it as well");
    assert!(server.asked_by_name(&root).contains("\"code\":0"), "who trusts the authority trusts the server");
    eventually("it is kept", PATIENCE, || (of_file(&server.kept()) == first).then_some(()));
    for entry in fs::read_dir(server.cache()).expect("a folder") {
        let mode = entry.expect("an entry").metadata().expect("its facts").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "nobody else reads keys");
    }
    assert_eq!(server.metric("weir_acme_orders_total{result=\"ok\"}"), 1);
    assert_eq!(server.metric("weir_acme_orders_total{result=\"failed\"}"), 0, "a refused nonce costs a request, not the order");
    assert_eq!(server.metric("weir_acme_challenges_total") % 3, 0, "pebble looks from three places at once");

    // Renewed by itself, when two thirds of its half a minute are over.
    let second = eventually("it is renewed", PATIENCE, || {
        let now = shown(server.https);
        (!now.is_empty() && now != first).then_some(now)
    });
    let before = size();
    eventually("the viewer plays on", PATIENCE, || (size() > before + 40_000).then_some(()));
    assert!(viewer.is_running());
    assert!(server.asked_by_name(&root).contains("\"code\":0"));

    // The next start shows what was kept, whether or not there is an authority.
    eventually("the new one is kept", PATIENCE, || (of_file(&server.kept()) == second).then_some(()));
    authority.stop();
    server.end();
    server.spawn();
    assert_eq!([server.https, server.rtmps].map(shown), [second.clone(), second]);
}

#[test]
fn an_authority_that_is_down_harms_nothing_and_is_asked_again() {
    let mut authority = Authority::new();
    let dir = tempfile::tempdir().expect("a directory");
    let server = Secure::start("acme on;", &authority.directives(&dir.path().join("acme")));
    let stand_in = shown(server.https);
    assert!(!stand_in.is_empty(), "a self-signed one is shown");
    eventually("the failure is said and counted", PATIENCE, || {
        let is_said = |line: &str| line.contains("WARN") && line.contains("ACME") && line.contains("refused");
        (server.log().lines().any(is_said) && server.metric("weir_acme_orders_total{result=\"failed\"}") > 0).then_some(())
    });
    authority.start(server.https.port(), Duration::from_secs(86_400));
    let root = authority.root();
    eventually("it is issued once there is an authority", PATIENCE, || {
        (![stand_in.as_str(), ""].contains(&shown(server.https).as_str())).then_some(())
    });
    assert!(server.asked_by_name(&root).contains("\"code\":0"));
}

#[test]
fn a_name_that_leads_elsewhere_is_not_certified() {
    let mut authority = Authority::new();
    let dir = tempfile::tempdir().expect("a directory");
    // Whoever answers there has no proof.
    let other = Secure::start("self_signed on;", "");
    authority.start(other.https.port(), Duration::from_secs(86_400));
    let _is_up = authority.root();
    let server = Secure::start("acme on;", &authority.directives(&dir.path().join("acme")));
    let stand_in = shown(server.https);
    eventually("the refusal is said", PATIENCE, || {
        server.log().lines().any(|line| line.contains("WARN") && line.contains("no certificate from")).then_some(())
    });
    assert_eq!(shown(server.https), stand_in);
    assert_eq!(server.metric("weir_acme_orders_total{result=\"ok\"}"), 0);
    assert!(http_get(server.api, "/api/v1/versions").is_some());
}

//! TLS as clients see it: curl speaks HTTP/2 to it, ffmpeg publishes and plays over it, a browser
//! publishes through it, and its certificate is replaced while they watch.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    Weir, eventually,
    media::OFFER,
    process::Client,
    server::{free_tcp, http_get},
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server with everything over TLS, besides a plain API to look into it.
struct Secure {
    child: Child,
    dir: TempDir,
    api: SocketAddr,
    https_api: SocketAddr,
    https: SocketAddr,
    rtmps: SocketAddr,
}

impl Secure {
    fn start() -> Self {
        Self::start_with("cert {dir}/server.crt; key {dir}/server.key;")
    }

    /// `identity` is what the blocks say of their certificate; `{dir}` is where one lies.
    fn start_with(identity: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        write_certificate(dir.path());
        let identity = identity.replace("{dir}", &dir.path().to_string_lossy());
        let [rtmps, api, https_api, http, https] = [(); 5].map(|()| free_tcp());
        let media = free_tcp();
        let html = dir.path().join("html");
        fs::create_dir(&html).expect("a directory");
        let conf = format!(
            "rtmps {{ enabled on; listen {rtmps}; {identity} }}\n\
             http_api {{ enabled on; listen {api}; https {{ enabled on; listen {https_api}; {identity} }} }}\n\
             http_server {{ enabled on; listen {http}; dir {}; https {{ enabled on; listen {https}; {identity} }} }}\n\
             rtc_server {{ enabled on; listen {media}; candidate 127.0.0.1; }}\n\
             vhost __defaultVhost__ {{\n rtc {{ enabled on; rtmp_to_rtc on; rtc_to_rtmp on; }}\n http_remux {{ enabled on; }}\n}}\n",
            html.display()
        );
        let path = dir.path().join("weir.conf");
        fs::write(&path, conf).expect("a file");
        let child = Weir::spawn(&["-c", &path.to_string_lossy()], dir.path());
        let mut server = Self { child, dir, api, https_api, https, rtmps };
        eventually("the server answers", PATIENCE, || {
            assert!(server.child.try_wait().expect("a child").is_none(), "the server ended:\n{}", server.log());
            http_get(server.api, "/api/v1/versions")
        });
        server
    }

    fn log(&self) -> String {
        support::process::read_file(&self.dir.path().join("log"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the certificate and its key, one after the other.
    fn renew(&self) {
        write_certificate(self.dir.path());
    }

    fn api(&self, path: &str) -> Value {
        http_get(self.api, path).and_then(|(_, body)| serde_json::from_str(&body).ok()).expect("JSON")
    }

    fn wait_for_publisher(&self, stream: &str) {
        eventually(&format!("{stream} is published"), PATIENCE, || {
            let list = self.api("/api/v1/streams/?count=1000");
            list["streams"].as_array()?.iter().any(|s| s["name"] == stream && s["publish"]["active"] == true).then_some(())
        });
    }

    /// A test picture with sound, over TLS.
    fn publish(&self, stream: &str) -> Client {
        let url = format!("rtmps://localhost:{}/live/{stream}", self.rtmps.port());
        let source = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-f", "lavfi", "-i", "sine=frequency=440"];
        let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-c:a", "aac"];
        let publisher = Client::ffmpeg("ffmpeg publishes", &[&source[..], &coding, &["-f", "flv", &url]].concat());
        self.wait_for_publisher(stream);
        publisher
    }

    /// curl with the server's certificate as the only one that it trusts.
    fn curl(&self, args: &[&str]) -> Curl {
        let trusted = self.file("server.crt");
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "-o", "-", "-w", "\n%{http_version} %{http_code}"]).arg("--cacert").arg(trusted);
        let outcome = Client::start("curl", command.args(args)).finish(PATIENCE);
        let (body, facts) = outcome.stdout.rsplit_once('\n').unwrap_or_default();
        let (version, status) = facts.split_once(' ').unwrap_or_default();
        Curl { version: version.to_owned(), status: status.to_owned(), body: body.to_owned(), errors: outcome.stderr }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- the server's log ----\n{}", self.log());
        }
    }
}

#[derive(Debug)]
struct Curl {
    version: String,
    status: String,
    body: String,
    #[expect(dead_code, reason = "shown when a check fails")]
    errors: String,
}

fn write_certificate(dir: &Path) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    fs::write(dir.join("server.crt"), made.cert.pem()).expect("a file");
    fs::write(dir.join("server.key"), made.signing_key.serialize_pem()).expect("a file");
}

/// The fingerprint of the certificate that a new connection is shown.
fn shown(addr: SocketAddr) -> String {
    fingerprint(&format!("openssl s_client -connect {addr} </dev/null 2>/dev/null"))
}

/// The fingerprint of a certificate in a command's output.
fn fingerprint(command: &str) -> String {
    let line = format!("{command} | openssl x509 -noout -fingerprint -sha256");
    let output = Command::new("sh").args(["-c", &line]).output().expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().rsplit('=').next().unwrap_or_default().to_owned()
}

#[test]
fn h43_https_is_http2_for_those_who_know_it_and_http1_for_others() {
    let server = Secure::start();
    for addr in [server.https_api, server.https] {
        let url = format!("https://localhost:{}/api/v1/versions", addr.port());
        for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
            for tls in ["--tlsv1.3", "--tls-max"] {
                let tls = if tls == "--tls-max" { vec![tls, "1.2"] } else { vec![tls] };
                let answer = server.curl(&[&[option, &url][..], &tls].concat());
                assert_eq!((answer.version.as_str(), answer.status.as_str()), (version, "200"), "{answer:?}");
                assert!(answer.body.contains("\"code\":0"), "{answer:?}");
            }
        }
    }
    // Without a server name, and with one that is not the certificate's.
    let by_address = server.curl(&[&format!("https://{}/api/v1/versions", server.https)]);
    assert_eq!(by_address.status, "200", "{by_address:?}");
    // Whoever speaks in the clear gets no answer in the clear.
    let mut plain = TcpStream::connect(server.https).expect("it listens");
    plain.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
    let mut heard = Vec::new();
    let _closed_or_reset = plain.read_to_end(&mut heard);
    assert!(!String::from_utf8_lossy(&heard).contains("HTTP/"), "{heard:?}");
}

#[test]
fn whip_and_files_over_http2() {
    let server = Secure::start();
    let base = format!("https://localhost:{}", server.https_api.port());
    let offer = server.file("offer.sdp");
    fs::write(&offer, OFFER).expect("a file");
    let data = format!("@{}", offer.display());
    let url = format!("{base}/rtc/v1/whip/?app=live&stream=h2");
    let answer = server.curl(&["--http2", "-i", "-H", "Content-Type: application/sdp", "--data-binary", &data, &url]);
    assert_eq!((answer.version.as_str(), answer.status.as_str()), ("2", "201"), "{answer:?}");
    assert!(answer.body.contains("a=ice-lite"), "{answer:?}");
    let location = answer.body.lines().find_map(|line| line.strip_prefix("location: ")).expect("a Location").trim();
    let deleted = server.curl(&["--http2", "-X", "DELETE", &format!("{base}{}", location.trim_start_matches(&base))]);
    assert_eq!(deleted.status, "200", "{deleted:?}");

    fs::write(server.file("html/hello.txt"), "hello").expect("a file");
    let file = server.curl(&["--http2", "-r", "1-3", &format!("https://localhost:{}/hello.txt", server.https.port())]);
    assert_eq!((file.version.as_str(), file.status.as_str(), file.body.as_str()), ("2", "206", "ell"), "{file:?}");
    // curl sends the dots as they are.
    let beside = format!("https://localhost:{}/../server.key", server.https.port());
    let out = server.curl(&["--http2", "--path-as-is", &beside]);
    assert!(out.status.starts_with('4') && !out.body.contains("PRIVATE"), "{out:?}");
}

#[test]
fn a_certificate_is_replaced_under_running_viewers() {
    let server = Secure::start();
    let _publisher = server.publish("swap");
    let url = format!("https://localhost:{}/live/swap.flv", server.https.port());
    let mut viewers: Vec<_> = [("--http1.1", "one.flv"), ("--http2", "two.flv")]
        .map(|(version, file)| {
            let path = server.file(file);
            let mut command = Command::new("curl");
            command.args(["-sS", version, "-o"]).arg(&path).arg("--cacert").arg(server.file("server.crt")).arg(&url);
            (Client::start("curl plays", &mut command), path)
        })
        .into();
    let size = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
    for (_, path) in &viewers {
        eventually("the viewers play", PATIENCE, || (size(path) > 20_000).then_some(()));
    }
    let first = shown(server.https);
    assert_eq!(first, fingerprint(&format!("cat {}", server.file("server.crt").display())));
    server.renew();
    for addr in [server.https, server.https_api, server.rtmps] {
        eventually("new connections see the new certificate", PATIENCE, || {
            let now = shown(addr);
            (now != first && now == fingerprint(&format!("cat {}", server.file("server.crt").display()))).then_some(())
        });
    }
    for (viewer, path) in &mut viewers {
        let before = size(path);
        eventually("the viewers play on", PATIENCE, || (size(path) > before + 40_000).then_some(()));
        assert!(viewer.is_running());
    }
    // A key that belongs to another certificate is not taken, and the log says why.
    fs::write(server.file("server.key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").expect("a file");
    eventually("the refusal is logged", PATIENCE, || {
        server.log().lines().any(|line| line.contains("WARN") && line.contains("server.key")).then_some(())
    });
    assert_ne!(shown(server.https), first);
    for (viewer, path) in viewers {
        drop(viewer);
        let probe = ["-v", "error", "-count_frames", "-show_entries", "stream=codec_name,nb_read_frames", "-of", "csv=p=0"];
        let seen = Client::start("ffprobe", Command::new("ffprobe").args(probe).arg(&path)).finish(PATIENCE);
        assert!(seen.stdout.contains("h264") && seen.stdout.contains("aac"), "{seen:?}");
    }
}

#[test]
fn ffmpeg_publishes_and_plays_by_rtmps_and_plays_flv_and_ts_by_https() {
    let server = Secure::start();
    let _publisher = server.publish("ff");
    let (rtmps, https) = (server.rtmps.port(), server.https.port());
    let urls = [
        format!("rtmps://localhost:{rtmps}/live/ff"),
        format!("https://localhost:{https}/live/ff.flv"),
        format!("https://localhost:{https}/live/ff.ts"),
    ];
    for url in urls {
        let args = ["-tls_verify", "0", "-t", "3", "-i", &url, "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-"];
        let player = Client::ffmpeg("ffmpeg plays", &args);
        let came = url.rsplit_once('/').expect("it has an app").0;
        eventually(&format!("a player of {came} is listed"), PATIENCE, || {
            let clients = server.api("/api/v1/clients/?count=1000");
            clients["clients"].as_array()?.iter().any(|c| c["publish"] == false && c["tcUrl"] == came).then_some(())
        });
        let played = player.finish(PATIENCE);
        let frames = |stream: &str| played.stdout.lines().filter(|line| line.starts_with(stream)).count();
        assert!(frames("0,") > 50 && frames("1,") > 80, "{url}: {} {}\n{}", frames("0,"), frames("1,"), played.stderr);
    }
    let clients = server.api("/api/v1/clients/?count=1000");
    let publisher = clients["clients"].as_array().expect("a list").iter().find(|client| client["publish"] == true);
    assert!(publisher.expect("it is there")["tcUrl"].as_str().expect("text").starts_with("rtmps://"), "{clients}");
}

#[test]
fn a_browser_publishes_by_whip_over_https() {
    let server = Secure::start_with("self_signed on;");
    let url = format!("https://localhost:{}/rtc/v1/whip/?app=live&stream=page", server.https_api.port());
    let mut browser = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/driver.mjs"))
        .args(["publish", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("node runs");
    server.wait_for_publisher("page");
    let flv = format!("https://localhost:{}/live/page.flv", server.https.port());
    let args = ["-tls_verify", "0", "-t", "3", "-i", &flv, "-map", "0:v", "-f", "framecrc", "-"];
    let played = Client::ffmpeg("ffmpeg plays", &args).finish(PATIENCE);
    drop(browser.stdin.take());
    let ended = Instant::now() + PATIENCE;
    while browser.try_wait().expect("a child").is_none() && Instant::now() < ended {
        std::thread::sleep(Duration::from_millis(50));
    }
    let _gone = browser.kill();
    let _reaped = browser.wait();
    let frames = played.stdout.lines().filter(|line| line.starts_with("0,")).count();
    assert!(frames > 40, "{frames} pictures\n{}", played.stderr);
}

#[test]
fn a43_half_handshakes_keep_nobody_out_and_are_closed() {
    let server = Secure::start();
    // The beginning of a ClientHello: 512 bytes are announced, a few come.
    let half = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let began = Instant::now();
    let crowd: Vec<_> = [server.https, server.https_api, server.rtmps]
        .iter()
        .flat_map(|addr| (0..200).map(move |n| (addr, n)))
        .map(|(addr, n)| {
            let mut stream = TcpStream::connect(addr).expect("accepting waits for nobody");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream.write_all(&half[..n % half.len()]).expect("it is sent");
            stream
        })
        .collect();
    let asked = Instant::now();
    let answer = server.curl(&[&format!("https://localhost:{}/api/v1/versions", server.https.port())]);
    assert_eq!(answer.status, "200", "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(3), "an answer took {:?}", asked.elapsed());
    drop(server.publish("meanwhile"));
    for mut stream in crowd {
        // A byte now and then does not help.
        let _closed_already = stream.write_all(b"\x00");
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it was left open");
    }
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

#[test]
fn one_directive_makes_a_certificate_that_all_listeners_share() {
    let server = Secure::start_with("self_signed on;");
    let all = [server.https, server.https_api, server.rtmps].map(shown);
    assert!(!all[0].is_empty() && all.iter().all(|one| *one == all[0]), "{all:?}");
    assert!(server.log().contains(&all[0]), "its fingerprint is logged:\n{}", server.log());
}

#[test]
fn a_key_of_another_certificate_is_refused_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    write_certificate(dir.path());
    fs::copy(dir.path().join("server.crt"), dir.path().join("first.crt")).expect("a copy");
    write_certificate(dir.path());
    let conf = dir.path().join("weir.conf");
    let (cert, key) = (dir.path().join("first.crt"), dir.path().join("server.key"));
    let text = format!("rtmps {{ enabled on; listen {}; cert {}; key {}; }}\n", free_tcp(), cert.display(), key.display());
    fs::write(&conf, text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).arg("-c").arg(&conf).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() != Some(0) && said.contains("first.crt") && said.contains("server.key"), "{said}");
}

//! Handshakes over a pipe, with certificates that come and go.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::{TlsConnector, client, server};

use super::*;

const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    /// A pair for `localhost`, and its certificate.
    fn new() -> (Self, CertificateDer<'static>) {
        let files = Self { dir: tempfile::tempdir().unwrap() };
        let der = files.write();
        (files, der)
    }

    fn identity(&self) -> Identity {
        Identity::Files { cert: self.dir.path().join("cert.pem"), key: self.dir.path().join("key.pem") }
    }

    /// Writes another pair over the one before.
    fn write(&self) -> CertificateDer<'static> {
        write(self.dir.path())
    }
}

fn write(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn door(live: &Arc<LiveCertificate>) -> TlsDoor {
    TlsDoor::http(Arc::clone(live), Arc::default()).unwrap()
}

/// A client that trusts this certificate and no other.
fn client(trusted: &CertificateDer<'static>, protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(certificate::provider())).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Why handshakes failed, and how often.
fn failures(stats: &TlsStats) -> BTreeMap<&'static str, u64> {
    stats.failed().filter(|(_, count)| *count > 0).collect()
}

type Ends = (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>);

async fn shake(door: &TlsDoor, client: &TlsConnector) -> Result<Ends, std::io::Error> {
    let (near, far) = duplex(64 << 10);
    let name = "localhost".try_into().unwrap();
    let (client, server) = tokio::join!(client.connect(name, near), door.enter(far, LOOPBACK));
    Ok((client?, server?))
}

#[tokio::test]
async fn a_new_certificate_is_for_new_handshakes_and_ends_no_connection() {
    let (files, first) = Files::new();
    let live = LiveCertificate::load(files.identity()).unwrap();
    let door = door(&live);
    let (mut near, mut far) = shake(&door, &client(&first, &[])).await.unwrap();
    assert!(!live.reload().unwrap(), "nothing has changed");
    let before = live.facts();
    let second = files.write();
    assert!(live.reload().unwrap());
    assert_ne!(live.facts().fingerprint, before.fingerprint);
    assert!(shake(&door, &client(&first, &[])).await.is_err(), "the old one is not shown any more");
    shake(&door, &client(&second, &[])).await.unwrap();
    far.write_all(b"still here").await.unwrap();
    far.flush().await.unwrap();
    let mut heard = [0; 10];
    near.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
}

#[tokio::test]
async fn a_broken_pair_leaves_the_one_before() {
    let (files, first) = Files::new();
    let live = LiveCertificate::load(files.identity()).unwrap();
    let before = live.facts();
    let key = files.dir.path().join("key.pem");
    let other = tempfile::tempdir().unwrap();
    write(other.path());
    fs::copy(other.path().join("key.pem"), &key).unwrap();
    let error = live.reload().unwrap_err();
    assert!(matches!(error, TlsError::Pair { .. }) && error.to_string().contains("key.pem"), "{error}");
    fs::write(&key, "no key\n").unwrap();
    let error = live.reload().unwrap_err();
    assert!(matches!(error, TlsError::Pem { what: "private key", .. }), "{error}");
    fs::remove_file(&key).unwrap();
    assert!(matches!(live.reload().unwrap_err(), TlsError::Read { .. }));
    assert_eq!(live.facts(), before);
    shake(&door(&live), &client(&first, &[])).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_followed() {
    let (files, _first) = Files::new();
    let live = LiveCertificate::load(files.identity()).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&live).watch(stop.clone()));
    let before = live.facts();
    // The certificate alone does not go with the key, until that is written too.
    let other = tempfile::tempdir().unwrap();
    write(other.path());
    fs::copy(other.path().join("cert.pem"), files.dir.path().join("cert.pem")).unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(live.facts(), before);
    fs::copy(other.path().join("key.pem"), files.dir.path().join("key.pem")).unwrap();
    while live.facts() == before {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_know_it() {
    let (files, trusted) = Files::new();
    let live = LiveCertificate::load(files.identity()).unwrap();
    for (offered, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let (_near, far) = shake(&door(&live), &client(&trusted, offered)).await.unwrap();
        assert_eq!(far.get_ref().1.alpn_protocol(), chosen);
    }
    let rtmp = TlsDoor::rtmp(live, Arc::default()).unwrap();
    let (_near, far) = shake(&rtmp, &client(&trusted, &[b"anything"])).await.unwrap();
    assert_eq!(far.get_ref().1.alpn_protocol(), None);
}

#[tokio::test]
async fn a43_half_a_handshake_ends_in_time() {
    let (files, _) = Files::new();
    let stats = Arc::<TlsStats>::default();
    let live = LiveCertificate::load(files.identity()).unwrap();
    let door = TlsDoor::http(live, Arc::clone(&stats)).unwrap().with_timeout(Duration::from_millis(50));
    for half in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let (mut near, far) = duplex(1 << 10);
        near.write_all(half).await.unwrap();
        let error = door.enter(far, LOOPBACK).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
    let (mut near, far) = duplex(1 << 10);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(door.enter(far, LOOPBACK).await.is_err());
    assert_eq!(failures(&stats), BTreeMap::from([("timeout", 3), ("no_tls", 1)]));
}

#[tokio::test(start_paused = true)]
async fn a43_one_address_holds_its_share_of_the_half_handshakes_only() {
    let (files, trusted) = Files::new();
    let stats = Arc::<TlsStats>::default();
    let door = TlsDoor::http(LiveCertificate::load(files.identity()).unwrap(), Arc::clone(&stats)).unwrap();
    let mut held = Vec::new();
    for _ in 0..512 {
        let (near, far) = duplex(64);
        let door = door.clone();
        held.push((near, tokio::spawn(async move { door.enter(far, [192, 0, 2, 1].into()).await.map(drop) })));
    }
    // The clock moves once all of them wait.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (_near, far) = duplex(64);
    let refused = door.enter(far, [192, 0, 2, 1].into()).await.unwrap_err();
    assert!(refused.to_string().contains("too many"), "{refused}");
    shake(&door, &client(&trusted, &[])).await.expect("others are let in");
    assert_eq!((stats.completed(), failures(&stats)), (1, BTreeMap::from([("address", 1)])));
}

#[tokio::test]
async fn a_failed_handshake_is_counted_under_its_reason() {
    let ((files, _trusted), (_others, other)) = (Files::new(), Files::new());
    let stats = Arc::<TlsStats>::default();
    let door = TlsDoor::http(LiveCertificate::load(files.identity()).unwrap(), Arc::clone(&stats)).unwrap();
    assert!(shake(&door, &client(&other, &[])).await.is_err(), "it does not trust the certificate");
    let mut near = Vec::new();
    for begun in [&b"\x16\x03\x01"[..], b""] {
        let (mut end, far) = duplex(1 << 10);
        end.write_all(begun).await.unwrap();
        drop(end);
        near.push(door.enter(far, LOOPBACK).await.unwrap_err());
    }
    assert_eq!(failures(&stats), BTreeMap::from([("alert", 1), ("lost", 2)]), "{near:?}");
}

#[test]
fn the_self_signed_certificate_is_one_for_all_listeners() {
    let [one, other] = [(); 2].map(|()| LiveCertificate::load(Identity::SelfSigned).unwrap().facts());
    assert_eq!(one, other);
    assert_eq!(one.fingerprint.len(), 32 * 3 - 1);
    let days = one.remaining(std::time::SystemTime::now()).as_secs() / 86_400;
    assert!((364..=365).contains(&days), "{days}");
}

#[tokio::test]
async fn sections_come_change_and_go_without_the_others() {
    let ((files, _), (others, second)) = (Files::new(), Files::new());
    let all = Certificates::default();
    let wanted = |api: Identity| Identities::from([("http_api", api), ("rtmps", Identity::SelfSigned)]);
    all.set(&wanted(files.identity())).unwrap();
    let door = all.http_door("http_api").unwrap();
    all.set(&wanted(others.identity())).unwrap();
    shake(&door, &client(&second, &[])).await.expect("a listener that was there shows the new one");
    fs::remove_file(files.dir.path().join("key.pem")).unwrap();
    assert!(all.set(&wanted(files.identity())).is_err());
    assert_eq!(all.identities(), wanted(others.identity()), "all or nothing");
    shake(&door, &client(&second, &[])).await.unwrap();
    all.set(&Identities::from([("rtmps", Identity::SelfSigned)])).unwrap();
    assert!(all.http_door("http_api").is_none() && all.rtmp_door("rtmps").is_some());
    assert_eq!(all.facts().len(), 1);
}

#[tokio::test]
async fn an_acme_authority_gets_no_certificate_but_its_proof() {
    let (files, trusted) = Files::new();
    let live = LiveCertificate::load(files.identity()).unwrap();
    let challenges = Challenges::new(Arc::default());
    let doors = [TlsDoor::http(Arc::clone(&live), Arc::default()), TlsDoor::rtmp(live, Arc::default())];
    for door in doors.map(|door| door.unwrap().proving(&challenges).unwrap()) {
        assert!(shake(&door, &client(&trusted, &[b"acme-tls/1"])).await.is_err(), "no order is under way");
        // Whoever offers more is no authority.
        shake(&door, &client(&trusted, &[b"http/1.1", b"acme-tls/1"])).await.unwrap();
        shake(&door, &client(&trusted, &[])).await.unwrap();
    }
}

#[tokio::test]
async fn a_kept_acme_certificate_is_shown_and_a_self_signed_one_without() {
    let (files, trusted) = Files::new();
    let config = AcmeConfig {
        domains: vec!["localhost".to_owned()],
        email: None,
        cache: files.dir.path().join("acme"),
        directory: "https://localhost:1/dir".to_owned(),
        ca: None,
    };
    let identity = || Identity::Acme(Arc::new(config.clone()));
    let self_signed = LiveCertificate::load(Identity::SelfSigned).unwrap().facts();
    LiveCertificate::check(&identity()).unwrap();
    assert_eq!(LiveCertificate::load(identity()).unwrap().facts(), self_signed);
    let [key, cert] = ["key.pem", "cert.pem"].map(|name| fs::read(files.dir.path().join(name)).unwrap());
    fs::write(config.certificate_file(), [key, cert].concat()).unwrap();
    let live = LiveCertificate::load(identity()).unwrap();
    shake(&door(&live), &client(&trusted, &[])).await.unwrap();
    fs::write(config.certificate_file(), "nothing of the kind").unwrap();
    assert!(!live.reload().unwrap(), "what is shown is newer than what is on disk");
    assert_eq!(LiveCertificate::load(identity()).unwrap().facts(), self_signed);
}

#[test]
fn an_acme_folder_or_authority_that_cannot_be_used_is_said_before_the_start() {
    let (files, _) = Files::new();
    let path = |name: &str| files.dir.path().join(name);
    let config = |cache: &str, ca: Option<&str>| AcmeConfig {
        domains: vec!["localhost".to_owned()],
        email: None,
        cache: path(cache),
        directory: "https://localhost:1/dir".to_owned(),
        ca: ca.map(path),
    };
    let check = |config| LiveCertificate::check(&Identity::Acme(Arc::new(config)));
    check(config("acme", Some("cert.pem"))).unwrap();
    assert!(matches!(check(config("cert.pem", None)).unwrap_err(), TlsError::Cache { .. }));
    assert!(matches!(check(config("acme", Some("nowhere.pem"))).unwrap_err(), TlsError::Read { .. }));
    assert!(matches!(check(config("acme", Some("key.pem"))).unwrap_err(), TlsError::Pem { .. }));
}

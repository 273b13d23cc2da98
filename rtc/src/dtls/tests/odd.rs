//! Certificates that no browser makes. The files in `odd/` hold one each and the key that goes with
//! it, or claims to; the keys are of no use to anybody.
//!
//! What is taken and what is not: WebRTC's certificates are signed by nobody, the fingerprint in the
//! offer is what they stand on (RFC 8827 section 6.5, RFC 8122 section 6). Their dates therefore say
//! nothing, and an expired one is as good as another. A key that cannot be read proves nothing.

use super::*;

/// What a peer's certificate may cost us, of processor time, whatever it is.
const CPU_MAX: Duration = Duration::from_millis(50);

fn odd(pem: &str) -> Certificate {
    let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
    Certificate::from_pem(pem, provider.crypto()).expect("a key and a certificate")
}

/// Our passive side, which counts what it costs.
struct Weighed {
    ours: Ours,
    spent: Duration,
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Peer for Weighed {
    fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        let began = cpu_time();
        self.ours.handle_datagram(now, data);
        self.spent += cpu_time() - began;
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.ours.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.ours.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.ours.poll_transmit()
    }
}

/// A handshake with a client that announces this certificate and shows it.
fn shake(certificate: Certificate) -> Ours {
    let now = Instant::now();
    let mut client = Theirs::with(now, &[SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm], Some(certificate));
    let server = Dtls::new(&Identity::generate().unwrap(), DtlsRole::Passive, client.fingerprint.clone(), now);
    let mut server = Weighed { ours: Ours::new(server), spent: Duration::ZERO };
    Link::perfect(now).run(&mut server, &mut client, Duration::from_secs(20));
    assert!(server.spent <= CPU_MAX, "{:?}", server.spent);
    assert_eq!(server.ours.keys.is_some(), client.is_complete && client.failed.is_none());
    server.ours
}

#[test]
fn a15_the_dates_of_a_certificate_that_was_announced_do_not_matter() {
    for pem in [include_str!("odd/expired.pem"), include_str!("odd/not-yet.pem")] {
        assert!(shake(odd(pem)).keys.is_some());
    }
}

#[test]
fn an_rsa_key_of_common_size_is_taken() {
    assert!(shake(odd(include_str!("odd/rsa2048.pem"))).keys.is_some());
}

/// The curve's parameters are spelt out in the certificate (the way to CVE-2022-0778). Nobody reads them:
/// the key is a point of P-256 or of nothing.
#[test]
fn a15_parameters_of_a_curve_are_not_read() {
    assert!(shake(odd(include_str!("odd/explicit.pem"))).keys.is_some());
}

#[test]
fn a15_a_key_of_16384_bits_is_refused_at_once() {
    let server = shake(odd(include_str!("odd/rsa16384.pem")));
    assert!(matches!(server.failure(), Some(DtlsError::Handshake(_))), "{:?} {}", server.end, server.keys.is_some());
}

#[test]
fn a15_a_chain_of_64_kib_is_not_read_and_a_short_one_counts_for_its_first() {
    let mut short = odd(include_str!("odd/expired.pem"));
    short.certificate.push(odd(include_str!("odd/rsa2048.pem")).certificate.remove(0));
    assert!(shake(short.clone()).keys.is_some());
    let more = odd(include_str!("odd/rsa16384.pem")).certificate.remove(0);
    short.certificate.extend(std::iter::repeat_n(more, 40));
    assert!(short.certificate.iter().map(|der| der.len()).sum::<usize>() > 64 * 1_024);
    let server = shake(short);
    assert!(server.keys.is_none() && server.failure().is_some(), "{:?}", server.end);
}

//! Two peers in virtual time over a link that loses, doubles, delays and cuts.

mod abuse;
mod handshake;
mod link;
mod odd;
mod units;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::crypto::RTCCryptoProvider;
use rtc::crypto::providers::AwsLcRsProvider;
use rtc::dtls::config::ConfigBuilder;
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;

use self::link::{Link, Peer};
use super::engine::*;
use super::keys::*;
use super::*;
use crate::{
    sdp::{DtlsRole, Fingerprint, HashAlgorithm},
    srtp::SrtpProfile,
};

fn announce(identity: &Identity) -> Vec<Fingerprint> {
    let digest = identity.fingerprint_sha256().split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    vec![Fingerprint { algorithm: HashAlgorithm::Sha256, digest }]
}

/// Our passive side and our active side, each knowing the other.
fn ours(now: Instant) -> (Ours, Ours) {
    let (server, client) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    (
        Ours::new(Dtls::new(&server, DtlsRole::Passive, announce(&client), now)),
        Ours::new(Dtls::new(&client, DtlsRole::Active, announce(&server), now)),
    )
}

/// One of ours with what it told.
struct Ours {
    dtls: Dtls,
    keys: Option<KeyingMaterial>,
    end: Option<Result<(), DtlsError>>,
}

impl Ours {
    fn new(dtls: Dtls) -> Self {
        Self { dtls, keys: None, end: None }
    }

    fn drain_events(&mut self) {
        while let Some(event) = self.dtls.poll_event() {
            assert!(self.end.is_none(), "nothing follows the last event");
            match event {
                DtlsEvent::Connected(keys) => assert!(self.keys.replace(keys).is_none(), "connected once"),
                DtlsEvent::Closed => self.end = Some(Ok(())),
                DtlsEvent::Failed(error) => self.end = Some(Err(error)),
            }
        }
    }

    fn failure(&self) -> Option<&DtlsError> {
        self.end.as_ref().and_then(|end| end.as_ref().err())
    }
}

impl Peer for Ours {
    fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        self.dtls.handle_datagram(now, data);
        self.drain_events();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.dtls.handle_timeout(now);
        self.drain_events();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.dtls.poll_timeout()
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let datagram = self.dtls.poll_transmit()?;
        assert!(datagram.len() <= 1_200, "{} bytes", datagram.len());
        Some(datagram.to_vec())
    }
}

/// The library alone as the peer, a client with its own mind about profiles.
struct Theirs {
    endpoint: Endpoint,
    fingerprint: Vec<Fingerprint>,
    is_complete: bool,
    is_closed: bool,
    failed: Option<String>,
}

const US: std::net::SocketAddr = std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1)), 4433);

impl Theirs {
    fn client(now: Instant, profiles: &[SrtpProtectionProfile], has_certificate: bool) -> Self {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let certificate = Certificate::generate_self_signed(vec!["them".to_owned()], provider.crypto()).unwrap();
        Self::with(now, profiles, has_certificate.then_some(certificate))
    }

    /// A client that shows this certificate.
    fn with(now: Instant, profiles: &[SrtpProtectionProfile], certificate: Option<Certificate>) -> Self {
        let provider: Arc<dyn RTCCryptoProvider> = Arc::new(AwsLcRsProvider::new());
        let der = certificate.as_ref().map(|certificate| &certificate.certificate[0][..]).unwrap_or_default();
        let digest = digest_of(der, HashAlgorithm::Sha256).as_ref().to_vec();
        let mut builder = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_srtp_protection_profiles(profiles.to_vec())
            .with_insecure_skip_verify(true)
            .with_flight_interval(Duration::from_millis(60))
            .with_server_name("localhost".to_owned());
        if let Some(certificate) = certificate {
            builder = builder.with_certificates(vec![certificate]);
        }
        let mut endpoint = Endpoint::new(US, TransportProtocol::UDP, None);
        endpoint.connect(now, US, Arc::new(builder.build(true, None).unwrap()), None).unwrap();
        let fingerprint = vec![Fingerprint { algorithm: HashAlgorithm::Sha256, digest }];
        Self { endpoint, fingerprint, is_complete: false, is_closed: false, failed: None }
    }

    /// The keys as the client sees them.
    fn keys(&self, profile: SrtpProfile) -> KeyingMaterial {
        let state = self.endpoint.get_connection_state(US).unwrap();
        let exported = state.export_keying_material(EXPORTER_LABEL, &[], KeyingMaterial::export_len(profile)).unwrap();
        KeyingMaterial::split(profile, DtlsRole::Active, &exported).unwrap()
    }
}

impl Peer for Theirs {
    fn handle_datagram(&mut self, now: Instant, data: &[u8]) {
        if self.is_closed || self.failed.is_some() {
            return;
        }
        match self.endpoint.read(now, US, None, data.into()) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.is_complete = true,
                        EndpointEvent::PeerClosed => self.is_closed = true,
                        _ => {}
                    }
                }
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.failed.is_none()
            && let Err(error) = self.endpoint.handle_timeout(US, now)
        {
            self.failed = Some(error.to_string());
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.failed.is_some() { None } else { self.endpoint.poll_timeout(&US) }
    }

    fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.endpoint.poll_transmit().map(|transmit| transmit.message.to_vec())
    }
}

fn assert_agreed(a: &KeyingMaterial, b: &KeyingMaterial) {
    assert_eq!(a.profile, b.profile);
    assert_eq!((&a.local_key, &a.local_salt), (&b.remote_key, &b.remote_salt));
    assert_eq!((&b.local_key, &b.local_salt), (&a.remote_key, &a.remote_salt));
    assert_ne!(a.local_key, a.remote_key);
    assert_eq!((a.local_key.len(), a.local_salt.len()), (a.profile.key_len(), a.profile.salt_len()));
}

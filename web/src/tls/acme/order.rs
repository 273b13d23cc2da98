//! One order of a certificate, step by step as RFC 8555 section 7.1 has them.
//!
//! Messages and signatures are those of `rustls_acme`. The order of the steps is here, because each
//! request may have to be sent again: authorities refuse a nonce now and then.

use std::{future::Future, sync::Arc, time::Duration};

use rustls::ClientConfig;
use rustls_acme::acme::{Account, AcmeError, Auth, AuthStatus, Directory, Identifier, Order, OrderStatus};
use tokio::time::sleep;
use tracing::debug;

use super::{AcmeConfig, Challenges};

/// How often a request is sent whose nonce was refused. Where every fourth is, as pebble can be told, one
/// order in five thousand is lost by it.
const NONCE_TRIES: u32 = 8;
/// What a refused nonce is called (RFC 8555 section 6.5).
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// How often it is asked whether a name was looked at: at once and after 1, 2, 4 ... seconds, half a minute
/// in all.
const LOOKS_AT_NAME: u32 = 6;
/// The same for the order as a whole, a quarter of an hour: it ends before.
const LOOKS_AT_ORDER: u32 = 11;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("{0}")]
    Acme(#[from] AcmeError),
    #[error("no key or request could be made: {0}")]
    Request(#[from] rcgen::Error),
    #[error("it refused the order: {0:?}")]
    Refused(Box<Order>),
    #[error("the proof for a name was not accepted: {0:?}")]
    Unproven(Box<Auth>),
    #[error("it did not decide about {0} in time")]
    Undecided(String),
    #[error("it did not issue in time")]
    Unissued,
}

/// Who asks whom.
pub(super) struct Orderer {
    pub(super) config: Arc<AcmeConfig>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) challenges: Arc<Challenges>,
}

impl Orderer {
    /// A new key and the chain that was issued for it, PEM.
    pub(super) async fn order(&self, account_key: &[u8]) -> Result<Vec<u8>, OrderError> {
        let Self { config, tls, .. } = self;
        let contact: Vec<String> = config.email.iter().map(|email| format!("mailto:{email}")).collect();
        let account = again(|| async {
            let directory = Directory::discover(tls, &config.directory).await?;
            Account::create_with_keypair(tls, directory, &contact, account_key).await
        });
        let account = account.await?;
        let mut request = rcgen::CertificateParams::new(config.domains.clone())?;
        request.distinguished_name = rcgen::DistinguishedName::new();
        let key = rcgen::KeyPair::generate()?;
        let request = request.serialize_request(&key)?;

        let (url, mut order) = again(|| account.new_order(tls, config.domains.clone())).await?;
        for look in 0..LOOKS_AT_ORDER {
            order = match order.status {
                OrderStatus::Pending => {
                    // One after the other: there is one place for proofs.
                    for name in &order.authorizations {
                        self.prove(&account, name).await?;
                    }
                    again(|| account.order(tls, &url)).await?
                }
                OrderStatus::Ready => again(|| account.finalize(tls, &order.finalize, request.der())).await?,
                OrderStatus::Processing => {
                    pause_before(look).await;
                    again(|| account.order(tls, &url)).await?
                }
                OrderStatus::Valid { certificate } => {
                    let chain = again(|| account.certificate(tls, &certificate)).await?;
                    return Ok(format!("{}\n{chain}", key.serialize_pem()).into_bytes());
                }
                OrderStatus::Invalid => return Err(OrderError::Refused(Box::new(order))),
            };
        }
        Err(OrderError::Unissued)
    }

    /// Shows the authority that a name is ours, where it does not know yet.
    async fn prove(&self, account: &Account, url: &str) -> Result<(), OrderError> {
        let mut shown = None;
        for look in 0..LOOKS_AT_NAME {
            pause_before(look).await;
            let auth = again(|| account.auth(&self.tls, url)).await?;
            match auth.status {
                AuthStatus::Valid => return Ok(()),
                AuthStatus::Pending => {}
                _ => return Err(OrderError::Unproven(Box::new(auth))),
            }
            // Told once that it is there (section 7.5.1); what comes after are looks.
            if shown.is_none() {
                let Identifier::Dns(name) = auth.identifier.clone();
                let (challenge, proof) = account.tls_alpn_01(&auth.challenges, name.clone())?;
                shown = Some(self.challenges.show(name, proof));
                again(|| account.challenge(&self.tls, &challenge.url)).await?;
            }
        }
        Err(OrderError::Undecided(url.to_owned()))
    }
}

/// None before the first look, then 1, 2, 4 ... seconds.
async fn pause_before(look: u32) {
    if let Some(doublings) = look.checked_sub(1) {
        sleep(Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(doublings))).await;
    }
}

/// Asks, and again with a fresh nonce while that is what is wrong: "the client SHOULD retry the request"
/// (RFC 8555 section 6.5).
async fn again<T, F: Future<Output = Result<T, AcmeError>>>(mut ask: impl FnMut() -> F) -> Result<T, AcmeError> {
    for _ in 1..NONCE_TRIES {
        match ask().await {
            Err(error) if is_bad_nonce(&error) => debug!("the ACME authority refuses a nonce; the request is sent again"),
            answer => return answer,
        }
    }
    ask().await
}

/// The error holds the answer's text.
fn is_bad_nonce(error: &AcmeError) -> bool {
    matches!(error, AcmeError::HttpRequest(_)) && error.to_string().contains(BAD_NONCE)
}

//! JSON Web Tokens (RFC 7519): the keys that may have signed one, and what it says.
//!
//! Each key has the one algorithm that it was configured for. A token names its own in its header, but
//! that only picks among the keys: it cannot make a public key a secret (RFC 8725 section 2.1), and
//! `none` has no key.

use std::{fmt, net::IpAddr};

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;
use weir_source::StreamKey;

use super::{Network, pattern, security::Action};

/// RFC 7518 section 3.2 wants a key as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
/// The longest token that is looked at; real ones take some hundred bytes, with an RSA signature 900.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Keys of one set. Each is tried on tokens that name none, a few µs each.
const KEYS_MAX: usize = 32;
/// How far clocks may differ, in seconds, for `exp` and `nbf` (F50).
pub(super) const LEEWAY_S: u64 = 60;
/// What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410 section 4).
const ED25519_HEAD: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A key that tokens may be signed with.
#[derive(Clone)]
pub struct TokenKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    digest: [u8; 32],
}

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// The secret could be guessed.
    #[error("the secret must have at least {SECRET_BYTES_MIN} bytes: make one with 'openssl rand -hex 32'")]
    ShortSecret,
    /// The text holds no Ed25519 public key.
    #[error("it holds no Ed25519 public key in PEM: make it with 'openssl pkey -in KEY.pem -pubout'")]
    NotEd25519,
    /// The text is no JWK set.
    #[error("it is no JWK set (RFC 7517)")]
    NotJwks,
    /// The set has no key that could be used, or too many.
    #[error("the set must have 1 to {KEYS_MAX} keys for signatures")]
    NoKey,
}

impl TokenKey {
    /// A secret for HS256.
    ///
    /// # Errors
    ///
    /// [`KeyFault::ShortSecret`].
    pub fn secret(text: &str) -> Result<Self, KeyFault> {
        if text.len() < SECRET_BYTES_MIN {
            return Err(KeyFault::ShortSecret);
        }
        let key = DecodingKey::from_secret(text.as_bytes()).map_err(|_| KeyFault::ShortSecret)?;
        Ok(Self::new(None, Algorithm::HS256, key, text.as_bytes()))
    }

    /// A public key for EdDSA, as PEM.
    ///
    /// # Errors
    ///
    /// [`KeyFault::NotEd25519`].
    pub fn ed25519(pem: &str) -> Result<Self, KeyFault> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyFault::NotEd25519)?;
        let key = der.strip_prefix(ED25519_HEAD).filter(|key| key.len() == 32).ok_or(KeyFault::NotEd25519)?;
        Ok(Self::new(None, Algorithm::EdDSA, DecodingKey::from_ed_der(key), key))
    }

    /// All keys of a JWK set that can be used for signatures. Others are left out, as RFC 7517 section 5
    /// wants.
    ///
    /// # Errors
    ///
    /// [`KeyFault`].
    pub fn jwks(json: &str) -> Result<Vec<Self>, KeyFault> {
        let set: JwkSet = serde_json::from_str(json).map_err(|_| KeyFault::NotJwks)?;
        let keys: Vec<Self> = set.keys.iter().filter_map(Self::of_jwk).collect();
        if (1..=KEYS_MAX).contains(&keys.len()) { Ok(keys) } else { Err(KeyFault::NoKey) }
    }

    fn of_jwk(jwk: &Jwk) -> Option<Self> {
        if jwk.common.public_key_use.as_ref().is_some_and(|purpose| *purpose != PublicKeyUse::Signature) {
            return None;
        }
        let algorithm = match jwk.common.key_algorithm {
            Some(named) => Algorithm::try_from(named).ok()?,
            None => usual_algorithm(&jwk.algorithm)?,
        };
        let key = DecodingKey::from_jwk(jwk).ok().filter(|key| key.family() == algorithm.family())?;
        let is_short = |key: &DecodingKey| key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() < SECRET_BYTES_MIN);
        if algorithm.family() == AlgorithmFamily::Hmac && is_short(&key) {
            return None;
        }
        let text = serde_json::to_vec(jwk).ok()?;
        Some(Self::new(jwk.common.key_id.clone(), algorithm, key, &text))
    }

    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey, text: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest(&SHA256, text).as_ref());
        Self { id, algorithm, key, digest: sum }
    }

    /// Whether a token with this header may be signed with it. A key without a name may be any.
    fn may_be(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let same_id = match (self.id.as_deref(), id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        self.algorithm == algorithm && same_id
    }
}

/// Of a key that does not say (`alg` is optional in RFC 7517 section 4.4).
fn usual_algorithm(parameters: &AlgorithmParameters) -> Option<Algorithm> {
    match parameters {
        AlgorithmParameters::OctetKey(_) => Some(Algorithm::HS256),
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Some(Algorithm::ES256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => Some(Algorithm::ES384),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Some(Algorithm::EdDSA),
        _ => None,
    }
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.algorithm, self.digest) == (&other.id, other.algorithm, other.digest)
    }
}

impl Eq for TokenKey {}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What is asked of every token of a vhost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The keys that may have signed it.
    pub keys: Vec<TokenKey>,
    /// It must say when it expires. Default on.
    pub require_expiry: bool,
    /// Its `aud` must be this. A token that has one is refused where none is set (RFC 7519
    /// section 4.1.3).
    pub audience: Option<String>,
    /// Its `iss` must be this.
    pub issuer: Option<String>,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self { keys: Vec::new(), require_expiry: true, audience: None, issuer: None }
    }
}

/// What a valid token says.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    stream: Option<Patterns>,
    action: Option<String>,
    ip: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Patterns {
    One(String),
    Many(Vec<String>),
}

impl JwtConfig {
    /// Reads a token. `None`: its signature, its times or its form are not valid. `lasts`: one that has
    /// expired will do.
    pub(super) fn read(&self, token: &str, lasts: bool) -> Option<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        let keys = self.keys.iter().filter(|key| key.may_be(header.alg, header.kid.as_deref()));
        let read = |key: &TokenKey| decode::<Claims>(token, &key.key, &self.validation(key.algorithm, lasts)).ok();
        keys.filter_map(read).map(|token| token.claims).next()
    }

    fn validation(&self, algorithm: Algorithm, lasts: bool) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.validate_exp = !lasts;
        validation.required_spec_claims.clear();
        if self.require_expiry {
            validation.required_spec_claims.insert("exp".to_owned());
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        validation
    }
}

impl Claims {
    /// Whose it is.
    pub(super) fn subject(&self) -> Option<&str> {
        self.sub.as_deref()
    }

    /// The stream is one of `stream`, or where that is not there the one of `sub`.
    pub(super) fn names(&self, key: &StreamKey) -> bool {
        match &self.stream {
            Some(Patterns::One(one)) => pattern::covers(one, key),
            Some(Patterns::Many(many)) => many.iter().any(|one| pattern::covers(one, key)),
            None => self.sub.as_deref().is_some_and(|subject| pattern::covers(subject, key)),
        }
    }

    /// It is for this `action`. One that names none is for playing: a token that is given to every
    /// viewer must not let them publish because somebody forgot a word.
    pub(super) fn permits(&self, action: Action) -> bool {
        match self.action.as_deref() {
            Some("both") => true,
            Some("publish") => action == Action::Publish,
            Some("play") | None => action == Action::Play,
            Some(_) => false,
        }
    }

    /// It is for a client there.
    pub(super) fn is_for(&self, ip: IpAddr) -> bool {
        self.ip.as_deref().is_none_or(|text| text.parse::<Network>().is_ok_and(|network| network.contains(ip)))
    }
}

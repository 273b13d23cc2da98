//! `token`: what publishers and players must show.

use std::{fs::File, io::Read as _, path::Path};

use weir_web::access::{JwtConfig, TokenConfig, TokenKey, UrlKey};

use super::{
    settings::{Settings, View},
    table::{Kind, Row},
};

/// The largest key file that is read; a set of 32 RSA keys takes some 16 KiB.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

pub(super) const ROWS: &[Row] = &[
    Row::block("vhost.token", "What publishers and players must show: a JSON Web Token or a signed URL"),
    Row::new("vhost.token.enabled", Kind::Flag, "off", "Ask for it"),
    Row::new("vhost.token.publish", Kind::Flag, "on", "Publishers must show one"),
    Row::new("vhost.token.play", Kind::Flag, "off", "Players must show one"),
    Row::new(
        "vhost.token.query",
        Kind::Flag,
        "on",
        "Take it from the query of HTTP URLs too, as token= or as expires= and sign=; from RTMP's always",
    ),
    Row::new(
        "vhost.token.secret",
        Kind::Checked(secret),
        "",
        "For HS256 and signed URLs, 32 bytes or more; better in a file or in the environment",
    ),
    Row::new("vhost.token.secret_file", Kind::Checked(secret_file), "", "A file with the secret"),
    Row::new("vhost.token.public_key", Kind::Checked(public_key), "", "A file with an Ed25519 public key in PEM, for EdDSA"),
    Row::new("vhost.token.jwks", Kind::Checked(jwks), "", "A file with a JWK set; read again with the configuration"),
    Row::new("vhost.token.require_expiry", Kind::Flag, "on", "Tokens must have exp"),
    Row::new("vhost.token.audience", Kind::Text, "", "Tokens must have this aud"),
    Row::new("vhost.token.issuer", Kind::Text, "", "Tokens must have this iss"),
];

/// `None`: off. A key that cannot be read any more is one fewer: nobody gets in by it.
pub(super) fn read(settings: &Settings, vhost: &str) -> Option<TokenConfig> {
    let view = settings.vhost(vhost, "vhost.token");
    let some = |name| Some(view.text(name)).filter(|text| !text.is_empty());
    let secret = some("secret").or_else(|| text_of(&some("secret_file")?).ok());
    let jwt = JwtConfig {
        keys: keys(&view, secret.as_deref()),
        require_expiry: view.flag("require_expiry"),
        audience: some("audience"),
        issuer: some("issuer"),
    };
    let config = TokenConfig {
        publish: view.flag("publish"),
        play: view.flag("play"),
        query: view.flag("query"),
        jwt,
        url_key: secret.as_deref().map(UrlKey::new),
    };
    view.flag("enabled").then_some(config)
}

fn keys(view: &View<'_>, secret: Option<&str>) -> Vec<TokenKey> {
    let of_file = |name| text_of(&view.text(name)).ok();
    let secret = secret.and_then(|secret| TokenKey::secret(secret).ok());
    let public = of_file("public_key").and_then(|pem| TokenKey::ed25519(&pem).ok());
    let set = of_file("jwks").and_then(|json| TokenKey::jwks(&json).ok()).unwrap_or_default();
    secret.into_iter().chain(public).chain(set).collect()
}

fn secret(word: &str) -> Result<(), String> {
    TokenKey::secret(word).map(drop).map_err(|fault| fault.to_string())
}

fn secret_file(path: &str) -> Result<(), String> {
    secret(&text_of(path)?).map_err(|fault| format!("{path}: {fault}"))
}

fn public_key(path: &str) -> Result<(), String> {
    TokenKey::ed25519(&text_of(path)?).map(drop).map_err(|fault| format!("{path}: {fault}"))
}

fn jwks(path: &str) -> Result<(), String> {
    TokenKey::jwks(&text_of(path)?).map(drop).map_err(|fault| format!("{path}: {fault}"))
}

/// Without the newline that editors put at the end.
fn text_of(path: &str) -> Result<String, String> {
    let read = || {
        // A device or a pipe could keep the server from starting for ever.
        let metadata = std::fs::metadata(Path::new(path))?;
        if !metadata.is_file() || metadata.len() > KEY_FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is no file of at most 64 KiB"));
        }
        let mut text = String::new();
        File::open(path)?.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    read().map(|text| text.trim_end().to_owned()).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_are_checked_when_the_configuration_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        assert_eq!(secret_file(&file("good", "0123456789abcdef0123456789abcdef\n")), Ok(()));
        for path in [file("short", "x"), file("large", &"x".repeat(1 << 20)), "/nonexistent".to_owned(), "/dev/zero".to_owned()] {
            let error = secret_file(&path).unwrap_err();
            assert!(error.starts_with(&path), "{error}");
        }
        assert!(public_key(&file("no.pem", "x")).unwrap_err().contains("Ed25519"));
        assert!(jwks(&file("no.json", "{}")).unwrap_err().contains("JWK set"));
        assert!(secret("short").unwrap_err().contains("openssl rand"), "it says how to make one");
    }
}

//! Account and certificate on disk: whole or not at all, and for nobody else to read.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use rustls_acme::{AccountCache, CertCache};

use super::{
    super::{TlsError, certificate::Certificate},
    AcmeConfig,
};

/// Told of each certificate that was issued, before it is on disk.
pub(in crate::tls) type Show = Box<dyn Fn(Arc<Certificate>) + Send + Sync>;

/// What the ACME client keeps.
pub(super) struct Store {
    certificate: PathBuf,
    account: PathBuf,
    /// What was issued last, as it is written.
    issued: ArcSwapOption<Issued>,
    /// It could not be written.
    is_unwritten: AtomicBool,
    show: Show,
}

struct Issued {
    pem: Vec<u8>,
    certificate: Arc<Certificate>,
}

impl Store {
    pub(super) fn new(config: &AcmeConfig, show: Show) -> Self {
        Self {
            certificate: config.certificate_file(),
            account: config.account_file(),
            issued: ArcSwapOption::empty(),
            is_unwritten: AtomicBool::new(false),
            show,
        }
    }

    /// Makes the folder if it is not there, and tries to write into it.
    pub(super) fn check(folder: &Path) -> Result<(), TlsError> {
        let fail = |source| TlsError::Cache { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        tempfile(&folder.join("try")).and_then(|(path, _)| std::fs::remove_file(path)).map_err(fail)
    }

    /// What was issued since this began.
    pub(super) fn issued(&self) -> Option<Arc<Certificate>> {
        self.issued.load().as_ref().map(|issued| Arc::clone(&issued.certificate))
    }

    /// Takes what was issued: it is shown at once, whether or not it can be written.
    fn take(&self, pem: &[u8]) -> io::Result<()> {
        let certificate = Certificate::of_pem(pem, pem, [&self.certificate, &self.certificate]);
        let certificate = Arc::new(certificate.map_err(io::Error::other)?);
        self.issued.store(Some(Arc::new(Issued { pem: pem.to_owned(), certificate: Arc::clone(&certificate) })));
        self.is_unwritten.store(true, Ordering::Relaxed);
        (self.show)(certificate);
        self.write_issued()
    }

    /// Writes what could not be written before; nothing where there is no such.
    pub(super) fn write_issued(&self) -> io::Result<()> {
        let issued = self.issued.load_full();
        let Some(issued) = issued.filter(|_| self.is_unwritten.load(Ordering::Relaxed)) else { return Ok(()) };
        write(&self.certificate, &issued.pem)?;
        self.is_unwritten.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// The names that the client asks by are those of the configuration that the paths were made of.
#[async_trait]
impl CertCache for Shelf {
    type EC = io::Error;

    async fn load_cert(&self, _domains: &[String], _directory: &str) -> io::Result<Option<Vec<u8>>> {
        self.blocking(|store| match store.issued.load_full() {
            Some(issued) => Ok(Some(issued.pem.clone())),
            None => read(&store.certificate),
        })
        .await
    }

    async fn store_cert(&self, _domains: &[String], _directory: &str, pem: &[u8]) -> io::Result<()> {
        let pem = pem.to_owned();
        self.blocking(move |store| store.take(&pem)).await
    }
}

#[async_trait]
impl AccountCache for Shelf {
    type EA = io::Error;

    async fn load_account(&self, _contact: &[String], _directory: &str) -> io::Result<Option<Vec<u8>>> {
        self.blocking(|store| read(&store.account)).await
    }

    async fn store_account(&self, _contact: &[String], _directory: &str, key: &[u8]) -> io::Result<()> {
        let key = key.to_owned();
        self.blocking(move |store| write(&store.account, &key)).await
    }
}

/// The store as the client wants it: its own, and not blocking.
#[derive(Clone)]
pub(super) struct Shelf(pub(super) Arc<Store>);

impl Shelf {
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let store = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(io::Error::other)?
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match super::super::certificate::read_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// Puts a whole file in the place of another, so that a crash or a full disk leaves the one before.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (temporary, mut file) = tempfile(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _gone_as_well = std::fs::remove_file(&temporary);
    }
    written
}

/// An empty file beside a path; what a crash has left there is replaced.
fn tempfile(beside: &Path) -> io::Result<(PathBuf, File)> {
    let path = beside.with_added_extension("new");
    let _none_was_left = std::fs::remove_file(&path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

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
    pub(super) fn take(&self, pem: &[u8]) -> Result<(), TlsError> {
        let certificate = Arc::new(Certificate::of_pem(pem, pem, [&self.certificate, &self.certificate])?);
        self.issued.store(Some(Arc::new(Issued { pem: pem.to_owned(), certificate: Arc::clone(&certificate) })));
        self.is_unwritten.store(true, Ordering::Relaxed);
        (self.show)(certificate);
        Ok(())
    }

    /// What was issued last, in this process or one before.
    pub(super) fn last(&self) -> Result<Option<Arc<Certificate>>, TlsError> {
        if let Some(issued) = self.issued() {
            return Ok(Some(issued));
        }
        match Certificate::read(&self.certificate, &self.certificate) {
            Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(|certificate| Some(Arc::new(certificate))),
        }
    }

    /// The account's key, if there is an account.
    pub(super) fn account(&self) -> io::Result<Option<Vec<u8>>> {
        match super::super::certificate::read_file(&self.account) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Keeps the key of a new account.
    pub(super) fn keep_account(&self, key: &[u8]) -> io::Result<()> {
        write(&self.account, key)
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

//! The file that holds the process id, locked for as long as the process lives.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Held. Dropping it removes the file.
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

/// Why it could not be held.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    #[error(
        "another instance runs already: process {pid} holds {path} (stop it, or give this one another file by the directive 'pid')"
    )]
    Held { pid: String, path: PathBuf },
    #[error("the pid file {path} cannot be written: {source} (the directive 'pid' names another)")]
    Io { path: PathBuf, source: io::Error },
}

/// How often a file may be removed by its last holder between our opening and locking it.
const TRIES_MAX: usize = 10;
/// The longest pid and a line end, with room.
const PID_BYTES_MAX: u64 = 32;

impl PidFile {
    /// Writes our pid. A file that a crash left behind is locked by nobody and taken over.
    pub(super) fn hold(path: &Path) -> Result<Self, PidFileError> {
        let failed = |source| PidFileError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        for _ in 0..TRIES_MAX {
            let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut pid = String::new();
                    let _unreadable = file.take(PID_BYTES_MAX).read_to_string(&mut pid);
                    let pid = Some(pid.trim()).filter(|pid| !pid.is_empty()).unwrap_or("(unknown)").to_owned();
                    return Err(PidFileError::Held { pid, path: path.to_owned() });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            if !is_at(&file, path) {
                continue;
            }
            file.set_len(0).map_err(failed)?;
            writeln!(file, "{}", std::process::id()).map_err(failed)?;
            return Ok(Self { path: path.to_owned(), file });
        }
        Err(failed(io::Error::other("others keep removing it")))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _best_effort = fs::remove_file(&self.path);
        }
    }
}

/// What stands at `path` is still this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_another_is_told_who_and_it_goes_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("objs/weir.pid");
        let held = PidFile::hold(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let refused = PidFile::hold(&path).err().unwrap().to_string();
        assert!(
            refused.starts_with(&format!("another instance runs already: process {} holds", std::process::id())),
            "{refused}"
        );
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_a_crash_left_behind_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weir.pid");
        fs::write(&path, "4194304 and more than we write\n").unwrap();
        let held = PidFile::hold(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's\n").unwrap();
        drop(held);
        assert!(path.exists(), "what is not ours is not removed");
    }
}

//! The look into the directory.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use cap_std::{ambient_authority, fs::Dir};

use super::{kinds, target::Target};

/// What is at a path.
pub(super) enum Found {
    /// A file.
    File(File),
    /// A directory that was asked for without the slash at its end, which relative links need.
    Directory {
        /// The path with it.
        location: String,
    },
}

/// An open file and what its answer says of it.
pub(super) struct File {
    pub(super) file: std::fs::File,
    pub(super) len: u64,
    /// To the second, as `Last-Modified` tells it.
    pub(super) modified: SystemTime,
    pub(super) kind: &'static str,
    nanos: u128,
}

impl File {
    /// Of the content's length and time; strong, for the time is to the nanosecond.
    pub(super) fn etag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.nanos, self.len)
    }
}

/// Opens what `target` names beneath `root`. The system resolves the names in one step and refuses
/// those that lead out, by whatever links: a link that stays inside is followed. Blocks.
pub(super) fn find(root: &Path, target: &Target) -> Option<Found> {
    // Opened anew each time: the directory itself may be replaced by another.
    let dir = Dir::open_ambient_dir(root, ambient_authority()).ok()?;
    let name = match (target.relative.as_str(), target.is_directory) {
        ("", _) => "index.html".to_owned(),
        (name, true) => format!("{name}/index.html"),
        (name, false) => name.to_owned(),
    };
    // A pipe would block at the opening: the kind is looked at before.
    let before = dir.metadata(&name).ok()?;
    if before.is_dir() {
        let index = dir.metadata(format!("{name}/index.html")).ok()?;
        return index.is_file().then(|| Found::Directory { location: format!("{}/", target.raw) });
    }
    if !before.is_file() {
        return None;
    }
    let file = dir.open(&name).ok()?.into_std();
    let data = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let since = data.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(Found::File(File {
        file,
        len: data.len(),
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()),
        kind: kinds::of(&name),
        nanos: since.as_nanos(),
    }))
}

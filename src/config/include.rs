//! `include FILE…;`: other files' directives in its place, each file bounded, found beneath the main
//! file's folder, and never within itself.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    Mistake,
    syntax::{self, DEPTH_MAX, Directive, Place},
};

/// The largest file that is read: a thousand vhosts with all they can have.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of one configuration: SRS's users give each vhost a file; and together they stay below
/// 64 MiB.
const FILES_MAX: usize = 64;
/// Files that include files that include files; three levels are seen in practice.
const INCLUDES_DEEP_MAX: usize = 8;

/// Reads a configuration with all that it includes. The second value holds every mistake.
pub(super) fn load(path: &Path) -> io::Result<(Vec<Directive>, Vec<Mistake>)> {
    let text = read(path)?;
    let real = path.canonicalize()?;
    let folder = real.parent().map(Path::to_owned).unwrap_or_default();
    let mut includer = Includer { folder, open: vec![real], read: Vec::new(), mistakes: Vec::new() };
    let tree = includer.parse(&path.display().to_string(), &text, 0);
    Ok((tree, includer.mistakes))
}

/// The files that a configuration includes, as far as they can be read; some may be full of mistakes.
pub(super) fn included(path: &Path) -> Vec<PathBuf> {
    let (Ok(text), Ok(real)) = (read(path), path.canonicalize()) else { return Vec::new() };
    let folder = real.parent().map(Path::to_owned).unwrap_or_default();
    let mut includer = Includer { folder, open: vec![real], read: Vec::new(), mistakes: Vec::new() };
    includer.parse(&path.display().to_string(), &text, 0);
    includer.read
}

/// Text that may include nothing.
pub(super) fn parse(name: &str, text: &str) -> (Vec<Directive>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut tree = syntax::parse(name, text).unwrap_or_else(|error| {
        mistakes.push(Mistake::at(&error.place, error.reason));
        Vec::new()
    });
    refuse(&mut tree, &mut mistakes);
    (tree, mistakes)
}

fn refuse(tree: &mut Vec<Directive>, mistakes: &mut Vec<Mistake>) {
    tree.retain(|directive| {
        let includes = directive.name == "include";
        if includes {
            mistakes.push(Mistake::at(&directive.place, "include: needs a file around it"));
        }
        !includes
    });
    tree.iter_mut().filter_map(|directive| directive.block.as_mut()).for_each(|block| refuse(block, mistakes));
}

struct Includer {
    /// Nothing outside of it is read.
    folder: PathBuf,
    /// The files being read, the innermost last.
    open: Vec<PathBuf>,
    /// Those that were included so far.
    read: Vec<PathBuf>,
    mistakes: Vec<Mistake>,
}

impl Includer {
    fn parse(&mut self, name: &str, text: &str, depth: usize) -> Vec<Directive> {
        match syntax::parse(name, text) {
            Ok(tree) => self.expand(tree, depth),
            Err(error) => {
                self.mistakes.push(Mistake::at(&error.place, error.reason));
                Vec::new()
            }
        }
    }

    /// Puts files in the place of their `include`. The parser has bounded each file's depth, this
    /// bounds their sum.
    fn expand(&mut self, tree: Vec<Directive>, depth: usize) -> Vec<Directive> {
        let mut all = Vec::with_capacity(tree.len());
        for mut directive in tree {
            if directive.name == "include" {
                all.extend(self.include(&directive, depth));
                continue;
            }
            if let Some(block) = directive.block.take() {
                if depth >= DEPTH_MAX {
                    self.mistakes.push(Mistake::at(&directive.place, "blocks nest too deeply"));
                    continue;
                }
                directive.block = Some(self.expand(block, depth + 1));
            }
            all.push(directive);
        }
        all
    }

    fn include(&mut self, directive: &Directive, depth: usize) -> Vec<Directive> {
        if directive.args.is_empty() || directive.block.is_some() {
            self.mistakes.push(Mistake::at(&directive.place, "include: takes the names of files and no block"));
            return Vec::new();
        }
        let mut all = Vec::new();
        for file in &directive.args {
            match self.find(file, &directive.place) {
                Ok((real, text)) => {
                    self.read.push(real.clone());
                    let name = real.display().to_string();
                    self.open.push(real);
                    all.extend(self.parse(&name, &text, depth));
                    self.open.pop();
                }
                Err(reason) => self.mistakes.push(Mistake::at(&directive.place, format!("include '{file}': {reason}"))),
            }
        }
        all
    }

    /// Relative names count from the including file's folder, or from the working directory as in
    /// SRS.
    fn find(&self, file: &str, place: &Place) -> Result<(PathBuf, String), String> {
        if self.open.len() > INCLUDES_DEEP_MAX {
            return Err(format!("more than {INCLUDES_DEEP_MAX} files within each other"));
        }
        if self.read.len() + 1 >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} files"));
        }
        let beside = Path::new(&*place.file).with_file_name(file);
        let path = if beside.exists() { beside } else { PathBuf::from(file) };
        let real = path.canonicalize().map_err(|error| reason(&error))?;
        if !real.starts_with(&self.folder) {
            return Err(format!("is not beneath {}", self.folder.display()));
        }
        if self.open.contains(&real) {
            return Err("includes itself".to_owned());
        }
        let text = read(&real).map_err(|error| reason(&error))?;
        Ok((real, text))
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn mistakes(files: &[(&str, &str)]) -> Vec<String> {
        let folder = folder(files);
        let (_, mistakes) = load(&folder.path().join(files[0].0)).unwrap();
        let root = folder.path().canonicalize().unwrap().display().to_string();
        mistakes.iter().map(|mistake| mistake.to_string().replace(&format!("{root}/"), "")).collect()
    }

    #[test]
    fn files_take_the_place_of_their_include() {
        let folder = folder(&[
            ("main.conf", "listen 1;\ninclude vhosts/a.conf 'vhosts/b.conf';\ndaemon off;"),
            ("vhosts/a.conf", "vhost a { include part.conf; }"),
            ("vhosts/part.conf", "\n  hls { enabled on; }"),
            ("vhosts/b.conf", ""),
        ]);
        let (tree, mistakes) = load(&folder.path().join("main.conf")).unwrap();
        assert_eq!(mistakes, []);
        assert_eq!(tree.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["listen", "vhost", "daemon"]);
        let hls = &tree[1].children()[0];
        assert!(hls.place.to_string().ends_with("vhosts/part.conf:2:3"), "{}", hls.place);
    }

    #[test]
    fn a69_loops_depth_number_and_strangers_are_refused() {
        assert_eq!(mistakes(&[("a", "include b;"), ("b", "x;\ninclude a;")]), ["b:2:1: include 'a': includes itself"]);
        assert_eq!(mistakes(&[("a", "include a;")]).len(), 1);
        assert!(mistakes(&[("a", "include /etc/hostname;")])[0].contains("include '/etc/hostname': is not beneath"));
        assert!(mistakes(&[("sub/a", "include ../b;"), ("b", "")])[0].contains("is not beneath"));
        assert_eq!(mistakes(&[("a", "\n include none;")]), ["a:2:2: include 'none': there is no such file"]);
        assert_eq!(mistakes(&[("a", "include;")]), ["a:1:1: include: takes the names of files and no block"]);
        assert_eq!(mistakes(&[("a", "include b;"), ("b", "c {")]), ["b:1:1: this block is not closed"]);
        assert!(mistakes(&[("a", "include b;"), ("b", &"#".repeat(1 << 20 | 1))])[0].contains("larger than 1 MiB"));
        let chain: Vec<(String, String)> = (0..20).map(|n| (n.to_string(), format!("include {};", n + 1))).collect();
        let chain: Vec<_> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert!(mistakes(&chain)[0].contains("more than 8 files within each other"));
        let many = "include b;".repeat(70);
        assert!(mistakes(&[("a", &many), ("b", "")])[0].contains("more than 64 files"));
        let deep = format!("{}include b;{}", "x {".repeat(10), "}".repeat(10));
        assert!(mistakes(&[("a", &deep), ("b", &format!("{}{}", "x {".repeat(10), "}".repeat(10)))])[0].contains("deeply"));
    }

    #[test]
    #[cfg(unix)]
    fn a_link_leads_nowhere_else() {
        let outside = folder(&[("secret", "listen 1;")]);
        let inside = folder(&[("a", "include link;")]);
        std::os::unix::fs::symlink(outside.path().join("secret"), inside.path().join("link")).unwrap();
        let (_, mistakes) = load(&inside.path().join("a")).unwrap();
        assert!(mistakes[0].to_string().contains("is not beneath"));
    }
}

//! A request's path as the names that lead to a file.

use percent_encoding::percent_decode_str;

/// The longest path taken, in bytes of the request: more than any page's address.
const PATH_BYTES_MAX: usize = 1_024;

/// Names that stay beneath wherever they are followed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The names, decoded, with slashes between; empty for the directory itself.
    pub(super) relative: String,
    /// The path as it was asked for.
    pub(super) raw: String,
    /// It ends in a slash: a directory is meant.
    pub(super) is_directory: bool,
}

impl Target {
    /// `None` for what no file is served under: a name that is empty, hidden (it begins with a dot,
    /// as `.` and `..` do), no UTF-8, or that holds, escaped once, what parts names.
    pub(super) fn of(path: &str) -> Option<Self> {
        if path.len() > PATH_BYTES_MAX {
            return None;
        }
        let below = path.strip_prefix('/')?;
        let is_directory = below.is_empty() || below.ends_with('/');
        let below = below.strip_suffix('/').unwrap_or(below);
        let mut relative = String::with_capacity(below.len());
        if !below.is_empty() {
            for part in below.split('/') {
                let name = percent_decode_str(part).decode_utf8().ok()?;
                let is_odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
                if name.is_empty() || name.starts_with('.') || name.contains(is_odd) {
                    return None;
                }
                if !relative.is_empty() {
                    relative.push('/');
                }
                relative.push_str(&name);
            }
        }
        Some(Self { relative, raw: path.to_owned(), is_directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_name_by_name() {
        let of = |path| Target::of(path).map(|target| (target.relative, target.is_directory));
        assert_eq!(of("/"), Some((String::new(), true)));
        assert_eq!(of("/players/a%20b.html"), Some(("players/a b.html".to_owned(), false)));
        assert_eq!(of("/players/"), Some(("players".to_owned(), true)));
        assert_eq!(of("/%252e%252e/x"), Some(("%2e%2e/x".to_owned(), false)));
    }

    #[test]
    fn a46_what_leads_elsewhere_is_no_path() {
        let long = format!("/{}", "a".repeat(4_096));
        let paths = [
            "",
            "x",
            "*",
            "//x",
            "/a//b",
            "/..",
            "/../x",
            "/a/../b",
            "/./x",
            "/%2e%2e/x",
            "/%2E./x",
            "/..%2fx",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/.htaccess",
            "/.git/config",
            "/a%0ab",
            "/%ff",
            "/%c0%ae%c0%ae/x",
            &long,
        ];
        for path in paths {
            assert_eq!(Target::of(path), None, "{path}");
        }
    }
}

//! SRS's configuration syntax: text to a tree of directives, each with its place, and back.
//!
//! `name word… ;` or `name word… { directives }`. Words end at white space or `;`, `{`, `}`; in
//! quotes (`"` or `'`) they may hold anything, the quote and a backslash behind a backslash. `#` at
//! the beginning of a word opens a comment that ends with the line.

use std::{fmt, sync::Arc};

/// How deep blocks may nest. SRS's deepest is four (vhost, transcode, engine, vparams).
pub(super) const DEPTH_MAX: usize = 16;
/// How many directives a file may hold; one with all that SRS knows has about 400.
const DIRECTIVES_MAX: usize = 20_000;

/// `name arg…;` or `name arg… { children }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// What stands in its block; `None`: it has none, but a `;`.
    pub(crate) block: Option<Vec<Self>>,
    pub(crate) place: Place,
}

impl Directive {
    /// One with a `;`.
    pub(super) fn plain(name: &str, args: Vec<String>, place: Place) -> Self {
        Self { name: name.to_owned(), args, block: None, place }
    }

    /// What stands in its block.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Where something stands: file, line and column, the last two from 1, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: Arc<str>,
    /// Its line.
    pub line: usize,
    /// The column in it.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Text that is no configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {reason}")]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) reason: &'static str,
}

/// Parses a whole file; `file` is its name in places. Iterative: nesting cannot exhaust the stack.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let file: Arc<str> = file.into();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer { rest: text.chars().peekable(), place: Place { file, line: 1, column: 1 } };
    let mut open: Vec<(Directive, Vec<Directive>)> = Vec::new();
    let mut done: Vec<Directive> = Vec::new();
    let mut current: Option<Directive> = None;
    let mut count = 0;
    while let Some((place, token)) = lexer.next()? {
        let fail = |place, reason| Err(SyntaxError { place, reason });
        match token {
            Token::Word(word) => match &mut current {
                Some(directive) => directive.args.push(word),
                None => {
                    count += 1;
                    if count > DIRECTIVES_MAX {
                        return fail(place, "too many directives");
                    }
                    if word.is_empty() {
                        return fail(place, "a directive needs a name");
                    }
                    current = Some(Directive { name: word, args: Vec::new(), block: None, place });
                }
            },
            Token::End => match current.take() {
                Some(directive) => done.push(directive),
                None => return fail(place, "a ';' without a directive before it"),
            },
            Token::Open => match current.take() {
                Some(_) if open.len() >= DEPTH_MAX => return fail(place, "blocks nest too deeply"),
                Some(directive) => open.push((directive, std::mem::take(&mut done))),
                None => return fail(place, "a '{' without a name before it"),
            },
            Token::Close => {
                if current.is_some() {
                    return fail(place, "a ';' is missing before this '}'");
                }
                match open.pop() {
                    Some((mut block, before)) => {
                        block.block = Some(std::mem::replace(&mut done, before));
                        done.push(block);
                    }
                    None => return fail(place, "a '}' without a block to close"),
                }
            }
        }
    }
    if let Some(directive) = current {
        return Err(SyntaxError { place: directive.place, reason: "this directive is not ended by ';' or a block" });
    }
    match open.pop() {
        Some((block, _)) => Err(SyntaxError { place: block.place, reason: "this block is not closed" }),
        None => Ok(done),
    }
}

/// The text of a tree: parsed, it gives the tree again, places apart.
pub(crate) fn print(tree: &[Directive]) -> String {
    let mut text = String::new();
    write_all(&mut text, tree, 0);
    text
}

fn write_all(text: &mut String, tree: &[Directive], depth: usize) {
    for directive in tree {
        text.extend(std::iter::repeat_n("    ", depth));
        text.push_str(&quoted(&directive.name));
        for arg in &directive.args {
            text.push(' ');
            text.push_str(&quoted(arg));
        }
        match &directive.block {
            None => text.push_str(";\n"),
            Some(children) => {
                text.push_str(" {\n");
                write_all(text, children, depth + 1);
                text.extend(std::iter::repeat_n("    ", depth));
                text.push_str("}\n");
            }
        }
    }
}

/// A word as it has to be written: bare where that is possible.
pub(super) fn quoted(word: &str) -> String {
    let bare = !word.is_empty()
        && !word.starts_with(['#', '"', '\''])
        && !word.starts_with('\u{feff}')
        && !word.contains(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}'));
    if bare { word.to_owned() } else { format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")) }
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    place: Place,
}

impl Lexer<'_> {
    fn advance(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.place.line += 1;
            self.place.column = 1;
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    fn next(&mut self) -> Result<Option<(Place, Token)>, SyntaxError> {
        loop {
            match self.rest.peek() {
                None => return Ok(None),
                Some('#') => while self.advance().is_some_and(|c| c != '\n') {},
                Some(c) if c.is_whitespace() => {
                    self.advance();
                }
                Some(_) => break,
            }
        }
        let place = self.place.clone();
        let token = match self.rest.peek().copied() {
            Some(';') => self.single(Token::End),
            Some('{') => self.single(Token::Open),
            Some('}') => self.single(Token::Close),
            Some(quote @ ('"' | '\'')) => self.quoted(quote, &place)?,
            _ => self.word(),
        };
        Ok(Some((place, token)))
    }

    fn single(&mut self, token: Token) -> Token {
        self.advance();
        token
    }

    fn quoted(&mut self, quote: char, place: &Place) -> Result<Token, SyntaxError> {
        self.advance();
        let mut word = String::new();
        loop {
            match self.advance() {
                Some(c) if c == quote => break,
                Some('\\') => match self.rest.peek().copied() {
                    Some(c) if c == quote || c == '\\' => word.extend(self.advance()),
                    _ => word.push('\\'),
                },
                Some(c) => word.push(c),
                None => return Err(SyntaxError { place: place.clone(), reason: "this quotation is not closed" }),
            }
        }
        match self.rest.peek().copied() {
            Some(c) if !c.is_whitespace() && !matches!(c, ';' | '{' | '}') => {
                Err(SyntaxError { place: self.place.clone(), reason: "a space is missing behind this quotation" })
            }
            _ => Ok(Token::Word(word)),
        }
    }

    fn word(&mut self) -> Token {
        let mut word = String::new();
        while let Some(c) = self.rest.peek().copied() {
            if c.is_whitespace() || matches!(c, ';' | '{' | '}') {
                break;
            }
            word.push(c);
            self.advance();
        }
        Token::Word(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(text: &str) -> Vec<Directive> {
        parse("a.conf", text).unwrap()
    }

    #[test]
    fn reads_blocks_arguments_quotes_and_comments() {
        let tree = tree("# head\nlisten 1935 19350;\nvhost a.b { rtc { enabled on; } }\nname \"a; {b}\" 'c';\n");
        assert_eq!(tree.len(), 3);
        assert_eq!(tree[0].args, ["1935", "19350"]);
        let enabled = &tree[1].children()[0].children()[0];
        assert_eq!((enabled.name.as_str(), enabled.place.to_string().as_str()), ("enabled", "a.conf:3:19"));
        assert_eq!(tree[2].args, ["a; {b}", "c"]);
    }

    #[test]
    fn golden_words() {
        for (text, args) in [
            ("a;", &[][..]),
            ("a b;", &["b"]),
            ("a\n  b # comment; {\n c;", &["b", "c"]),
            ("a b#c #d\n;", &["b#c"]),
            (r#"a "" '';"#, &["", ""]),
            (r#"a "x \"y\" \\ \n" 'it\'s';"#, &[r#"x "y" \ \n"#, "it's"]),
            (r#"a b"c;"#, &["b\"c"]),
            ("a [vhost]/[app]/[stream].flv;", &["[vhost]/[app]/[stream].flv"]),
            ("\u{feff}a \u{fc}ber;", &["\u{fc}ber"]),
            ("a\r\n\tb\r\n;\r\n", &["b"]),
            ("a http://x/y?z=1&b=2;", &["http://x/y?z=1&b=2"]),
        ] {
            assert_eq!(tree(text)[0].args, args, "{text:?}");
        }
        assert_eq!(tree("a {}")[0].block, Some(Vec::new()), "an empty block is a block");
        assert_eq!(tree("a;")[0].block, None);
    }

    #[test]
    fn names_the_place_of_each_mistake() {
        for (text, place, reason) in [
            ("listen 1935", "1:1", "not ended"),
            ("a {\n b 1;\n", "1:1", "not closed"),
            ("a { b {\n } ", "1:1", "not closed"),
            ("a 1;\n}", "2:1", "without a block"),
            (";", "1:1", "without a directive"),
            ("a { b }", "1:7", "missing before"),
            ("\n { a; }", "2:2", "without a name"),
            ("a \"b", "1:3", "quotation is not closed"),
            ("a 'b'c;", "1:6", "space is missing"),
            ("'' b;", "1:1", "needs a name"),
        ] {
            let error = parse("a.conf", text).unwrap_err();
            assert_eq!(error.place.to_string(), format!("a.conf:{place}"), "{text:?}");
            assert!(error.reason.contains(reason), "{text:?}: {}", error.reason);
        }
    }

    #[test]
    fn a69_deep_nesting_and_floods_are_errors_and_no_overflow() {
        assert!(parse("", &"a {".repeat(100_000)).unwrap_err().reason.contains("deeply"));
        assert!(parse("", &"a;".repeat(DIRECTIVES_MAX + 1)).unwrap_err().reason.contains("too many"));
    }

    /// As [`print`] forgets places.
    fn without_places(tree: &mut [Directive]) {
        for directive in tree {
            directive.place = Place { file: "".into(), line: 0, column: 0 };
            without_places(directive.block.as_deref_mut().unwrap_or_default());
        }
    }

    fn trees() -> impl Strategy<Value = Vec<Directive>> {
        let word = "[ -~\u{e4}\n]{0,12}";
        let name = "[ -~\u{e4}\n]{1,12}";
        let place = || Place { file: "".into(), line: 0, column: 0 };
        let leaf = (name, prop::collection::vec(word, 0..4)).prop_map(move |(name, args)| Directive {
            name,
            args,
            block: None,
            place: place(),
        });
        let directive = leaf.prop_recursive(4, 32, 5, move |inner| {
            (name, prop::collection::vec(word, 0..3), prop::collection::vec(inner, 0..5))
                .prop_map(move |(name, args, children)| Directive { name, args, block: Some(children), place: place() })
        });
        prop::collection::vec(directive, 0..5)
    }

    proptest! {
        #[test]
        fn a_printed_tree_is_read_as_the_same(tree in trees()) {
            let text = print(&tree);
            let mut again = parse("", &text).unwrap();
            without_places(&mut again);
            prop_assert_eq!(again, tree, "{}", text);
        }
    }
}

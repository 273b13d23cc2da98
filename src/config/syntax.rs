//! SRS's configuration syntax: text to a tree of directives, each with its place.

use std::fmt;

/// How deep blocks may nest. SRS's deepest is four (vhost, transcode, engine, vparams).
const DEPTH_MAX: usize = 16;
/// How many directives a file may hold; SRS's `full.conf` has about 700.
const DIRECTIVES_MAX: usize = 20_000;

/// `name arg…;` or `name arg… { children }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directive {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    pub(crate) children: Vec<Self>,
    pub(crate) place: Place,
}

/// Line and column in the file, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Text that is no configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {reason}")]
pub(crate) struct SyntaxError {
    pub(crate) place: Place,
    pub(crate) reason: &'static str,
}

/// Parses a whole file. Iterative: nesting cannot exhaust the stack.
pub(crate) fn parse(text: &str) -> Result<Vec<Directive>, SyntaxError> {
    let mut lexer = Lexer { rest: text.chars().peekable(), place: Place { line: 1, column: 1 } };
    let mut open: Vec<Directive> = vec![Directive::default()];
    let mut current: Option<Directive> = None;
    let mut count = 0;
    while let Some((place, token)) = lexer.next()? {
        let fail = |reason| Err(SyntaxError { place, reason });
        match token {
            Token::Word(word) => match &mut current {
                Some(directive) => directive.args.push(word),
                None => {
                    count += 1;
                    if count > DIRECTIVES_MAX {
                        return fail("too many directives");
                    }
                    current = Some(Directive { name: word, place, ..Directive::default() });
                }
            },
            Token::End => match (current.take(), open.last_mut()) {
                (Some(directive), Some(parent)) => parent.children.push(directive),
                _ => return fail("a ';' without a directive before it"),
            },
            Token::Open => match current.take() {
                Some(_) if open.len() > DEPTH_MAX => return fail("blocks nest too deeply"),
                Some(directive) => open.push(directive),
                None => return fail("a '{' without a name before it"),
            },
            Token::Close => {
                if current.is_some() {
                    return fail("a ';' is missing before this '}'");
                }
                match (open.pop(), open.last_mut()) {
                    (Some(block), Some(parent)) => parent.children.push(block),
                    _ => return fail("a '}' without a block to close"),
                }
            }
        }
    }
    if let Some(directive) = current {
        return Err(SyntaxError { place: directive.place, reason: "this directive is not ended by ';' or a block" });
    }
    match (open.pop(), open.is_empty()) {
        (Some(root), true) => Ok(root.children),
        (Some(block), false) => Err(SyntaxError { place: block.place, reason: "this block is not closed" }),
        (None, _) => Ok(Vec::new()),
    }
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
            self.place = Place { line: self.place.line + 1, column: 1 };
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
        let place = self.place;
        let token = match self.rest.peek().copied() {
            Some(';') => self.single(Token::End),
            Some('{') => self.single(Token::Open),
            Some('}') => self.single(Token::Close),
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.word(),
        };
        Ok(Some((place, token)))
    }

    fn single(&mut self, token: Token) -> Token {
        self.advance();
        token
    }

    fn quoted(&mut self, quote: char) -> Result<Token, SyntaxError> {
        let place = self.place;
        self.advance();
        let mut word = String::new();
        loop {
            match self.advance() {
                Some(c) if c == quote => return Ok(Token::Word(word)),
                Some('\\') => word.extend(self.advance()),
                Some(c) => word.push(c),
                None => return Err(SyntaxError { place, reason: "this quotation is not closed" }),
            }
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
    use super::*;

    #[test]
    fn reads_blocks_arguments_quotes_and_comments() {
        let tree = parse("# head\nlisten 1935 19350;\nvhost a.b { rtc { enabled on; } }\nname \"a; {b}\" 'c';\n").unwrap();
        assert_eq!(tree.len(), 3);
        assert_eq!(tree[0].args, ["1935", "19350"]);
        assert_eq!(tree[1].children[0].children[0].name, "enabled");
        assert_eq!(tree[1].children[0].children[0].place, Place { line: 3, column: 19 });
        assert_eq!(tree[2].args, ["a; {b}", "c"]);
    }

    #[test]
    fn names_the_place_of_each_mistake() {
        for (text, place, reason) in [
            ("listen 1935", (1, 1), "not ended"),
            ("a {\n b 1;\n", (1, 1), "not closed"),
            ("a 1;\n}", (2, 1), "without a block"),
            (";", (1, 1), "without a directive"),
            ("a { b }", (1, 7), "missing before"),
            ("\n { a; }", (2, 2), "without a name"),
            ("a \"b", (1, 3), "quotation"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.place.line, error.place.column), place, "{text:?}");
            assert!(error.reason.contains(reason), "{text:?}: {}", error.reason);
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        assert!(parse(&"a {".repeat(100_000)).unwrap_err().reason.contains("deeply"));
    }
}

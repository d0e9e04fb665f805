//! A strict JSON reader over text in memory: RFC 8259, no comments, no duplicate keys, bounded depth.
//!
//! The engine's reader takes comments and refuses duplicate keys; a reader that took the first or the last of two
//! keys would decide on something else than the engine. Whatever is not plain JSON is refused here.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::error::BodyError;

/// Deepest nesting of objects and arrays. The engine's limit is higher (1000 in 3.x); queries that people write stay
/// far below this.
pub const MAX_DEPTH: usize = 128;

type Result<T> = std::result::Result<T, BodyError>;

/// What the next value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// Reads one document, value by value.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Fails if the bytes are not UTF-8.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self { text, at: 0, depth: 0 }),
            Err(error) => Err(BodyError::Json { at: error.valid_up_to(), what: "it is not UTF-8" }),
        }
    }

    /// The kind of the next value, which is not consumed.
    pub(crate) fn kind(&mut self) -> Result<Kind> {
        self.skip_space();
        Ok(match self.peek() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            Some(_) => return self.fail("a value was expected"),
            None => return self.fail("it ends too early"),
        })
    }

    /// Reads an object; `member` gets each decoded key and must consume its value.
    pub(crate) fn object(&mut self, member: &mut dyn FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.enter(b'{', "an object was expected")?;
        let mut keys = Keys::default();
        self.skip_space();
        if !self.take(b'}') {
            loop {
                self.skip_space();
                let key = self.string()?;
                self.skip_space();
                if !self.take(b':') {
                    return self.fail("`:` was expected");
                }
                keys.add(key.clone())?;
                member(self, &key)?;
                self.skip_space();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return self.fail("`,` or `}` was expected");
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array; `element` must consume the value it is called for.
    pub(crate) fn array(&mut self, element: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter(b'[', "an array was expected")?;
        self.skip_space();
        if !self.take(b']') {
            loop {
                element(self)?;
                self.skip_space();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return self.fail("`,` or `]` was expected");
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.skip_space();
        if !self.take(b'"') {
            return self.fail("a string was expected");
        }
        let start = self.at;
        self.skip_plain();
        match self.peek() {
            Some(b'"') => {
                let text = self.text.get(start..self.at).unwrap_or_default();
                self.at += 1;
                Ok(Cow::Borrowed(text))
            }
            Some(b'\\') => self.escaped(start).map(Cow::Owned),
            Some(_) => self.fail("a control character in a string"),
            None => self.fail("a string has no end"),
        }
    }

    /// A string, number or boolean as the engine's readers turn it into text; `None` for null.
    pub(crate) fn scalar(&mut self) -> Result<Option<Cow<'a, str>>> {
        match self.kind()? {
            Kind::String => self.string().map(Some),
            Kind::Number => self.number().map(|number| Some(Cow::Borrowed(number))),
            Kind::Bool => self.bool().map(|value| Some(Cow::Borrowed(if value { "true" } else { "false" }))),
            Kind::Null => self.null().map(|()| None),
            Kind::Object | Kind::Array => self.fail("a plain value was expected"),
        }
    }

    /// Reads a value that means nothing here. It is checked all the same.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.kind()? {
            Kind::Object => self.object(&mut |reader, _| reader.skip()),
            Kind::Array => self.array(&mut Reader::skip),
            Kind::String => self.string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Bool => self.bool().map(drop),
            Kind::Null => self.null(),
        }
    }

    /// Only white space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.peek().is_some() { self.fail("text after the end of the document") } else { Ok(()) }
    }

    /// Fails at the present position.
    pub(crate) fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(BodyError::Json { at: self.at, what })
    }

    fn enter(&mut self, open: u8, what: &'static str) -> Result<()> {
        self.skip_space();
        if !self.take(open) {
            return self.fail(what);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(BodyError::TooDeep(MAX_DEPTH)) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<&'a str> {
        let start = self.at;
        self.take(b'-');
        if self.take(b'0') {
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return self.fail("a number with a leading zero");
            }
        } else {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("a digit was expected") } else { Ok(()) }
    }

    fn bool(&mut self) -> Result<bool> {
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            self.fail("a value was expected")
        }
    }

    fn null(&mut self) -> Result<()> {
        if self.word("null") { Ok(()) } else { self.fail("a value was expected") }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word));
        if found {
            self.at += word.len();
        }
        found
    }

    /// Continues a string at its first backslash.
    fn escaped(&mut self, start: usize) -> Result<String> {
        let mut out = self.text.get(start..self.at).unwrap_or_default().to_owned();
        loop {
            let plain = self.at;
            self.skip_plain();
            out.push_str(self.text.get(plain..self.at).unwrap_or_default());
            if self.take(b'"') {
                return Ok(out);
            }
            if !self.take(b'\\') {
                return self.fail("a string has no end, or a control character in it");
            }
            let escape = self.peek();
            self.at += 1;
            out.push(match escape {
                Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
                Some(b'b') => '\u{8}',
                Some(b'f') => '\u{c}',
                Some(b'n') => '\n',
                Some(b'r') => '\r',
                Some(b't') => '\t',
                Some(b'u') => self.unicode_escape()?,
                _ => return self.fail("an unknown escape"),
            });
        }
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let first = self.four_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.word("\\u") {
                    return self.fail("half of a surrogate pair");
                }
                let second = self.four_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return self.fail("half of a surrogate pair");
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            _ => first,
        };
        match char::from_u32(code) {
            Some(char) => Ok(char),
            None => self.fail("half of a surrogate pair"),
        }
    }

    fn four_digits(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return self.fail("four hexadecimal digits were expected");
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).or_else(|_| self.fail("four hexadecimal digits were expected"))
    }

    /// Passes over what stands for itself in a string.
    fn skip_plain(&mut self) {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        self.at += rest.iter().position(special).unwrap_or(rest.len());
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// The keys of one object: a short list, then a set, so that large objects cost no square.
#[derive(Default)]
struct Keys<'a> {
    few: Vec<Cow<'a, str>>,
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Keys<'a> {
    const FEW: usize = 16;

    fn add(&mut self, key: Cow<'a, str>) -> Result<()> {
        if self.few.contains(&key) || self.many.as_ref().is_some_and(|many| many.contains(&key)) {
            return Err(BodyError::DuplicateKey(key.into_owned()));
        }
        if self.few.len() < Self::FEW {
            self.few.push(key);
        } else {
            self.many.get_or_insert_default().insert(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Reader;

    fn skip(text: &str) -> bool {
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        reader.skip().and_then(|()| reader.end()).is_ok()
    }

    #[test]
    fn takes_json_and_nothing_else() {
        for text in
            ["{}", "[]", "0", "-0.5e+10", "true", "null", "\"\"", r#""\ud83d\ude00\n""#, " {\"a\" : [1 , {}]}\r\n"]
        {
            assert!(skip(text), "{text}");
        }
        for text in
            ["", " ", "{", "[1,]", "[,]", "{\"a\":1,}", "00", "1.", ".5", "1e", "-", "tru", "nul", "\"", r#""\"#]
        {
            assert!(!skip(text), "{text}");
        }
    }

    #[test]
    fn finds_duplicates_among_many_keys() {
        let keys: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        assert!(skip(&format!("{{{}}}", keys.join(","))));
        for twice in ["k3", "k50", "k\\u00350"] {
            assert!(!skip(&format!("{{{},\"{twice}\":0}}", keys.join(","))), "{twice}");
        }
    }
}

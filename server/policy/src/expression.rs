//! The engine's language of index expressions, read as the set of names a request may touch.
//!
//! The reading is an over-approximation: every index the engine can resolve the list to by its own name is in the set
//! (aliases and data streams are resolved by the engine, whose security plugin checks their members). What has no sound
//! reading is refused.

use crate::containment::{Branch, Budget, Sequence, TooComplex};
use crate::glob::{Glob, MAX_GLOB_CHARS, is_wildcard};

/// The most expressions one request may name.
pub const MAX_EXPRESSIONS: usize = 4096;
/// The most expressions with wildcards, and exclusions, one request may name.
pub const MAX_PATTERNS: usize = 128;
/// The longest expression, in bytes. Index names end at 255 bytes.
pub const MAX_EXPRESSION_BYTES: usize = 512;

/// The index expressions of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expressions {
    /// The inclusions as the caller wrote them, in the order of the branches.
    texts: Vec<String>,
    sequence: Sequence,
}

/// One inclusion of a request: what it says and which names it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// As the caller wrote it.
    pub text: &'a str,
    /// The names, without those excluded later in the list.
    pub names: Branch<'a>,
}

/// An index expression that cannot be decided upon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// More than [`MAX_EXPRESSIONS`] expressions or [`MAX_PATTERNS`] patterns.
    #[error(
        "the request names too many index expressions, at most {MAX_EXPRESSIONS} and {MAX_PATTERNS} with wildcards are read"
    )]
    TooMany,
    /// Longer than [`MAX_EXPRESSION_BYTES`], or a pattern longer than [`MAX_GLOB_CHARS`].
    #[error(
        "an index expression is too long, at most {MAX_EXPRESSION_BYTES} bytes, {MAX_GLOB_CHARS} characters with wildcards, are read"
    )]
    TooLong,
    /// A character no index name has, other than where date math needs it.
    #[error("the index expression {expression} contains {letter}, which no index name can contain")]
    Character {
        /// As the caller wrote it, quoted.
        expression: Quoted,
        /// The character, quoted.
        letter: Quoted,
    },
    /// `cluster:index`.
    #[error("the index expression {0} names a remote cluster, which is not reached through this gateway")]
    Remote(Quoted),
    /// `<...>` that is not static text and balanced braces.
    #[error(
        "the index expression {0} is not complete date math, write it as `<name-{{now/d}}>`, percent-encoded in a path"
    )]
    DateMath(Quoted),
    /// `-<...>`, which the engine does not compute.
    #[error(
        "the index expression {0} excludes by date math, which the engine does not read, exclude by name or wildcard"
    )]
    ExcludedDateMath(Quoted),
    /// The exclusions leave nothing.
    #[error("the index expressions exclude everything they name, ask for at least one index")]
    Nothing,
    /// The patterns cannot be compared.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
}

/// Text from outside, in backticks and without anything that could break a log line or a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl From<&str> for Quoted {
    fn from(text: &str) -> Self {
        const SHOWN: usize = 120;
        let mut shown: String = text.chars().take(SHOWN).flat_map(printable).collect();
        if text.chars().nth(SHOWN).is_some() {
            shown.push_str("...");
        }
        Self(shown)
    }
}

impl std::fmt::Display for Quoted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl Expressions {
    /// Reads a list that is already split at commas and decoded. Nothing, an empty expression and `_all` are `*`.
    ///
    /// `hidden` says that the request reaches hidden indices (`expand_wildcards=hidden` or `all`): its leading wildcards
    /// then also stand for names with a leading dot.
    ///
    /// # Errors
    /// When an expression has no reading that is sure to hold for the engine too.
    pub fn parse<S: AsRef<str>>(list: &[S], hidden: bool) -> Result<Self, ExpressionError> {
        if list.len() > MAX_EXPRESSIONS {
            return Err(ExpressionError::TooMany);
        }
        let mut reader = Reader {
            texts: Vec::with_capacity(list.len()),
            sequence: Sequence::default(),
            hidden,
            star_seen: false,
            patterns: 0,
        };
        if list.is_empty() {
            reader.read("*")?;
        }
        for expression in list {
            reader.read(expression.as_ref())?;
        }
        let read = Self { texts: reader.texts, sequence: reader.sequence };
        if !read.sequence.exclusions().is_empty() {
            read.refuse_nothing()?;
        }
        Ok(read)
    }

    /// Names of indices that are there, each with the text it is shown as; how many there are does not depend on the
    /// request, so nothing is limited.
    pub(crate) fn of_names<'n>(names: impl IntoIterator<Item = (String, &'n str)>) -> Self {
        let mut read = Self { texts: Vec::new(), sequence: Sequence::default() };
        for (text, name) in names {
            read.texts.push(text);
            read.sequence.include(Glob::new(name));
        }
        read
    }

    /// One pattern without others.
    pub(crate) fn of_branch(include: &Glob, exclusions: impl IntoIterator<Item = Glob>) -> Self {
        let mut sequence = Sequence::default();
        sequence.include(include.clone());
        exclusions.into_iter().for_each(|exclusion| sequence.exclude(exclusion));
        Self { texts: vec![include.to_string()], sequence }
    }

    /// Whether no name is left.
    pub(crate) fn is_nothing(&self, budget: &mut Budget) -> Result<bool, TooComplex> {
        for branch in self.sequence.branches() {
            if !branch.is_empty(budget)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Each inclusion with the names it stands for.
    pub fn iter(&self) -> impl Iterator<Item = Requested<'_>> {
        self.texts.iter().zip(self.sequence.branches()).map(|(text, names)| Requested { text, names })
    }

    /// Whether the request may touch the index of this name.
    pub fn matches(&self, name: &str) -> bool {
        self.sequence.matches(name)
    }

    /// A request that comes to no index at all is not forwarded: what the engine makes of an empty list differs by API.
    fn refuse_nothing(&self) -> Result<(), ExpressionError> {
        if self.is_nothing(&mut Budget::default())? { Err(ExpressionError::Nothing) } else { Ok(()) }
    }
}

/// The walk over the list: what an expression means depends on those before it.
struct Reader {
    texts: Vec<String>,
    sequence: Sequence,
    hidden: bool,
    /// `-x` is an exclusion only behind an expression with `*`; the engine reads it as a name otherwise.
    star_seen: bool,
    patterns: usize,
}

impl Reader {
    fn read(&mut self, text: &str) -> Result<(), ExpressionError> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(ExpressionError::TooLong);
        }
        match text.strip_prefix('-') {
            Some(excluded) if self.star_seen => self.exclude(text, excluded),
            _ => self.include(text),
        }
    }

    fn include(&mut self, text: &str) -> Result<(), ExpressionError> {
        let glob = match text {
            "" | "_all" => self.glob("*"),
            _ if text.starts_with('<') => {
                let pattern = date_math(text)?;
                // Computed text at the front may well begin with a dot.
                if pattern.begins_computed { Glob::with_dots(&pattern.glob) } else { self.glob(&pattern.glob) }
            }
            _ => {
                check_characters(text, text)?;
                self.glob(text)
            }
        };
        self.count(&glob)?;
        self.star_seen |= glob.as_str().contains('*');
        self.texts.push(text.to_owned());
        self.sequence.include(glob);
        Ok(())
    }

    fn exclude(&mut self, text: &str, excluded: &str) -> Result<(), ExpressionError> {
        if excluded.starts_with('<') {
            return Err(ExpressionError::ExcludedDateMath(text.into()));
        }
        check_characters(text, excluded)?;
        // An exclusion may only be read as taking away what the engine takes away for certain; `?` is a letter to
        // the engine, and no index name has it.
        if !excluded.contains('?') && !excluded.is_empty() {
            let glob = self.glob(excluded);
            self.count(&glob)?;
            self.patterns += usize::from(glob.is_literal());
            self.sequence.exclude(glob);
        }
        Ok(())
    }

    fn count(&mut self, glob: &Glob) -> Result<(), ExpressionError> {
        if !glob.is_literal() {
            self.patterns += 1;
            if glob.as_str().chars().count() > MAX_GLOB_CHARS {
                return Err(ExpressionError::TooLong);
            }
        }
        if self.patterns > MAX_PATTERNS { Err(ExpressionError::TooMany) } else { Ok(()) }
    }

    fn glob(&self, text: &str) -> Glob {
        if self.hidden { Glob::with_dots(text) } else { Glob::new(text) }
    }
}

/// Date math with each `{...}` read as any text.
struct DateMath {
    glob: String,
    begins_computed: bool,
}

/// Reads `<static{math{format|zone}}static...>`.
///
/// The format may quote any letter, wildcards included, so a computed part stands for every text.
fn date_math(text: &str) -> Result<DateMath, ExpressionError> {
    let incomplete = || ExpressionError::DateMath(text.into());
    let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).ok_or_else(incomplete)?;
    let mut glob = String::new();
    let mut depth = 0_u32;
    let mut star_before = false;
    for letter in inner.chars() {
        match letter {
            '\\' => return Err(character(text, letter)),
            '{' => {
                if depth == 0 {
                    glob.push('*');
                }
                depth += 1;
                if depth > 2 {
                    return Err(incomplete());
                }
            }
            '}' => depth = depth.checked_sub(1).ok_or_else(incomplete)?,
            // A zone such as `+01:00`. With a wildcard before it the part up to the colon could name a remote cluster.
            ':' if star_before => return Err(ExpressionError::Remote(text.into())),
            _ if depth > 0 => {
                if is_control(letter) {
                    return Err(character(text, letter));
                }
                star_before |= letter == '*';
            }
            _ => {
                check_character(text, letter)?;
                star_before |= letter == '*';
                glob.push(letter);
            }
        }
    }
    if depth > 0 || glob.is_empty() {
        return Err(incomplete());
    }
    Ok(DateMath { begins_computed: inner.starts_with('{'), glob })
}

fn check_characters(expression: &str, part: &str) -> Result<(), ExpressionError> {
    part.chars().try_for_each(|letter| check_character(expression, letter))
}

fn check_character(expression: &str, letter: char) -> Result<(), ExpressionError> {
    match letter {
        ':' => Err(ExpressionError::Remote(expression.into())),
        '\\' | '/' | '"' | '<' | '>' | '|' | '#' | ',' | ' ' => Err(character(expression, letter)),
        _ if is_control(letter) => Err(character(expression, letter)),
        _ => Ok(()),
    }
}

fn character(expression: &str, letter: char) -> ExpressionError {
    let mut buffer = [0_u8; 4];
    let letter: &str = letter.encode_utf8(&mut buffer);
    ExpressionError::Character { expression: expression.into(), letter: letter.into() }
}

/// Control characters and the line ends a regular expression of the engine treats specially.
fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

fn printable(letter: char) -> Vec<char> {
    match letter {
        '`' => vec!['\''],
        _ if is_control(letter) || !letter.is_ascii() => letter.escape_default().collect(),
        _ => vec![letter],
    }
}

/// Whether `text` contains a wildcard.
pub(crate) fn has_wildcard(text: &str) -> bool {
    text.contains(is_wildcard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &[&str]) -> Expressions {
        Expressions::parse(list, false).unwrap()
    }

    fn refused(list: &[&str]) -> ExpressionError {
        Expressions::parse(list, false).unwrap_err()
    }

    #[test]
    fn everything_has_four_spellings() {
        for list in [&[][..], &[""], &["_all"], &["*"], &["logs-*", ""]] {
            let read = read(list);
            assert!(read.matches("pii-customers"), "{list:?}");
            assert!(!read.matches(".kibana"), "{list:?}");
        }
        assert!(Expressions::parse(&["_all"], true).unwrap().matches(".kibana"));
    }

    #[test]
    fn exclusions_need_a_star_before_them_and_reach_back_only() {
        let a = read(&["logs-*", "-logs-secret-*"]);
        assert!(a.matches("logs-app") && !a.matches("logs-secret-1"));
        let b = read(&["logs-*", "-logs-secret-*", "logs-secret-1"]);
        assert!(b.matches("logs-secret-1") && !b.matches("logs-secret-2"));
        let c = read(&["-logs-*", "logs-app"]);
        assert!(c.matches("-logs-x") && c.matches("logs-app"));
        let d = read(&["logs-?", "-logs-a"]);
        assert!(d.matches("logs-a") && d.matches("-logs-a"), "the engine does not read `?` as a wildcard");
        let e = read(&["logs-*", "-logs-?"]);
        assert!(e.matches("logs-a"), "nor in an exclusion");
        let f = read(&["*", "-_all"]);
        assert!(f.matches("logs-a"), "`_all` is a plain name behind a minus sign");
    }

    #[test]
    fn a_request_for_nothing_is_refused() {
        assert_eq!(refused(&["*", "-*"]), ExpressionError::Nothing);
        assert_eq!(refused(&["logs-*", "-l*"]), ExpressionError::Nothing);
        assert_eq!(refused(&["logs-*", "-logs", "-logs-*"]), ExpressionError::Nothing);
    }

    #[test]
    fn date_math_stands_for_any_text() {
        let read_one = |text| read(&[text]);
        assert!(read_one("<logs-{now/d}>").matches("logs-2026.11.22"));
        assert!(!read_one("<logs-{now/d}>").matches("log-2026.11.22"));
        assert!(read_one("<logs-{now/d{yyyy.MM.dd|+01:00}}-x>").matches("logs-2026.11.22-x"));
        assert!(read_one("<{now{'.kibana'}}>").matches(".kibana"), "a computed beginning may be a dot");
        assert!(!read_one("<*-{now/d}>").matches(".kibana-1"));
        assert!(read_one("<pii-customers>").matches("pii-customers"));
        for text in ["<logs-{now/d>", "<logs-now}>", "<logs-{now/d}", "<>", "<a{b{c{d}}}>", "<logs-{now/d{yyyy"] {
            assert_eq!(refused(&[text]), ExpressionError::DateMath(text.into()), "{text}");
        }
        assert!(matches!(refused(&["<logs\\{-{now/d}>"]), ExpressionError::Character { .. }));
        assert!(matches!(refused(&["<*{now{yyyy|+01:00}}>"]), ExpressionError::Remote(_)));
        assert!(matches!(refused(&["a*", "-<a-{now/d}>"]), ExpressionError::ExcludedDateMath(_)));
    }

    #[test]
    fn what_no_index_name_can_contain_is_refused() {
        for text in ["remote:logs-*", "*:*", "logs-*:x"] {
            assert!(matches!(refused(&[text]), ExpressionError::Remote(_)), "{text}");
        }
        for text in ["/logs.*/", "a\\b", "a b", "a\nb", "a\u{0}", "a#b", "a|b", "a\"b", "a,b", "a>b", "a\u{2028}b"] {
            assert!(matches!(refused(&[text]), ExpressionError::Character { .. }), "{text:?}");
        }
        let sentence = refused(&["a\nb`é"]).to_string();
        assert_eq!(sentence, "the index expression `a\\nb'\\u{e9}` contains `\\n`, which no index name can contain");
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(refused(&["a".repeat(513).as_str()]), ExpressionError::TooLong);
        assert_eq!(refused(&[format!("{}*", "a".repeat(127)).as_str()]), ExpressionError::TooLong);
        assert!(Expressions::parse(&vec!["a"; 4096], false).is_ok());
        assert_eq!(Expressions::parse(&vec!["a"; 4097], false), Err(ExpressionError::TooMany));
        assert_eq!(Expressions::parse(&vec!["a*"; 129], false), Err(ExpressionError::TooMany));
    }
}

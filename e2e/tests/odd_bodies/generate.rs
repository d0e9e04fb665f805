//! Requests whose bodies name indices, as nobody would write them. The same seed makes the same requests.

/// Numbers that look random and are the same at every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("a small number")]
    }
}

/// One request.
pub struct Odd {
    pub method: &'static str,
    pub target: String,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Nothing about it is odd, and it names nothing but what is inside.
    pub is_plain: bool,
}

impl Odd {
    /// As it can be read in a message.
    pub fn show(&self) -> String {
        format!("{} {} ({})\n{}", self.method, self.target, self.content_type, self.body.escape_ascii())
    }
}

/// JSON before it is written down.
#[derive(Clone)]
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    String(String),
    /// Written as it is.
    Raw(&'static str),
}

fn object(members: Vec<(&str, Json)>) -> Json {
    Json::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn string(text: &str) -> Json {
    Json::String(text.to_owned())
}

/// The indices a token is for, and names that are not.
pub const INSIDE: [&str; 2] = ["e2e-odd-in-a", "e2e-odd-in-b"];
pub const OUTSIDE: &str = "e2e-odd-out";
pub const ALIAS_OUTSIDE: &str = "e2e-odd-alias";

pub struct Generator {
    random: Random,
    /// Nothing odd is written, whatever it names.
    is_calm: bool,
    is_plain: bool,
}

impl Generator {
    pub const fn new(seed: u64) -> Self {
        Self { random: Random(seed), is_calm: false, is_plain: true }
    }

    pub fn request(&mut self) -> Odd {
        self.is_calm = self.random.below(3) == 0;
        self.is_plain = true;
        let (target, lines, body) = match self.random.below(9) {
            0..=1 => self.bulk(),
            2 => self.msearch(),
            3 => self.mget(),
            4 => self.mtermvectors(),
            5 => self.reindex(),
            6 => (format!("/{}/_count", self.path()), false, self.count()),
            _ => (format!("/{}/_search", self.path()), false, self.search()),
        };
        let body = self.encoded(body);
        let plain_type = if lines { "application/x-ndjson" } else { "application/json" };
        let content_type = match self.odd(25) {
            false => plain_type,
            true => self.a_content_type(),
        };
        Odd { method: "POST", target, content_type, body, is_plain: self.is_plain }
    }

    fn a_content_type(&mut self) -> &'static str {
        self.random.pick(&[
            "application/json;charset=UTF-8",
            "application/json; charset=utf-16",
            "application/x-ndjson;charset=us-ascii",
            "text/plain",
            "application/yaml",
            "application/json,application/x-ndjson",
        ])
    }

    /// Once in so many times, if this request may be odd at all.
    fn odd(&mut self, times: u64) -> bool {
        let is_odd = !self.is_calm && self.random.below(times) == 0;
        self.is_plain &= !is_odd;
        is_odd
    }

    fn flip(&mut self) -> bool {
        self.random.below(2) == 0
    }

    fn index(&mut self) -> &'static str {
        if self.random.below(4) > 0 {
            return self.random.pick(&INSIDE);
        }
        self.is_plain = false;
        self.random.pick(&[OUTSIDE, OUTSIDE, ALIAS_OUTSIDE, "e2e-odd-missing", ".opendistro_security"])
    }

    /// An index as the value of a key, mostly a name.
    fn name(&mut self) -> Json {
        let name = self.index();
        if !self.odd(8) {
            return string(name);
        }
        let other = self.index();
        match self.random.below(14) {
            0 => string(&format!("{name},{other}")),
            1 => string(&format!(" {name}")),
            2 => string(&format!("<{name}>")),
            3 => string(&format!("<{name}-{{now/d}}>")),
            4 => string(&format!("{}*", &name[..name.len() - 1])),
            5 => string("*"),
            6 => string("_all"),
            7 => string(""),
            8 => string(&format!("*,-{name}")),
            9 => Json::Array(vec![string(name), string(other)]),
            10 => object(vec![("index", string(name))]),
            11 => Json::Raw("null"),
            12 => Json::Raw(self.random.pick(&["1", "1.0", "true", "NaN", "-0", "01", "1e400"])),
            _ => string(&name.to_uppercase()),
        }
    }

    /// An index in a path, with letters that need not be encoded.
    fn path(&mut self) -> String {
        let mut names = vec![self.index()];
        if self.random.below(6) == 0 {
            names.push(self.index());
        }
        let (mut out, is_odd) = (String::new(), self.odd(6));
        for letter in names.join(",").chars() {
            if is_odd && self.random.below(4) == 0 {
                out.push_str(&format!("%{:02x}", u32::from(letter)));
            } else {
                out.push(letter);
            }
        }
        out
    }

    fn id(&mut self) -> Json {
        match self.odd(12) {
            true => Json::Raw(self.random.pick(&["1", "null", "[\"1\"]", "true", "\"\""])),
            false => string(self.random.pick(&["1", "2", "none"])),
        }
    }

    fn query(&mut self, depth: u64) -> Json {
        match self.random.below(if depth > 3 { 5 } else { 9 }) {
            0 => object(vec![("match_all", object(vec![]))]),
            1 => object(vec![("match", object(vec![("message", string("first"))]))]),
            2 => {
                let mut lookup = vec![("index", self.name()), ("id", self.id()), ("path", string("message"))];
                if self.odd(6) {
                    lookup.push(("index", self.name()));
                }
                object(vec![("terms", object(vec![("message", object(lookup))]))])
            }
            3 => {
                let mut document = vec![("_id", self.id())];
                if self.flip() {
                    document.push(("_index", self.name()));
                }
                let like = object(document);
                let like = if self.flip() { Json::Array(vec![like]) } else { like };
                let like = vec![("fields", Json::Array(vec![string("message")])), ("like", like)];
                object(vec![("more_like_this", object(like))])
            }
            4 => {
                let shape = vec![("index", self.name()), ("id", self.id()), ("path", string("place"))];
                let place = object(vec![("indexed_shape", object(shape))]);
                object(vec![("geo_shape", object(vec![("place", place)]))])
            }
            5 => object(vec![("constant_score", object(vec![("filter", self.query(depth + 1))]))]),
            6 => {
                let members = vec![("query", self.query(depth + 1)), ("path", string("inner"))];
                object(vec![("nested", object(members))])
            }
            _ => {
                let clauses = (0..=self.random.below(2)).map(|_| self.query(depth + 1)).collect();
                let clause = self.random.pick(&["must", "should", "filter", "must_not"]);
                object(vec![("bool", object(vec![(clause, Json::Array(clauses))]))])
            }
        }
    }

    fn a_search(&mut self) -> Json {
        let mut members = vec![("query", self.query(0))];
        if self.random.below(5) == 0 {
            let filter = object(vec![("filter", self.query(1))]);
            members.push(("aggs", object(vec![("a", filter)])));
        }
        if self.random.below(6) == 0 {
            members.push(("post_filter", self.query(1)));
        }
        if self.random.below(8) == 0 {
            let rescore = object(vec![("rescore_query", self.query(1))]);
            members.push(("rescore", object(vec![("window_size", Json::Raw("5")), ("query", rescore)])));
        }
        if self.random.below(12) == 0 {
            let boosted = self.index();
            let boost = object(vec![(boosted, Json::Raw("2"))]);
            members.push(("indices_boost", Json::Array(vec![boost])));
        }
        object(members)
    }

    fn search(&mut self) -> String {
        let search = self.a_search();
        self.document(&search)
    }

    fn count(&mut self) -> String {
        let query = object(vec![("query", self.query(0))]);
        self.document(&query)
    }

    fn bulk(&mut self) -> (String, bool, String) {
        let target = if self.flip() { "/_bulk".to_owned() } else { format!("/{}/_bulk", self.index()) };
        let mut lines = Vec::new();
        for _ in 0..=self.random.below(3) {
            let action = match self.odd(30) {
                true => self.random.pick(&["INDEX", "upsert", "", "_index", "delete "]),
                false => self.random.pick(&["index", "create", "update", "delete"]),
            };
            // A body of items that name nothing goes to what the path names.
            let mut metadata = vec![("_index", self.name())];
            if target == "/_bulk" || self.flip() {
                metadata.push(("_id", self.id()));
            } else {
                metadata.reverse();
                metadata.push(("_id", string("1")));
            }
            if self.odd(10) {
                let (key, value) = match self.random.below(6) {
                    0 => ("_index", self.name()),
                    1 => ("index", self.name()),
                    2 => ("x", object(vec![("_index", self.name())])),
                    3 => ("routing", string("r")),
                    4 => ("op_type", string(self.random.pick(&["create", "index", "delete"]))),
                    _ => ("require_alias", Json::Raw("false")),
                };
                metadata.push((key, value));
            }
            let mut line = vec![(action, object(metadata))];
            if self.odd(30) {
                line.push(("delete", object(vec![("_index", self.name()), ("_id", string("1"))])));
            }
            lines.push(self.document(&object(line)));
            match action {
                "delete" => {}
                "update" => lines.push(r#"{"doc":{"message":"odd"}}"#.to_owned()),
                _ => lines.push(r#"{"message":"odd"}"#.to_owned()),
            }
        }
        let body = self.joined(&lines);
        (target, true, body)
    }

    fn msearch(&mut self) -> (String, bool, String) {
        let target = if self.flip() { format!("/{}/_msearch", self.path()) } else { "/_msearch".to_owned() };
        let mut lines = Vec::new();
        for _ in 0..=self.random.below(2) {
            let mut header = vec![("index", self.name())];
            if self.odd(8) {
                header.push((self.random.pick(&["indices", "index", "_index", "Index"]), self.name()));
            }
            if self.random.below(8) == 0 && target != "/_msearch" {
                header.clear();
            }
            lines.push(self.document(&object(header)));
            let search = self.a_search();
            lines.push(self.document(&search));
        }
        let body = self.joined(&lines);
        (target, true, body)
    }

    fn documents(&mut self) -> Json {
        let documents = (0..=self.random.below(2)).map(|_| {
            let mut document = vec![("_index", self.name()), ("_id", self.id())];
            if self.odd(8) {
                let (key, value) = match self.random.below(4) {
                    0 => ("_index", self.name()),
                    1 => ("x", object(vec![("_index", self.name())])),
                    2 => ("x", Json::Array(vec![object(vec![("_index", self.name())])])),
                    _ => ("index", self.name()),
                };
                document.push((key, value));
            }
            object(document)
        });
        Json::Array(documents.collect())
    }

    fn mget(&mut self) -> (String, bool, String) {
        let (target, body) = if self.flip() {
            ("/_mget".to_owned(), object(vec![("docs", self.documents())]))
        } else {
            let ids = Json::Array(vec![self.id(), self.id()]);
            (format!("/{}/_mget", self.index()), object(vec![("ids", ids)]))
        };
        let body = self.document(&body);
        (target, false, body)
    }

    fn mtermvectors(&mut self) -> (String, bool, String) {
        let body = object(vec![("docs", self.documents())]);
        let body = self.document(&body);
        ("/_mtermvectors".to_owned(), false, body)
    }

    fn reindex(&mut self) -> (String, bool, String) {
        let mut source = vec![("index", self.name())];
        if self.flip() {
            source.push(("query", self.query(1)));
        }
        let to = match self.name() {
            Json::String(name) if INSIDE.contains(&&*name) => string("e2e-odd-in-copy"),
            other => other,
        };
        let mut body = vec![("source", object(source)), ("dest", object(vec![("index", to)]))];
        body.push(("max_docs", Json::Raw("1")));
        body.push(("conflicts", string("proceed")));
        let body = self.document(&object(body));
        ("/_reindex".to_owned(), false, body)
    }

    /// Lines, mostly each with its end.
    fn joined(&mut self, lines: &[String]) -> String {
        let mut out = String::new();
        for (at, line) in lines.iter().enumerate() {
            out.push_str(line);
            let is_last = at + 1 == lines.len();
            out.push_str(match self.odd(if is_last { 10 } else { 25 }) {
                true => self.random.pick(&["", "\r\n", "\n\n", "\r", " \n", "\u{2028}", "\n \n", "\u{b}\n"]),
                false => "\n",
            });
        }
        out
    }

    /// A document, and perhaps more beside it.
    fn document(&mut self, value: &Json) -> String {
        let mut out = self.space();
        self.write(value, &mut out);
        out.push_str(&self.space());
        if self.odd(60) {
            out.push_str(self.random.pick(&["{}", " x", "{\"index\":\"e2e-odd-out\"}", "]", ",", "\0"]));
        }
        out
    }

    fn write(&mut self, value: &Json, out: &mut String) {
        match value {
            Json::Raw(text) => out.push_str(text),
            Json::String(text) => self.quoted(text, out),
            Json::Array(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(&self.space());
                    self.write(value, out);
                }
                out.push_str(if self.odd(80) { ",]" } else { "]" });
            }
            Json::Object(members) => {
                out.push('{');
                let mut members = members.clone();
                // Of two keys alike a reader may take either.
                if !members.is_empty() && self.odd(40) {
                    let twice =
                        members[usize::try_from(self.random.below(members.len() as u64)).expect("small")].0.clone();
                    members.push((twice, self.name()));
                }
                for (at, (key, value)) in members.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(&self.space());
                    match self.odd(90) {
                        true if self.flip() => out.push_str(key),
                        true => out.push_str(&format!("'{key}'")),
                        false => self.quoted(key, out),
                    }
                    out.push_str(&self.space());
                    out.push(':');
                    out.push_str(&self.space());
                    self.write(value, out);
                }
                out.push_str(&self.space());
                out.push_str(if self.odd(80) { ",}" } else { "}" });
            }
        }
    }

    /// A string, perhaps with escapes for letters that need none.
    fn quoted(&mut self, text: &str, out: &mut String) {
        out.push('"');
        let is_odd = self.odd(15);
        for letter in text.chars() {
            match (is_odd && self.random.below(3) == 0, letter) {
                (true, '/') => out.push_str("\\/"),
                (true, _) if self.flip() => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
                (true, _) => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
                (false, '"' | '\\') => {
                    out.push('\\');
                    out.push(letter);
                }
                (false, _) => out.push(letter),
            }
        }
        if self.odd(150) {
            out.push_str(self.random.pick(&["\\ud800", "\\u0000", "\u{0}", "\\x41", "\u{feff}", "\\"]));
        }
        out.push('"');
    }

    fn space(&mut self) -> String {
        let space = match self.odd(60) {
            true => self.random.pick(&[
                " ",
                "\t",
                "\r",
                "\n",
                "  ",
                "/* x */",
                "// x\n",
                "# x\n",
                "\u{a0}",
                "\u{b}",
                "/*\"index\":*/",
            ]),
            false => "",
        };
        space.to_owned()
    }

    fn encoded(&mut self, text: String) -> Vec<u8> {
        if !self.odd(40) {
            return text.into_bytes();
        }
        let wide: Vec<u16> = text.encode_utf16().collect();
        match self.random.below(5) {
            0 => wide.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            1 => wide.iter().flat_map(|unit| unit.to_le_bytes()).collect(),
            2 => [&[0xff, 0xfe][..], &wide.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<u8>>()].concat(),
            3 => [&[0xef, 0xbb, 0xbf][..], text.as_bytes()].concat(),
            // An overlong form of a letter.
            _ => text.bytes().flat_map(|byte| if byte == b'o' { vec![0xc1, 0xaf] } else { vec![byte] }).collect(),
        }
    }
}

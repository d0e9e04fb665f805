//! The requests a token `read:logs-*` must not get through, with what each wall answers.

mod table;

use e2e::Answer;
pub use table::outside;

/// A request, what the gateway answers and what the engine answers by itself.
pub struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<(&'static str, String)>,
    gateway: u16,
    engine: AtEngine,
    /// Why the engine is not asked, where it is not.
    not_asked: Option<&'static str>,
}

/// What the engine does with a request when the gateway lets it through: the same on 2.19.4 and 3.4.0.
#[derive(Clone, Copy, Debug)]
pub enum AtEngine {
    /// It refuses all of it, with this status. 403 is the security plugin's; others come before it, from the routes
    /// and readers of the REST layer, and the table says which.
    Refuses(u16),
    /// It answers 200 and refuses every item but those inside: `_bulk`, `_msearch`, `_mget`.
    RefusesItems(usize),
    /// It answers with this status, since nothing of what is asked for is outside in its eyes; only the gateway is
    /// stricter, for the reason given. Nothing of customers is in the answer and nothing is changed.
    Permits(u16),
}

impl Request {
    pub fn name(&self) -> String {
        let body = self.body.as_ref().map_or(String::new(), |(_, body)| format!(" {}", body.replace('\n', "\\n")));
        format!("`{} {}{body}`", self.method, self.target)
    }

    pub fn method(&self) -> &'static str {
        self.method
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn headers(&self) -> &[(&'static str, &'static str)] {
        &self.headers
    }

    pub fn body(&self) -> Option<(&'static str, &str)> {
        self.body.as_ref().map(|(content_type, body)| (*content_type, body.as_str()))
    }

    pub const fn at_gateway(&self) -> u16 {
        self.gateway
    }

    /// Whether it is refused before anybody asks who sent it.
    pub fn is_at_the_door(&self) -> bool {
        self.gateway == 400 && (self.target.contains("..") || self.target.contains("%2e"))
    }

    /// None where the engine is not asked.
    pub const fn at_engine(&self) -> Option<AtEngine> {
        match self.not_asked {
            Some(_) => None,
            None => Some(self.engine),
        }
    }
}

impl AtEngine {
    pub fn check(self, answer: &Answer) -> Result<(), String> {
        let (status, refused) = match self {
            Self::Refuses(status) | Self::Permits(status) => (status, None),
            Self::RefusesItems(count) => (200, Some(count)),
        };
        if answer.status != status {
            return Err(format!("not {status}"));
        }
        let body = answer.text();
        let is_security_s = ["security_exception", "no permissions", "No permission to access REST API"]
            .iter()
            .any(|word| body.contains(word));
        // An answer to HEAD says nothing.
        if status == 403 && !body.is_empty() && !is_security_s {
            return Err("403, but not the security plugin's".to_owned());
        }
        match refused {
            Some(count) if body.matches("\"security_exception\"").count() < count => {
                Err(format!("not {count} items refused"))
            }
            _ => Ok(()),
        }
    }
}

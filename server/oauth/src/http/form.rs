//! Parameters: `application/x-www-form-urlencoded`, read in exactly one way or not at all.

use axum::body::Body;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{ErrorCode, Refusal};

/// Longest form, in bytes.
pub(crate) const MAX_FORM_BYTES: usize = 64 * 1024;
/// Most parameters of one form.
const MAX_PARAMETERS: usize = 64;

/// The parameters of a request. Has no `Debug`: it holds secrets.
pub(crate) struct Form(Vec<(String, String)>);

/// A form that cannot be read. Names no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// A parameter of the form came in the address.
    #[error(
        "parameters go into the body: what stands in an address ends up in logs, so a secret sent there must be replaced"
    )]
    InQuery,
    /// Not a form.
    #[error("send the parameters with `Content-Type: application/x-www-form-urlencoded`")]
    ContentType,
    /// A compressed form.
    #[error("the form must not be compressed (`Content-Encoding`)")]
    ContentEncoding,
    /// Too long.
    #[error("the form is longer than {MAX_FORM_BYTES} bytes")]
    TooLong,
    /// The body did not arrive.
    #[error("the body could not be read to its end")]
    Broken,
    /// Too many parameters.
    #[error("the form has more than {MAX_PARAMETERS} parameters")]
    TooMany,
    /// Percent-encoding or UTF-8 that is none, or a control character.
    #[error("a parameter is not percent-encoded UTF-8 text")]
    Encoding,
    /// A parameter that is there twice (RFC 6749 section 3.2).
    #[error("the parameter `{0}` is there more than once")]
    Repeated(&'static str),
    /// Some other parameter that is there twice.
    #[error("a parameter is there more than once")]
    RepeatedOther,
}

/// The parameters that an error may name.
const KNOWN: [&str; 31] = [
    "grant_type",
    "client_id",
    "client_secret",
    "scope",
    "token",
    "token_type_hint",
    "client_assertion",
    "client_assertion_type",
    "assertion",
    "audience",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "limit",
    "cursor",
    "state",
    "access_token",
    "code",
    "code_verifier",
    "code_challenge",
    "code_challenge_method",
    "iss",
    "login_hint",
    "max_age",
    "nonce",
    "prompt",
    "redirect_uri",
    "refresh_token",
    "response_type",
];

/// May be there more than once (RFC 8707 section 2).
const REPEATABLE: &str = "resource";

impl Form {
    /// Reads a request's form.
    pub(crate) async fn read(uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Self, FormError> {
        if uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(FormError::InQuery);
        }
        if !is_form(headers) {
            return Err(FormError::ContentType);
        }
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(FormError::ContentEncoding);
        }
        let body = Limited::new(body, MAX_FORM_BYTES)
            .collect()
            .await
            .map_err(|error| {
                let too_long = error.is::<LengthLimitError>()
                    || error.source().is_some_and(|source| source.is::<LengthLimitError>());
                if too_long { FormError::TooLong } else { FormError::Broken }
            })?
            .to_bytes();
        Self::parse(&body)
    }

    /// Reads a query.
    pub(crate) fn from_query(uri: &Uri) -> Result<Self, FormError> {
        Self::parse(uri.query().unwrap_or_default().as_bytes())
    }

    fn parse(text: &[u8]) -> Result<Self, FormError> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if parameters.len() >= MAX_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default()).ok_or(FormError::Encoding)?;
            let value = decode(halves.next().unwrap_or_default()).ok_or(FormError::Encoding)?;
            if name != REPEATABLE && parameters.iter().any(|(other, _)| *other == name) {
                return Err(KNOWN
                    .into_iter()
                    .find(|known| *known == name)
                    .map_or(FormError::RepeatedOther, FormError::Repeated));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    /// A parameter's value; one without value counts as left out (RFC 6749 section 3.2).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of a parameter that may be there more than once.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, value)| other == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Whether there is any parameter not among these.
    pub(crate) fn has_other_than(&self, names: &[&str]) -> bool {
        self.0.iter().any(|(name, _)| !names.contains(&name.as_str()))
    }
}

impl From<FormError> for Refusal {
    fn from(error: FormError) -> Self {
        let code = match error {
            FormError::TooLong => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidRequest,
        };
        Self::new(code, error)
    }
}

/// Decodes `application/x-www-form-urlencoded` text: `+` is a space, `%` and two digits a byte. None when it is not
/// UTF-8 then, or has control characters, or a `%` without two digits.
pub(super) fn decode(text: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = char::from(*rest.next()?).to_digit(16)?;
                let low = char::from(*rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        && parts.all(|parameter| {
            parameter.split_once('=').is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("charset") && value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            })
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, String)>, FormError> {
        Form::parse(text.as_bytes()).map(|form| form.0)
    }

    #[test]
    fn parameters_are_decoded_once() {
        let form = parse("a=1+2&b=%2B%2525&%63=x=y&d&&e=").unwrap();
        let expected = [("a", "1 2"), ("b", "+%25"), ("c", "x=y"), ("d", ""), ("e", "")];
        assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn repeated_parameters_are_refused_also_when_written_in_another_way() {
        assert_eq!(parse("scope=a&scope=a"), Err(FormError::Repeated("scope")));
        assert_eq!(parse("scope=a&%73cope="), Err(FormError::Repeated("scope")));
        assert_eq!(parse("x=1&x=2"), Err(FormError::RepeatedOther));
        assert!(parse("resource=a&resource=b").is_ok());
    }

    #[test]
    fn what_is_not_text_is_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%-1", "a=%ff", "a=%c0%80", "a=%00", "a=%0d%0a", "%0a=1", "a=\u{0}"] {
            assert_eq!(parse(text), Err(FormError::Encoding), "{text:?}");
        }
        assert_eq!(Form::parse(b"a=\xff").err(), Some(FormError::Encoding));
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        let text = |count: usize| (0..count).map(|n| format!("p{n}=&")).collect::<String>();
        assert!(parse(&text(MAX_PARAMETERS)).is_ok());
        assert_eq!(parse(&text(MAX_PARAMETERS + 1)), Err(FormError::TooMany));
    }

    #[test]
    fn only_one_plain_form_type_is_taken() {
        let taken = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, value.parse().unwrap());
            }
            is_form(&headers)
        };
        assert!(taken(&["application/x-www-form-urlencoded"]));
        assert!(taken(&["Application/X-WWW-Form-Urlencoded; charset=UTF-8"]));
        for values in [
            &[][..],
            &["application/json"],
            &["application/x-www-form-urlencodedx"],
            &["multipart/form-data; boundary=x"],
            &["application/x-www-form-urlencoded, application/json"],
            &["application/x-www-form-urlencoded; charset=utf-16"],
            &["application/x-www-form-urlencoded", "application/x-www-form-urlencoded"],
            &["text/plain; application/x-www-form-urlencoded"],
        ] {
            assert!(!taken(values), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Form::parse(&bytes);
        }

        #[test]
        fn what_is_encoded_is_read_back(value in "[^\\p{Cc}]{0,40}") {
            let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decode(encoded.as_bytes()), Some(value));
        }
    }
}

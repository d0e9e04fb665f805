//! By which key a token is signed. The key decides, never the token: its header only says where to look.

use oauth4os_tokens::jose::{Algorithm, ForeignKey, ForeignToken};

use crate::verify::Refused;

/// Verifies the signature by a key of a published set that is for the token's algorithm, which must be one that is taken.
pub(crate) fn by_published(keys: &[ForeignKey], taken: &[Algorithm], token: &ForeignToken<'_>) -> Result<(), Refused> {
    if !taken.contains(&token.algorithm) {
        return Err(Refused::Algorithm);
    }
    let candidates: Vec<_> = match token.kid.as_deref() {
        Some(kid) => {
            let named: Vec<_> = keys.iter().filter(|key| key.kid() == Some(kid)).collect();
            if named.is_empty() {
                return Err(Refused::UnknownKey);
            }
            named.into_iter().filter(|key| serves(key, token)).collect()
        }
        None => {
            let fitting: Vec<_> = keys.iter().filter(|key| serves(key, token)).collect();
            if fitting.len() > 1 {
                return Err(Refused::NoKeyNamed);
            }
            fitting
        }
    };
    by_any(&candidates, token)
}

/// Verifies the signature by one of a few keys that somebody wrote down. A key without id may be meant by any.
pub(crate) fn by_written(keys: &[ForeignKey], token: &ForeignToken<'_>) -> Result<(), Refused> {
    let is_meant = |key: &ForeignKey| match (key.kid(), token.kid.as_deref()) {
        (Some(own), Some(named)) => own == named,
        _ => true,
    };
    let meant: Vec<_> = keys.iter().filter(|key| is_meant(key)).collect();
    if meant.is_empty() {
        return Err(Refused::UnknownKey);
    }
    let candidates: Vec<_> = meant.into_iter().filter(|key| serves(key, token)).collect();
    by_any(&candidates, token)
}

fn serves(key: &ForeignKey, token: &ForeignToken<'_>) -> bool {
    key.algorithms().any(|served| served == token.algorithm)
}

fn by_any(candidates: &[&ForeignKey], token: &ForeignToken<'_>) -> Result<(), Refused> {
    if candidates.is_empty() {
        return Err(Refused::Algorithm);
    }
    let signed = token.signed.as_bytes();
    if candidates.iter().any(|key| key.verify(token.algorithm, signed, &token.signature)) {
        Ok(())
    } else {
        Err(Refused::Signature)
    }
}

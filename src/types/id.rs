//! The error of every parsing constructor in this room.

/// Why a value from outside was refused. `what` names the type, `why` says what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what}: {why}")]
pub struct ParseError {
    pub what: &'static str,
    pub why: &'static str,
}

impl ParseError {
    pub(crate) const fn new(what: &'static str, why: &'static str) -> Self {
        Self { what, why }
    }
}

/// Decodes exactly `N` bytes of lower- or upper-case hex.
pub(crate) fn parse_hex<const N: usize>(what: &'static str, text: &str) -> Result<[u8; N], ParseError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| ParseError::new(what, "not hex of the right length"))?;
    Ok(bytes)
}

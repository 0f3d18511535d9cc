//! CORS rules: pages of which origins may use a bucket from a browser, and how.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>

use super::ParseError;
use serde::{Deserialize, Serialize};

/// The most rules of a bucket.
pub const MAX_CORS_RULES: usize = 100;

/// A bucket's rules, in the order in which they were given: the first that fits decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CorsRules(pub Vec<CorsRule>);

/// Fields are only ever added, with a default: stored rules are read by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    #[serde(default)]
    pub id: Option<String>,
    pub origins: Vec<CorsPattern>,
    pub methods: Vec<CorsMethod>,
    /// Of requests.
    #[serde(default)]
    pub headers: Vec<CorsPattern>,
    /// Of answers.
    #[serde(default)]
    pub exposed: Vec<ExposedHeader>,
    /// How long a browser may remember the answer to its question.
    #[serde(default)]
    pub max_age_seconds: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CorsMethod {
    Get,
    Put,
    Post,
    Delete,
    Head,
}

/// Text in which one `*` stands for any text, also for none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CorsPattern(String);

/// Text that can stand in a header's value; AWS does not ask that it is the name of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExposedHeader(String);

/// What a browser asks about a request, or says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsQuestion {
    pub origin: String,
    pub method: String,
    /// In lower case. `None`: what no rule can allow.
    pub headers: Option<Vec<String>>,
}

impl CorsMethod {
    const ALL: [Self; 5] = [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Head];

    /// # Errors
    /// When rules cannot be about the method.
    pub fn parse(name: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|method| method.as_str() == name);
        found.ok_or(ParseError::new("CORS method", "use GET, PUT, POST, DELETE or HEAD"))
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }
}

impl CorsPattern {
    /// # Errors
    /// When there are several `*`.
    pub fn parse(text: String) -> Result<Self, ParseError> {
        if text.matches('*').count() > 1 {
            return Err(ParseError::new("CORS pattern", "can not have more than one wildcard."));
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn covers(&self, text: &str, is_same: fn(&[u8], &[u8]) -> bool) -> bool {
        let text = text.as_bytes();
        let Some((start, end)) = self.0.split_once('*') else { return is_same(self.0.as_bytes(), text) };
        let (start, end) = (start.as_bytes(), end.as_bytes());
        text.len() >= start.len() + end.len()
            && is_same(start, &text[..start.len()])
            && is_same(end, &text[text.len() - end.len()..])
    }

    fn covers_origin(&self, origin: &str) -> bool {
        self.covers(origin, |pattern, text| pattern == text)
    }

    fn covers_header(&self, name: &str) -> bool {
        self.covers(name, <[u8]>::eq_ignore_ascii_case)
    }
}

impl ExposedHeader {
    /// # Errors
    /// When there is a `*`, or what cannot stand in a header.
    pub fn parse(text: String) -> Result<Self, ParseError> {
        let refused = |why| Err(ParseError::new("exposed header", why));
        if text.contains('*') {
            return refused("contains wildcard. We currently do not support wildcard for ExposeHeader.");
        }
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return refused("can have visible ASCII characters only.");
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CorsRule {
    fn covers(&self, question: &CorsQuestion) -> bool {
        let allows = |name: &String| self.headers.iter().any(|pattern| pattern.covers_header(name));
        self.methods.iter().any(|method| method.as_str() == question.method)
            && self.origins.iter().any(|pattern| pattern.covers_origin(&question.origin))
            && question.headers.as_ref().is_some_and(|names| names.iter().all(allows))
    }

    /// Whether it is for everybody, hence for nobody with credentials.
    #[must_use]
    pub fn is_for_every_origin(&self) -> bool {
        self.origins.iter().any(|pattern| pattern.0 == "*")
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let patterns = self.origins.iter().chain(&self.headers).map(CorsPattern::as_str);
        patterns.chain(self.exposed.iter().map(ExposedHeader::as_str)).chain(self.id.as_deref())
    }
}

impl CorsRules {
    /// The rule that allows what is asked.
    #[must_use]
    pub fn allowing(&self, question: &CorsQuestion) -> Option<&CorsRule> {
        self.0.iter().find(|rule| rule.covers(question))
    }

    /// Bytes that they take in memory, roughly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_rule = |rule: &CorsRule| {
            let texts = rule.texts().map(|text| text.len() + 40).sum::<usize>();
            size_of::<CorsRule>() + rule.methods.len() + texts
        };
        self.0.iter().map(of_rule).sum()
    }
}

impl TryFrom<String> for CorsPattern {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl From<CorsPattern> for String {
    fn from(pattern: CorsPattern) -> Self {
        pattern.0
    }
}

impl TryFrom<String> for ExposedHeader {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl From<ExposedHeader> for String {
    fn from(header: ExposedHeader) -> Self {
        header.0
    }
}

#[cfg(test)]
#[path = "cors_tests.rs"]
mod tests;

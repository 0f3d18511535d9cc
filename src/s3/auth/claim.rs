//! What a request says of its signature, before any of it is believed.

use crate::s3::query::Query;
use time::format_description::BorrowedFormatItem;
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

/// `20130524T000000Z`.
const BASIC: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");

/// The signature of a request, and what it claims to be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) access_key: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    /// In lower case, as they have to be, and in the order of the claim.
    pub(super) headers: Vec<String>,
    pub(super) signature: String,
}

/// When a request was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct SignedAt {
    /// As it stands in the string that was signed.
    pub(super) text: String,
    pub(super) at: OffsetDateTime,
}

impl SignedAt {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let at = PrimitiveDateTime::parse(text, BASIC).ok()?.assume_utc();
        Some(Self { text: text.to_owned(), at })
    }

    /// Of a `Date` header, which stands in for `x-amz-date`.
    pub(super) fn parse_http(text: &str) -> Option<Self> {
        let at = crate::s3::dates::parse_http_date(text)?;
        Some(Self { text: at.format(BASIC).ok()?, at })
    }

    pub(super) fn day(&self) -> &str {
        self.text.get(..8).unwrap_or_default()
    }
}

impl Claim {
    /// ` Credential=…, SignedHeaders=…, Signature=…`, each once and nothing else.
    pub(super) fn parse_header(fields: &str) -> Option<Self> {
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            let (name, value) = field.trim().split_once('=')?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if slot.replace(value).is_some() {
                return None;
            }
        }
        Self::new(credential?, headers?, signature?)
    }

    /// `key/date/region/service/aws4_request`; the key may have slashes.
    fn new(credential: &str, headers: &str, signature: &str) -> Option<Self> {
        let headers: Vec<_> = headers.split(';').map(str::to_owned).collect();
        let is_name = |name: &String| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase());
        headers.iter().all(is_name).then_some(())?;
        Some(Self { headers, ..Self::of_form(credential, signature)? })
    }

    /// Of a form, whose policy is all that is signed.
    pub(super) fn of_form(credential: &str, signature: &str) -> Option<Self> {
        let mut scope = credential.rsplitn(5, '/');
        (scope.next()? == "aws4_request").then_some(())?;
        let mut next = || scope.next().map(str::to_owned);
        let (service, region, date, access_key) = (next()?, next()?, next()?, next()?);
        let headers = Vec::new();
        Some(Self { access_key, date, region, service, headers, signature: signature.to_owned() })
    }

    pub(super) fn covers(&self, header: &str) -> bool {
        self.headers.iter().any(|name| name == header)
    }

    pub(super) fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// A presigned URL's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Presigned {
    pub(super) claim: Claim,
    pub(super) signed_at: SignedAt,
    pub(super) expires_seconds: u32,
}

impl Presigned {
    /// The six parameters, each once and by its exact name.
    pub(super) fn parse(query: &Query) -> Option<Self> {
        let one = |name: &str| {
            let mut values = query.values_of(name);
            let (spelled, value) = values.next()?;
            (spelled == name && values.next().is_none()).then(|| value.to_owned())
        };
        (one("X-Amz-Algorithm")? == super::ALGORITHM).then_some(())?;
        let claim =
            Claim::new(&one("X-Amz-Credential")?, &one("X-Amz-SignedHeaders")?, &one("X-Amz-Signature")?)?;
        let signed_at = SignedAt::parse(&one("X-Amz-Date")?)?;
        Some(Self { claim, signed_at, expires_seconds: one("X-Amz-Expires")?.parse().ok()? })
    }
}

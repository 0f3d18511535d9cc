//! What a signature says of itself.

/// The parts of a signature that the gate looks at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) region: String,
    pub(super) service: String,
    /// In lower case, as they have to be.
    pub(super) headers: Vec<String>,
    /// Of a query signature, in seconds.
    pub(super) expires: Option<u32>,
    /// As it was sent; s3s compares it.
    signature: String,
}

impl Signed {
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
        Self::new(credential?, headers?, None, signature?)
    }

    /// Whether the signature could be one: an HMAC-SHA256 in hex.
    pub(super) fn has_well_formed_signature(&self) -> bool {
        self.signature.len() == 64
            && self.signature.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The six parameters of a presigned URL, each once, by their exact names.
    pub(super) fn parse_query(query: &str) -> Option<Self> {
        const NAMES: [&str; 6] = [
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-SignedHeaders",
            "X-Amz-Signature",
        ];
        let mut values: [Option<String>; 6] = Default::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if let Some(at) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(&name))
                && (name != NAMES[at] || values[at].replace(decode(value)?).is_some())
            {
                return None;
            }
        }
        let [algorithm, credential, date, expires, headers, signature] = values;
        date?;
        (algorithm? == "AWS4-HMAC-SHA256").then_some(())?;
        let expires = expires?.parse().ok()?;
        Self::new(&credential?, &headers?, Some(expires), &signature?)
    }

    /// `key/date/region/service/aws4_request`; the key may have slashes.
    fn new(credential: &str, headers: &str, expires: Option<u32>, signature: &str) -> Option<Self> {
        let mut scope = credential.rsplitn(5, '/');
        (scope.next()? == "aws4_request").then_some(())?;
        let (service, region, _date, _key) = (scope.next()?, scope.next()?, scope.next()?, scope.next()?);
        let headers: Vec<_> = headers.split(';').map(str::to_owned).collect();
        let is_name = |name: &String| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase());
        headers.iter().all(is_name).then_some(())?;
        let (region, service, signature) = (region.to_owned(), service.to_owned(), signature.to_owned());
        Some(Self { region, service, headers, expires, signature })
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

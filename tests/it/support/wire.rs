//! Requests as bytes on the wire, signed by AWS's own code: for what no client would send.

use super::sediment::{PASSWORD, Sediment, USER};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
pub const CHUNKED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
pub const CHUNKED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
pub const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// The text of an element of the document.
    pub fn element(&self, name: &str) -> &str {
        let start = self.body.find(&format!("<{name}>")).map(|at| at + name.len() + 2);
        start
            .and_then(|start| self.body[start..].split_once(&format!("</{name}>")))
            .map_or("", |(text, _)| text)
    }

    /// Status and error code.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.element("Code"))
    }
}

/// A request to be signed and sent.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    /// Path and query, encoded.
    pub target: String,
    pub host: Option<String>,
    pub headers: Vec<(String, String)>,
    /// Added after signing.
    pub unsigned: Vec<(String, String)>,
    pub payload: String,
    pub body: Vec<u8>,
    pub presign_seconds: Option<u64>,
}

/// A server with an empty bucket, `bucket`.
pub fn start_with_bucket() -> (tempfile::TempDir, Sediment, Wire) {
    let dir = tempfile::tempdir().unwrap();
    let server = Sediment::serve(dir.path(), &[]);
    let wire = Wire::new(&server);
    assert_eq!(wire.send(&request("PUT", "/bucket")).status, 200);
    (dir, server, wire)
}

pub fn request(method: &'static str, target: &str) -> Request {
    Request {
        method,
        target: target.to_owned(),
        host: None,
        headers: Vec::new(),
        unsigned: Vec::new(),
        payload: UNSIGNED.to_owned(),
        body: Vec::new(),
        presign_seconds: None,
    }
}

impl Request {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn unsigned(mut self, name: &str, value: &str) -> Self {
        self.unsigned.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// With the digest of its body, which some operations insist on.
    pub fn with_md5(self) -> Self {
        let digest = BASE64.encode(Md5::digest(&self.body));
        self.header("content-md5", &digest)
    }

    pub fn payload(mut self, payload: &str) -> Self {
        self.payload = payload.to_owned();
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub fn presigned(mut self, seconds: u64) -> Self {
        self.presign_seconds = Some(seconds);
        self
    }
}

pub struct Wire {
    address: String,
    access_key: String,
    secret_key: String,
}

/// A request that is signed: its target, its headers, and what chunks are signed with.
pub struct Signed {
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub signature: String,
    pub at: SystemTime,
}

impl Wire {
    pub fn new(server: &Sediment) -> Self {
        Self::signing(server, USER, PASSWORD)
    }

    /// Signs with the keys of an account.
    pub fn signing(server: &Sediment, access_key: &str, secret_key: &str) -> Self {
        let address = server.s3.trim_start_matches("http://").to_owned();
        Self { address, access_key: access_key.to_owned(), secret_key: secret_key.to_owned() }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn sign(&self, request: &Request) -> Signed {
        self.sign_at(request, SystemTime::now())
    }

    pub fn sign_at(&self, request: &Request, at: SystemTime) -> Signed {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        if let Some(seconds) = request.presign_seconds {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(seconds));
            settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        }
        let (access_key, secret_key) = (self.access_key.as_str(), self.secret_key.as_str());
        let identity = aws_credential_types::Credentials::new(access_key, secret_key, None, None, "test");
        let identity = identity.into();
        let params = v4::SigningParams::builder().identity(&identity).region("us-east-1").name("s3").time(at);
        let params = params.settings(settings).build().unwrap().into();
        let host = request.host.clone().unwrap_or_else(|| self.address.clone());
        let mut headers = vec![("host".to_owned(), host.clone())];
        headers.extend(request.headers.iter().cloned());
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let uri = format!("http://{host}{}", request.target);
        let body = SignableBody::Precomputed(request.payload.clone());
        let signable = SignableRequest::new(request.method, &uri, pairs, body).unwrap();
        let (instructions, signature) = sign(signable, &params).unwrap().into_parts();
        let (signed, query) = instructions.into_parts();
        headers
            .extend(signed.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())));
        let mut target = request.target.clone();
        for (name, value) in query {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&format!("{name}={}", value.replace('/', "%2F").replace(';', "%3B")));
        }
        Signed { target, headers, signature, at }
    }

    pub fn send(&self, request: &Request) -> Answer {
        let signed = self.sign(request);
        self.send_signed(request, &signed, &request.body)
    }

    /// Sends a request that nobody signed.
    pub fn send_anonymous(&self, request: &Request) -> Answer {
        let mut headers = vec![("host".to_owned(), self.address.clone())];
        headers.extend(request.headers.iter().cloned());
        let (target, signature) = (request.target.clone(), String::new());
        let unsigned = Signed { target, headers, signature, at: SystemTime::now() };
        self.send_signed(request, &unsigned, &request.body)
    }

    /// Closes behind the body; its length is announced unless it comes in HTTP's own chunks.
    pub fn send_signed(&self, request: &Request, signed: &Signed, body: &[u8]) -> Answer {
        let mut text = format!("{} {} HTTP/1.1\r\n", request.method, signed.target);
        let all = signed.headers.iter().chain(&request.unsigned);
        all.clone().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        let is_framed = all.clone().any(|(name, _)| name == "transfer-encoding" || name == "content-length");
        if !is_framed && (!body.is_empty() || matches!(request.method, "PUT" | "POST")) {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("connection: close\r\n\r\n");
        let answer = super::sediment::exchange(&self.address, &[text.as_bytes(), body].concat());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Answer { status: status.unwrap_or(0), headers, body: body.to_owned() }
    }

    /// A body in signed chunks, with a trailer if one is given.
    pub fn signed_chunks(&self, signed: &Signed, chunks: &[&[u8]], trailer: Option<(&str, &str)>) -> Vec<u8> {
        let stamp = signed.headers.iter().find(|(name, _)| name == "x-amz-date").unwrap().1.clone();
        let scope = format!("{}/us-east-1/s3/aws4_request", &stamp[..8]);
        let key = v4::generate_signing_key(&self.secret_key, signed.at, "us-east-1", "s3");
        let mut previous = signed.signature.clone();
        let mut next = |kind: &str, rest: String| {
            let text = format!("AWS4-HMAC-SHA256-{kind}\n{stamp}\n{scope}\n{previous}\n{rest}");
            previous = v4::calculate_signature(&key, text.as_bytes());
            previous.clone()
        };
        let empty = hex::encode(Sha256::digest(b""));
        let mut body = Vec::new();
        for chunk in chunks.iter().chain(&[&b""[..]]) {
            let signature = next("PAYLOAD", format!("{empty}\n{}", hex::encode(Sha256::digest(chunk))));
            body.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
            if !chunk.is_empty() {
                body.extend_from_slice(&[chunk, &b"\r\n"[..]].concat());
            }
        }
        if let Some((name, value)) = trailer {
            let signature = next("TRAILER", hex::encode(Sha256::digest(format!("{name}:{value}\n"))));
            body.extend_from_slice(
                format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes(),
            );
        }
        body.extend_from_slice(b"\r\n");
        body
    }
}

/// A body in chunks without signatures.
pub fn plain_chunks(chunks: &[&[u8]], trailer: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in chunks {
        body.extend_from_slice(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, &b"\r\n"[..]].concat());
    }
    body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    body
}

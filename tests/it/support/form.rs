//! Browser forms as bytes on the wire, with policies signed by AWS's own code.

use super::sediment::{PASSWORD, USER};
use super::wire::{Answer, Signed, Wire, request};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

/// A form to be sent to a bucket.
#[derive(Clone)]
pub struct Form {
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub fields: Vec<(String, String)>,
    pub filename: Option<String>,
    pub file: Vec<u8>,
    /// Behind the file.
    pub trailing: Vec<(String, String)>,
    /// Access key and secret.
    keys: (String, String),
}

/// A form without a policy.
pub fn form(bucket: &str, key: &str, file: &[u8]) -> Form {
    Form {
        target: format!("/{bucket}"),
        headers: Vec::new(),
        fields: vec![("key".to_owned(), key.to_owned())],
        filename: Some("a file.txt".to_owned()),
        file: file.to_vec(),
        trailing: Vec::new(),
        keys: (USER.to_owned(), PASSWORD.to_owned()),
    }
}

impl Form {
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// To be signed with the keys of an account.
    pub fn by(mut self, access_key: &str, secret_key: &str) -> Self {
        self.keys = (access_key.to_owned(), secret_key.to_owned());
        self
    }

    /// Signed with a policy that allows each field as it is, this bucket, and what else is listed.
    pub fn signed(self, bucket: &str, more: &[Value]) -> Self {
        let allowed =
            self.fields.iter().filter(|(name, _)| name != "key").map(|(name, value)| json!({ name: value }));
        let mut conditions: Vec<_> = allowed.collect();
        conditions.extend([json!({ "bucket": bucket }), json!(["starts-with", "$key", ""])]);
        conditions.extend_from_slice(more);
        self.signed_with(conditions, 600)
    }

    /// Signed with a policy of these conditions, and those on the signature, that ends so many seconds from now.
    pub fn signed_with(self, mut conditions: Vec<Value>, seconds: i64) -> Self {
        let now = SystemTime::now();
        let stamp = stamp(now);
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", self.keys.0, &stamp[..8]);
        let signature = [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", &credential),
            ("x-amz-date", &stamp),
        ];
        conditions.extend(signature.iter().map(|(name, value)| json!({ *name: value })));
        let expiration = OffsetDateTime::from(now) + time::Duration::seconds(seconds);
        let expiration = expiration.replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap();
        let policy = json!({ "expiration": expiration, "conditions": conditions }).to_string();
        let policy = base64::engine::general_purpose::STANDARD.encode(policy);
        let key = v4::generate_signing_key(&self.keys.1, now, "us-east-1", "s3");
        let signed = signature.iter().fold(self, |form, (name, value)| form.field(name, value));
        signed
            .field("policy", &policy)
            .field("x-amz-signature", &v4::calculate_signature(&key, policy.as_bytes()))
    }

    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self
    }

    pub fn body(&self) -> Vec<u8> {
        let part = |name: &str, filename: Option<&str>, value: &[u8]| {
            let filename = filename.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
            let head =
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{filename}\r\n\r\n");
            [head.as_bytes(), value, b"\r\n"].concat()
        };
        let fields = |fields: &[(String, String)]| -> Vec<u8> {
            fields.iter().flat_map(|(name, value)| part(name, None, value.as_bytes())).collect()
        };
        let mut body = fields(&self.fields);
        body.extend(part("file", self.filename.as_deref(), &self.file));
        body.extend(fields(&self.trailing));
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        body
    }

    /// All of it as bytes, on a connection that is kept.
    pub fn bytes(&self, wire: &Wire) -> Vec<u8> {
        let body = self.body();
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {}\r\n\r\n",
            self.target,
            wire.address(),
            body.len()
        );
        [head.as_bytes(), &body].concat()
    }

    pub fn send(&self, wire: &Wire) -> Answer {
        self.send_body(wire, &self.body())
    }

    pub fn send_body(&self, wire: &Wire, body: &[u8]) -> Answer {
        let mut headers = self.headers.clone();
        let has = |headers: &[(String, String)], name: &str| headers.iter().any(|(known, _)| known == name);
        if !has(&headers, "host") {
            headers.push(("host".to_owned(), wire.address().to_owned()));
        }
        if !has(&headers, "content-type") {
            headers.push(("content-type".to_owned(), format!("multipart/form-data; boundary={BOUNDARY}")));
        }
        let (target, at) = (self.target.clone(), SystemTime::now());
        let signed = Signed { target, headers, signature: String::new(), at };
        wire.send_signed(&request("POST", &self.target), &signed, body)
    }
}

fn stamp(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let at = OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap();
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    at.format(format).unwrap()
}

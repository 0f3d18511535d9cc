//! Signs requests with AWS Signature Version 4, in the `Authorization` header.

use super::requests::Call;
use super::target::Credentials;
use crate::sys::Clock;
use crate::types::UnixMillis;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;
use time::OffsetDateTime;
use zeroize::Zeroizing;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The key is derived once a day, the stamp written once a second.
pub(super) struct Signer {
    credentials: Credentials,
    region: String,
    host: String,
    clock: Arc<dyn Clock>,
    second: Option<i64>,
    /// `20130524T000000Z`
    stamp: String,
    day: String,
    key: Zeroizing<[u8; 32]>,
}

impl Signer {
    pub(super) fn new(credentials: Credentials, region: &str, host: String, clock: Arc<dyn Clock>) -> Self {
        let (region, key) = (region.to_owned(), Zeroizing::new([0; 32]));
        Self { credentials, region, host, clock, second: None, stamp: String::new(), day: String::new(), key }
    }

    /// The headers of the call, with those that sign it.
    pub(super) fn headers(&mut self, call: &Call) -> Vec<(&'static str, String)> {
        self.refresh();
        let mut headers = Vec::with_capacity(call.headers.len() + 4);
        headers.extend(call.headers.iter().cloned());
        headers.push(("host", self.host.clone()));
        headers.push(("x-amz-content-sha256", call.payload.clone()));
        headers.push(("x-amz-date", self.stamp.clone()));
        headers.sort_unstable_by_key(|(name, _)| *name);
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let hash = Sha256::digest(canonical_request(call, &headers, &names));
        let scope = format!("{}/{}/s3/aws4_request", self.day, self.region);
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.stamp, hex::encode(hash));
        let signature = hex::encode(*hmac(&*self.key, text.as_bytes()));
        let access_key = &self.credentials.access_key;
        let authorization = format!(
            "{ALGORITHM} Credential={access_key}/{scope},SignedHeaders={names},Signature={signature}"
        );
        headers.push(("authorization", authorization));
        headers
    }

    fn refresh(&mut self) {
        let now = self.clock.now();
        if self.second == Some(now.seconds()) {
            return;
        }
        self.second = Some(now.seconds());
        self.stamp = stamp(now);
        if self.day != self.stamp[..8] {
            self.stamp[..8].clone_into(&mut self.day);
            self.key = self.derive();
        }
    }

    fn derive(&self) -> Zeroizing<[u8; 32]> {
        let secret = Zeroizing::new(format!("AWS4{}", self.credentials.secret_key.as_str()));
        let day = hmac(secret.as_bytes(), self.day.as_bytes());
        let region = hmac(&*day, self.region.as_bytes());
        let service = hmac(&*region, b"s3");
        hmac(&*service, b"aws4_request")
    }
}

fn canonical_request(call: &Call, headers: &[(&'static str, String)], names: &str) -> String {
    let mut text = String::with_capacity(512);
    let _ = writeln!(text, "{}\n{}\n{}", call.method, call.path, call.query());
    for (name, value) in headers {
        let _ = writeln!(text, "{name}:{value}");
    }
    let _ = write!(text, "\n{names}\n{}", call.payload);
    text
}

fn stamp(at: UnixMillis) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.seconds()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (at.date(), at.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", time.hour(), time.minute(), time.second())
}

fn hmac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of any length")
    };
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::super::requests::{Call, EMPTY};
    use super::super::target::Credentials;
    use super::Signer;
    use crate::sys::ManualClock;
    use crate::types::UnixMillis;
    use http::Method;
    use std::sync::Arc;

    /// The examples of "Authenticating Requests: Using the Authorization Header" in Amazon S3's API reference.
    fn signature(call: &Call) -> String {
        let keys = Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_369_353_600_000)));
        let host = "examplebucket.s3.amazonaws.com".to_owned();
        let headers = Signer::new(keys, "us-east-1", host, clock).headers(call);
        let (_, value) = headers.iter().find(|(name, _)| *name == "authorization").unwrap();
        value.rsplit_once("Signature=").unwrap().1.to_owned()
    }

    #[test]
    fn aws_s_example_of_a_get_is_signed_as_documented() {
        let mut call = Call::new(Method::GET, "/test.txt".to_owned());
        call.headers.push(("range", "bytes=0-9".to_owned()));
        assert_eq!(call.payload, EMPTY);
        assert_eq!(signature(&call), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    }

    #[test]
    fn aws_s_example_of_a_put_is_signed_as_documented() {
        let mut call = Call::new(Method::PUT, "/test%24file.text".to_owned());
        call.headers.push(("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()));
        call.headers.push(("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()));
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072".clone_into(&mut call.payload);
        assert_eq!(signature(&call), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
    }

    #[test]
    fn aws_s_example_of_a_listing_is_signed_as_documented() {
        let mut call = Call::new(Method::GET, "/".to_owned());
        call.parameters = vec![("prefix", "J".to_owned()), ("max-keys", "2".to_owned())];
        assert_eq!(signature(&call), "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn a_new_second_and_a_new_day_are_noticed() {
        let clock = Arc::new(ManualClock::at(UnixMillis::new(1_369_353_600_000)));
        let host = "localhost".to_owned();
        let mut signer = Signer::new(Credentials::new("a", "b"), "us-east-1", host, Arc::clone(&clock) as _);
        let call = Call::new(Method::GET, "/".to_owned());
        let first = signer.headers(&call);
        assert_eq!(signer.headers(&call), first);
        clock.advance_millis(1_000);
        assert_ne!(signer.headers(&call), first);
        clock.advance_millis(86_400_000);
        let later = signer.headers(&call);
        assert!(later.iter().any(|(_, value)| value == "20130525T000001Z"), "{later:?}");
        assert!(later.iter().any(|(_, value)| value.contains("/20130525/us-east-1/s3/")), "{later:?}");
    }
}

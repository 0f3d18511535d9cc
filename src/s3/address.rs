//! Which bucket and key a request names: by its path, or by its host below one of the server's names.

use super::query::{decode, encode};
use http::Uri;
use http::request::Parts;

/// What a request is about. Names are decoded and not validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Service,
    Bucket(String),
    Object { bucket: String, key: String },
}

/// The path is not UTF-8 behind its percent signs, or the host is no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address is malformed")]
pub(super) struct MalformedAddress;

/// The names below which buckets are hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Domains(Vec<String>);

impl Domains {
    /// # Errors
    /// The first name that is none.
    pub(super) fn new(names: &[String]) -> Result<Self, String> {
        let normal = |name: &String| name.trim_end_matches('.').to_ascii_lowercase();
        let is_name = |name: &&String| {
            let label = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            name.trim_end_matches('.').split('.').all(label)
        };
        match names.iter().find(|name| !is_name(name)) {
            Some(wrong) => Err(format!("{wrong:?} is no host name (leave out ports and wildcards)")),
            None => Ok(Self(names.iter().map(normal).collect())),
        }
    }

    /// The bucket that the host names, if it lies below one of the names.
    fn bucket(&self, host: &str) -> Option<String> {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        // The longest of the names that fit: with `example.com` and `s3.example.com`, the latter is no bucket.
        let rest = |domain: &&String| name.strip_suffix(domain.as_str());
        let fits = |domain: &&String| rest(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let domain = self.0.iter().filter(fits).max_by_key(|domain| domain.len())?;
        let bucket = name.strip_suffix(domain.as_str())?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The request's host: `:authority` in HTTP/2, the `Host` header otherwise.
pub(super) fn host(head: &Parts) -> Result<Option<String>, MalformedAddress> {
    let mut sent = head.headers.get_all(http::header::HOST).iter();
    let header = match (sent.next(), sent.next()) {
        (None, _) => None,
        (Some(host), None) => Some(host.to_str().map_err(|_| MalformedAddress)?.to_owned()),
        (Some(_), Some(_)) => return Err(MalformedAddress),
    };
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    match (header, authority) {
        (Some(header), Some(authority)) if !header.eq_ignore_ascii_case(authority) => Err(MalformedAddress),
        (Some(header), _) => Ok(Some(header)),
        (None, authority) => Ok(authority.map(str::to_owned)),
    }
}

impl Address {
    pub(super) fn of(uri: &Uri, host: Option<&str>, domains: &Domains) -> Result<Self, MalformedAddress> {
        let path = decode(uri.path()).ok_or(MalformedAddress)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = match host.and_then(|host| domains.bucket(host)) {
            Some(bucket) => (bucket, path),
            None => path.split_once('/').map_or((path.to_owned(), ""), |(b, key)| (b.to_owned(), key)),
        };
        Ok(match (bucket.is_empty(), key.is_empty()) {
            (true, true) => Self::Service,
            (true, false) => return Err(MalformedAddress),
            (false, true) => Self::Bucket(bucket),
            (false, false) => Self::Object { bucket, key: key.to_owned() },
        })
    }

    /// The path-style address of the same thing.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Service => "/".to_owned(),
            Self::Bucket(bucket) => format!("/{}", encode(bucket, false)),
            Self::Object { bucket, key } => format!("/{}/{}", encode(bucket, false), encode(key, true)),
        }
    }

    pub(super) const fn is_object(&self) -> bool {
        matches!(self, Self::Object { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Domains, MalformedAddress, host};
    use http::Request;

    fn of(host: &str, path: &str) -> Result<Address, MalformedAddress> {
        let domains = Domains::new(&["s3.example.com".to_owned(), "S3.Other.".to_owned()]).unwrap();
        Address::of(&path.parse().unwrap(), Some(host), &domains)
    }

    fn object(bucket: &str, key: &str) -> Address {
        Address::Object { bucket: bucket.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn buckets_are_hosts_below_the_servers_names_and_nowhere_else() {
        assert_eq!(of("buck.s3.example.com", "/a/b"), Ok(object("buck", "a/b")));
        assert_eq!(of("BUCK.s3.example.com.:9000", "/"), Ok(Address::Bucket("buck".to_owned())));
        assert_eq!(of("a.b.s3.other:1", "/k"), Ok(object("a.b", "k")));
        for plain in [
            "s3.example.com:9000",
            "localhost:9000",
            "127.0.0.1",
            "[::1]:9000",
            "nas.local",
            "xs3.example.com",
        ] {
            assert_eq!(of(plain, "/buck/k"), Ok(object("buck", "k")), "{plain}");
            assert_eq!(of(plain, "/"), Ok(Address::Service), "{plain}");
        }
        let domains = Domains::new(&["example.com".to_owned(), "s3.example.com".to_owned()]).unwrap();
        assert_eq!(domains.bucket("s3.example.com"), None);
        assert_eq!(domains.bucket("b.s3.example.com").as_deref(), Some("b"));
        assert_eq!(domains.bucket("b.example.com").as_deref(), Some("b"));
        assert!(Domains::new(&["s3.example.com:9000".to_owned()]).is_err());
        assert!(Domains::new(&["*.example.com".to_owned()]).is_err());
    }

    #[test]
    fn keys_are_opaque_and_survive_the_way_to_path_style() {
        for (path, key) in
            [("/b/../c", "../c"), ("/b%2Fk%2f", "k/"), ("/b//k", "/k"), ("/b/%2e%2e/x+y", "../x+y")]
        {
            let address = of("h", path).unwrap();
            assert_eq!(address, object("b", key), "{path}");
            assert_eq!(of("h", &address.path()), Ok(address));
        }
        assert_eq!(of("h", "/b/"), Ok(Address::Bucket("b".to_owned())));
        assert_eq!(of("h", "//k"), Err(MalformedAddress));
        assert_eq!(of("h", "/b/%ff"), Err(MalformedAddress));
    }

    #[test]
    fn two_hosts_are_no_host() {
        let twice = Request::builder().uri("/").header("host", "a").header("host", "b").body(()).unwrap();
        assert_eq!(host(&twice.into_parts().0), Err(MalformedAddress));
        let other = Request::builder().uri("http://a/").header("host", "b").body(()).unwrap();
        assert_eq!(host(&other.into_parts().0), Err(MalformedAddress));
        let same = Request::builder().uri("http://a/").header("host", "A").body(()).unwrap();
        assert_eq!(host(&same.into_parts().0), Ok(Some("A".to_owned())));
    }
}

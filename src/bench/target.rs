//! Which server is measured, and as whom.

use serde::Serialize;
use zeroize::Zeroizing;

#[derive(Debug, Clone)]
pub struct Target {
    pub name: String,
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    /// Of the server, where it runs on this machine and its costs are to be shown.
    pub pid: Option<u32>,
}

/// Where plain HTTP is spoken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Endpoint {
    /// `http://host:port`, without a path.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{url}` {why}");
        if url.starts_with("https://") {
            return Err(wrong("speaks TLS, which is not measured: name the server's plain HTTP endpoint"));
        }
        let rest = url.strip_prefix("http://").ok_or_else(|| wrong("is no http:// URL"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let authority: http::uri::Authority =
            authority.parse().map_err(|_| wrong("is no http://host:port without a path"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("names a user: give keys by their own flags"));
        }
        Ok(Self { host: authority.host().to_owned(), port: authority.port_u16().unwrap_or(80) })
    }

    /// As the `Host` header has it.
    pub(super) fn authority(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// To be connected to: an IPv6 address without its brackets.
    pub(super) fn address(&self) -> (&str, u16) {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        (host, self.port)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        format!("http://{}", endpoint.authority())
    }
}

#[derive(Clone)]
pub struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: Zeroizing<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Credentials {
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned().into() }
    }
}

/// `NAME=URL` or `NAME=URL,ACCESS,SECRET`; `otherwise` are the keys of those that name none.
///
/// # Errors
/// What is wrong, for a person. No secret is repeated.
pub fn parse_named(text: &str, otherwise: Option<&Credentials>) -> Result<Target, String> {
    let (name, rest) = text.split_once('=').ok_or("write NAME=URL or NAME=URL,ACCESS,SECRET")?;
    if name.is_empty() {
        return Err("a server needs a name: NAME=URL".to_owned());
    }
    let mut parts = rest.split(',');
    let endpoint = Endpoint::parse(parts.next().unwrap_or_default())?;
    let credentials = match (parts.next(), parts.next(), parts.next()) {
        (Some(access), Some(secret), None) => Credentials::new(access, secret),
        (None, None, None) => {
            otherwise.cloned().ok_or_else(|| format!("`{name}` has no keys, and none are given for all"))?
        }
        _ => return Err(format!("`{name}`: write NAME=URL or NAME=URL,ACCESS,SECRET")),
    };
    Ok(Target { name: name.to_owned(), endpoint, credentials, pid: None })
}

/// `PID` or `NAME=PID`.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse_pid(text: &str) -> Result<(Option<String>, u32), String> {
    let (name, pid) = text.split_once('=').map_or((None, text), |(name, pid)| (Some(name.to_owned()), pid));
    let pid = pid.parse().map_err(|_| format!("`{text}` is neither PID nor NAME=PID"))?;
    Ok((name, pid))
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Endpoint, parse_named, parse_pid};

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        let endpoint = Endpoint::parse("http://127.0.0.1:9000/").unwrap();
        assert_eq!(endpoint.authority(), "127.0.0.1:9000");
        assert_eq!(Endpoint::parse("http://s3.local").unwrap().authority(), "s3.local");
        assert_eq!(Endpoint::parse("http://[::1]:9000").unwrap().address(), ("::1", 9000));
        for url in ["https://s3.local", "127.0.0.1:9000", "http://", "http://a/b", "http://me:secret@a"] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_named_server_may_bring_its_own_keys() {
        let all = Credentials::new("all", "secret of all");
        let own = parse_named("a=http://a:1,access,secret", Some(&all)).unwrap();
        assert_eq!((own.name.as_str(), own.credentials.access_key.as_str()), ("a", "access"));
        assert_eq!(own.credentials.secret_key.as_str(), "secret");
        assert_eq!(parse_named("b=http://b:1", Some(&all)).unwrap().credentials.access_key, "all");
        for text in ["http://b:1", "=http://b:1", "b=http://b:1,access", "b=http://b:1,a,s,x"] {
            assert!(parse_named(text, Some(&all)).is_err(), "{text}");
        }
        assert!(parse_named("b=http://b:1", None).is_err());
    }

    #[test]
    fn i6_a_secret_is_not_shown() {
        let shown = format!("{:?}", parse_named("a=http://a:1,access,hidden", None).unwrap());
        assert!(!shown.contains("hidden"), "{shown}");
        let refused = parse_named("a=http://a:1,access,hidden,more", None).unwrap_err();
        assert!(!refused.contains("hidden"), "{refused}");
    }

    #[test]
    fn a_process_may_be_named() {
        assert_eq!(parse_pid("12"), Ok((None, 12)));
        assert_eq!(parse_pid("a=12"), Ok((Some("a".to_owned()), 12)));
        assert!(parse_pid("a=").is_err());
    }
}

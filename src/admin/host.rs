//! Which `Host` a request may name.
//!
//! A web page can make a browser send requests to 127.0.0.1 under a name of its own (DNS rebinding); it cannot do
//! so under an address or under `localhost`.

use http::uri::Authority;
use std::net::IpAddr;

pub(super) fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[test]
    fn i6_only_addresses_and_known_names_pass() {
        let allowed = ["sediment.internal".to_owned()];
        for good in
            ["127.0.0.1:9001", "localhost:9001", "LOCALHOST", "[::1]:9001", "10.1.2.3", "sediment.internal:1"]
        {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:9001",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "a@127.0.0.1",
            "x@localhost:1",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }
}

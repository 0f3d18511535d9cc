//! How many connections each address has, so that no one address has them all.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Shared by the connections of a listener.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    connections: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address, until it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    address: IpAddr,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Self {
        Self { most, connections: Mutex::default() }
    }

    /// `None`: the address has all that it may have.
    pub(super) fn join(self: &Arc<Self>, address: IpAddr) -> Option<Member> {
        let address = network(address);
        let mut connections = self.connections.lock();
        let count = connections.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Member { crowd: Arc::clone(self), address })
    }

    /// Whether one more of the address would be turned away.
    pub(super) fn is_full(&self, address: IpAddr) -> bool {
        self.connections.lock().get(&network(address)).is_some_and(|count| *count >= self.most)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut connections = self.crowd.connections.lock();
        if let Some(count) = connections.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.address);
            }
        }
    }
}

/// Of an IPv6 address the client chooses the second half itself.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::Crowd;
    use std::sync::Arc;

    #[test]
    fn i5_no_address_has_more_than_it_may_and_nothing_is_kept_of_who_is_gone() {
        let crowd = Arc::new(Crowd::new(2));
        let join = |address: &str| crowd.join(address.parse().unwrap());
        let (first, second) = (join("2001:db8::1").unwrap(), join("2001:db8::2").unwrap());
        assert!(join("2001:db8::3").is_none(), "one network");
        let other = join("10.0.0.1").unwrap();
        drop(first);
        let third = join("2001:db8::3").unwrap();
        drop((second, other, third));
        assert!(crowd.connections.lock().is_empty());
    }
}

#![no_main]
use libfuzzer_sys::fuzz_target;
use sediment::types::{Manifest, Node};

fuzz_target!(|data: &[u8]| {
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(manifest.encode(), data);
    }
    if let Ok(node) = Node::decode(data) {
        assert_eq!(node.encode(), data);
    }
});

use super::{Documents, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_ELEMENTS, MAX_KEYS, MAX_PARTS, check_xml};
use crate::s3::admission::Party;
use crate::types::Principal;
use futures::FutureExt;

fn refused(xml: &str) -> bool {
    check_xml(xml.as_bytes()).is_err_and(|refusal| refusal.error.code().as_str() == "MalformedXML")
}

#[test]
fn flat_lists_pass_and_deep_ones_do_not() {
    let flat = format!(
        "<?xml version='1.0'?><Delete>{}<Quiet/></Delete>",
        "<Object><Key>a/b</Key><ETag/></Object>".repeat(1000)
    );
    assert!(!refused(&flat));
    let nested = |depth| format!("{}{}", "<a b=\"/>\">".repeat(depth), "</a>".repeat(depth));
    assert!(!refused(&nested(MAX_DEPTH)));
    assert!(refused(&nested(MAX_DEPTH + 1)));
    assert!(refused(&"<a>".repeat(100_000)));
    assert!(!refused(""));
    let parts =
        |count| format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", "<Part/>".repeat(count));
    assert!(!refused(&parts(MAX_PARTS)) && refused(&parts(MAX_PARTS + 1)));
    assert!(refused(&format!("<Delete>{}</Delete>", "<Object><Key/></Object>".repeat(MAX_KEYS + 1))));
    assert!(refused(&format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS))));
}

#[test]
fn document_types_and_garbage_do_not_pass() {
    assert!(refused("<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a>&b;</a>"));
    assert!(refused("<a><![CDATA[logs/]]></a>"), "I1: what is dropped in silence is refused");
    assert!(refused("<a></b>"));
    const { assert!(MAX_DOCUMENT_BYTES >= 10_000 * 200, "a completion of 10,000 parts fits") };
}

#[tokio::test(start_paused = true)]
async fn i5_one_client_that_takes_no_answer_leaves_half_the_memory_to_others() {
    let documents = Documents::new(64 << 10);
    let party = |n| Party::new(Principal::Anonymous, [10, 0, 0, n].into());
    let _held = documents.of_answer(&party(1), 8 << 10).await.unwrap();
    assert!(documents.of_answer(&party(1), 1 << 10).await.is_err(), "it has half of it");
    let other = documents.of_answer(&party(2), 8 << 10).now_or_never();
    assert!(other.expect("at once").is_ok());
}

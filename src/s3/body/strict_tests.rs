use super::super::document::check_xml;
use super::super::schema::{Child, Content, DOCUMENTS};
use super::is_one_element;
use crate::s3::fuzzing::document::{element_paths, is_parsed_whole};
use std::collections::BTreeSet;

/// The elements of AWS's model of S3, of its documents that count here.
const MODEL: &str = "
AccelerateConfiguration(Status)
AccessControlPolicy(AccessControlList(Grant(Grantee(DisplayName EmailAddress ID URI) Permission)) Owner(DisplayName ID))
BucketLoggingStatus(LoggingEnabled(TargetBucket TargetGrants(Grant(Grantee(DisplayName EmailAddress ID URI) Permission))
  TargetObjectKeyFormat(PartitionedPrefix(PartitionDateSource) SimplePrefix) TargetPrefix))
CORSConfiguration(CORSRule(AllowedHeader AllowedMethod AllowedOrigin ExposeHeader ID MaxAgeSeconds))
CompleteMultipartUpload(Part(ChecksumCRC32 ChecksumCRC32C ChecksumCRC64NVME ChecksumMD5 ChecksumSHA1 ChecksumSHA256
  ChecksumSHA512 ChecksumXXHASH128 ChecksumXXHASH3 ChecksumXXHASH64 ETag PartNumber))
CreateBucketConfiguration(Bucket(DataRedundancy Type) Location(Name Type) LocationConstraint Tags(Tag(Key Value)))
Delete(Object(ETag Key LastModifiedTime Size VersionId) Quiet)
LegalHold(Status)
LifecycleConfiguration(Rule(AbortIncompleteMultipartUpload(DaysAfterInitiation)
  Expiration(Date Days ExpiredObjectDeleteMarker)
  Filter(And(ObjectSizeGreaterThan ObjectSizeLessThan Prefix Tag(Key Value)) ObjectSizeGreaterThan ObjectSizeLessThan
  Prefix Tag(Key Value)) ID NoncurrentVersionExpiration(NewerNoncurrentVersions NoncurrentDays)
  NoncurrentVersionTransition(NewerNoncurrentVersions NoncurrentDays StorageClass) Prefix Status
  Transition(Date Days StorageClass)))
NotificationConfiguration(CloudFunctionConfiguration(CloudFunction Event Filter(S3Key(FilterRule(Name Value))) Id
  InvocationRole) EventBridgeConfiguration QueueConfiguration(Event Filter(S3Key(FilterRule(Name Value))) Id Queue)
  TopicConfiguration(Event Filter(S3Key(FilterRule(Name Value))) Id Topic))
ObjectLockConfiguration(ObjectLockEnabled Rule(DefaultRetention(Days DefaultEventHold(Days Years) Mode Years)))
OwnershipControls(Rule(ObjectOwnership))
PublicAccessBlockConfiguration(BlockPublicAcls BlockPublicPolicy IgnorePublicAcls RestrictPublicBuckets)
RequestPaymentConfiguration(Payer)
RestoreRequest(Days Description GlacierJobParameters(Tier) OutputLocation(S3) SelectParameters(Expression) Tier Type)
Retention(EventHold EventHoldDuration(Days Years) Mode RetainUntilDate)
Tagging(TagSet(Tag(Key Value)))
VersioningConfiguration(MfaDelete Status)";

/// A place in a document: the names down to it.
type Place = Vec<&'static str>;

fn model() -> BTreeSet<Place> {
    let (mut places, mut above) = (BTreeSet::new(), Place::new());
    let mut rest = MODEL;
    while let Some(at) = rest.find(['(', ')', ' ', '\n']) {
        let (name, mark) = (&rest[..at], rest.as_bytes()[at]);
        if !name.is_empty() {
            above.push(name);
            places.insert(above.clone());
        }
        if !name.is_empty() && mark != b'(' {
            above.pop();
        }
        if mark == b')' {
            above.pop();
        }
        rest = &rest[at + 1..];
    }
    places
}

/// Every element of the schema and where it stands.
fn schema() -> Vec<(Place, &'static Child)> {
    fn add(above: &Place, children: &'static [Child], places: &mut Vec<(Place, &'static Child)>) {
        for child in children {
            let place: Place = above.iter().copied().chain([child.name]).collect();
            if let Content::Elements(inside) = child.content {
                add(&place, inside, places);
            }
            places.push((place, child));
        }
    }
    let mut places = Vec::new();
    add(&Place::new(), DOCUMENTS, &mut places);
    places
}

/// What is at a place, as a document.
fn document(place: &[&str], inside: &str) -> String {
    let opening: String = place.iter().map(|name| format!("<{name}>")).collect();
    let closing: String = place.iter().rev().map(|name| format!("</{name}>")).collect();
    format!("{opening}{inside}{closing}")
}

fn code(document: &str) -> Option<String> {
    check_xml(document.as_bytes()).err().map(|refusal| refusal.error.code().as_str().to_owned())
}

#[track_caller]
fn assert_malformed(document: &str) {
    assert_eq!(code(document).as_deref(), Some("MalformedXML"), "{document}");
}

fn seeds() -> Vec<Vec<u8>> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/s3_document");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let seeds = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("seed-"));
    seeds.map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn every_element_that_clients_may_send_is_known() {
    let known = schema();
    for place in model() {
        let is_known = known.iter().any(|(known, child)| {
            let is_below = matches!(child.content, Content::NotDone) && place.starts_with(known);
            *known == place || is_below
        });
        assert!(is_known, "{place:?}");
    }
}

#[test]
fn i1_what_is_known_is_read_or_not_implemented() {
    let seeds = seeds();
    let accepted = seeds.iter().filter(|seed| check_xml(seed).is_ok() && is_parsed_whole(seed));
    let read: BTreeSet<String> = accepted.flat_map(|seed| element_paths(seed)).collect();
    for (place, child) in schema() {
        if matches!(child.content, Content::NotDone) {
            assert_eq!(code(&document(&place, "")).as_deref(), Some("NotImplemented"), "{place:?}");
        } else {
            assert!(read.contains(&place.join("/")), "no seed of the fuzz target has {place:?}");
        }
    }
}

#[test]
fn i1_what_is_not_known_is_refused() {
    for (place, child) in schema().iter().filter(|(_, child)| !matches!(child.content, Content::NotDone)) {
        let Content::Elements(inside) = child.content else {
            assert_malformed(&document(place, "<x/>"));
            continue;
        };
        for (wrong, right) in [
            ("<x/>", ""),
            ("text", ""),
            ("&#65;", ""),
            ("<!-- a comment -->text", ""),
            ("<x><y/></x>", "<!-- a comment --> \n"),
        ] {
            assert_malformed(&document(place, wrong));
            assert_eq!(code(&document(place, right)), None, "{place:?}");
        }
        for child in inside {
            let lower = child.name.to_lowercase();
            let alias = format!("<s3:{0} xmlns:s3=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>", child.name);
            assert_malformed(&document(place, &alias));
            assert_malformed(&document(place, &format!("<{lower}/>")));
            if !matches!(child.content, Content::NotDone) {
                assert_malformed(&document(place, &format!("<{} lang=\"a\"/>", child.name)));
            }
        }
    }
}

#[test]
fn i1_what_may_be_there_once_is_not_chosen_from() {
    for (place, child) in schema().iter().filter(|(place, _)| place.len() > 1) {
        let above = &place[..place.len() - 1];
        let element = match child.content {
            Content::Text | Content::Elements(_) => format!("<{}/>", child.name),
            Content::Number => format!("<{0}>1</{0}>", child.name),
            Content::NotDone => continue,
        };
        assert_eq!(code(&document(above, &element)), None, "{place:?}");
        let twice = code(&document(above, &element.repeat(2)));
        assert_eq!(twice.is_some(), !child.is_list, "{place:?}: {twice:?}");
    }
}

#[test]
fn i1_a_number_is_one_as_a_whole() {
    let days = |text: &str| {
        document(&["LifecycleConfiguration", "Rule", "Expiration"], &format!("<Days>{text}</Days>"))
    };
    for number in ["1", "36500", "+1", "-1", "1\n", "1<!-- -->0"] {
        assert_eq!(code(&days(number)), None, "{number}");
    }
    for other in
        ["", "<Configuration/>", "1e3", "1.5", "30 days", "0x10", "--1", "1<!-- -->x", "1&amp;", "one", "1 0"]
    {
        assert_malformed(&days(other));
    }
}

#[test]
fn a_document_is_one_element() {
    let retention = "<Retention/>";
    for whole in [
        retention.to_owned(),
        format!("<?xml version=\"1.0\"?>\n<!-- a -->{retention}\n<!-- b -->\n"),
        format!("\u{feff}{retention}"),
        format!("\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>{retention}"),
        "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"a b\"></Retention>".to_owned(),
    ] {
        assert_eq!(code(&whole), None, "{whole}");
        assert!(is_one_element(whole.as_bytes()), "{whole}");
    }
    for broken in
        ["a<Retention/>", "<Retention/>a", "<Retention/><Retention/>", "<Retention/><x/>", "<Retention>"]
    {
        assert_malformed(broken);
    }
    for not_empty in
        ["<Retention><Mode/></Retention>", "<Retention><mode>a</mode></Retention>", "", "<a></b>"]
    {
        assert!(!is_one_element(not_empty.as_bytes()), "{not_empty}");
    }
    for other in ["", "{\"Version\":\"2012-10-17\"}", "<Configuration><Id>a</Id>text</Configuration>"] {
        assert_eq!(code(other), None, "{other}");
    }
}

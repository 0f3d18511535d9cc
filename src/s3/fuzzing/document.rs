//! Documents: of what is let through, s3s passes nothing over.

use super::super::body::check_xml;
use super::super::gateway::SentDocument;
use super::super::tagging::tags_of_creation;
use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event;
use s3s::dto;
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};

/// A document, written again as s3s understood it.
type Reread = fn(&[u8]) -> Option<Vec<u8>>;

/// Everything that s3s reads.
const READERS: [Reread; 19] = [
    again::<dto::AccelerateConfiguration>,
    again::<dto::AccessControlPolicy>,
    again::<dto::BucketLifecycleConfiguration>,
    again::<dto::BucketLoggingStatus>,
    again::<dto::CORSConfiguration>,
    again::<dto::CompletedMultipartUpload>,
    again::<dto::CreateBucketConfiguration>,
    again::<dto::Delete>,
    again::<dto::NotificationConfiguration>,
    again::<dto::ObjectLockConfiguration>,
    again::<dto::ObjectLockLegalHold>,
    again::<dto::ObjectLockRetention>,
    again::<dto::OwnershipControls>,
    again::<dto::PublicAccessBlockConfiguration>,
    again::<dto::ReplicationConfiguration>,
    again::<dto::RequestPaymentConfiguration>,
    again::<dto::RestoreRequest>,
    again::<dto::Tagging>,
    again::<dto::VersioningConfiguration>,
];
/// The part of a document that s3s passes over, and this room reads itself.
const OWN: &str = "CreateBucketConfiguration/Tags";

fn again<T: for<'xml> Deserialize<'xml> + Serialize>(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut deserializer = Deserializer::new(bytes);
    let parsed = T::deserialize(&mut deserializer).ok()?;
    deserializer.expect_eof().ok()?;
    let mut written = Vec::new();
    parsed.serialize(&mut Serializer::new(&mut written)).ok()?;
    Some(written)
}

/// Each element with those around it, sorted.
pub(in crate::s3) fn element_paths(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::from_reader(bytes);
    let (mut open, mut paths) = (Vec::new(), Vec::new());
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(ref tag) | Event::Empty(ref tag) => {
                open.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                paths.push(open.join("/"));
                if matches!(event, Event::Empty(_)) {
                    open.pop();
                }
            }
            Event::End(_) => drop(open.pop()),
            Event::Eof => break,
            _ => {}
        }
    }
    paths.sort_unstable();
    paths
}

/// Whether s3s reads a document; then it has read every element.
pub(in crate::s3) fn is_parsed_whole(bytes: &[u8]) -> bool {
    let Some(written) = READERS.iter().find_map(|read| read(bytes)) else { return false };
    let (own, sent): (Vec<_>, Vec<_>) =
        element_paths(bytes).into_iter().partition(|path| path.starts_with(OWN));
    assert_eq!(element_paths(&written), sent, "an element is passed over");
    let document = SentDocument(Bytes::copy_from_slice(bytes));
    if let Ok(tags) = tags_of_creation(Some(&document)) {
        let count = own.iter().filter(|path| path.ends_with("/Tag")).count();
        assert_eq!(tags.as_slice().len(), count, "a tag is passed over");
    }
    true
}

/// Documents are refused or harmless.
pub fn document(bytes: &[u8]) {
    if check_xml(bytes).is_ok() {
        is_parsed_whole(bytes);
    }
}

//! What S3's documents may hold, from AWS's published model: which elements, where, and how often. The parser behind
//! this passes over what it does not know; here that is refused, since its success would be taken for everything done.

/// What stands inside an element.
#[derive(Debug)]
pub(super) enum Content {
    Text,
    /// A whole number: the parser would take only the digits that it begins with.
    Number,
    Elements(Children),
    /// AWS has it, and nothing here would act on it.
    NotDone,
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: &'static str,
    pub(super) is_list: bool,
    pub(super) content: Content,
}

pub(super) type Children = &'static [Child];

const fn child(name: &'static str, is_list: bool, content: Content) -> Child {
    Child { name, is_list, content }
}

const fn text(name: &'static str) -> Child {
    child(name, false, Content::Text)
}

const fn texts(name: &'static str) -> Child {
    child(name, true, Content::Text)
}

const fn number(name: &'static str) -> Child {
    child(name, false, Content::Number)
}

const fn one(name: &'static str, inside: Children) -> Child {
    child(name, false, Content::Elements(inside))
}

const fn many(name: &'static str, inside: Children) -> Child {
    child(name, true, Content::Elements(inside))
}

const fn not_done(name: &'static str) -> Child {
    child(name, false, Content::NotDone)
}

/// The documents of every operation that is done, or answered as AWS answers.
pub(super) const DOCUMENTS: Children = &[
    one("AccelerateConfiguration", &[text("Status")]),
    one("AccessControlPolicy", &[one("AccessControlList", GRANTS), one("Owner", OWNER)]),
    one("BucketLoggingStatus", &[one("LoggingEnabled", LOGGING)]),
    one("CORSConfiguration", &[many("CORSRule", CORS_RULE)]),
    one("CompleteMultipartUpload", &[many("Part", PART)]),
    one("CreateBucketConfiguration", CREATION),
    one("Delete", &[many("Object", DELETED), text("Quiet")]),
    one("LegalHold", &[text("Status")]),
    one("LifecycleConfiguration", &[many("Rule", LIFECYCLE_RULE)]),
    one("NotificationConfiguration", NOTIFICATION),
    one("ObjectLockConfiguration", &[text("ObjectLockEnabled"), one("Rule", LOCK_RULE)]),
    one("OwnershipControls", &[many("Rule", &[text("ObjectOwnership")])]),
    one("PublicAccessBlockConfiguration", PUBLIC_ACCESS),
    one("ReplicationConfiguration", &[text("Role"), many("Rule", REPLICATION_RULE)]),
    one("RequestPaymentConfiguration", &[text("Payer")]),
    one("RestoreRequest", RESTORE),
    one("Retention", RETENTION),
    one("Tagging", &[one("TagSet", TAGS)]),
    one("VersioningConfiguration", &[text("MfaDelete"), text("Status")]),
];

const TAG: Children = &[text("Key"), text("Value")];
const TAGS: Children = &[many("Tag", TAG)];

const OWNER: Children = &[text("DisplayName"), text("ID")];
const GRANTEE: Children = &[text("DisplayName"), text("EmailAddress"), text("ID"), text("URI")];
const GRANTS: Children = &[many("Grant", &[one("Grantee", GRANTEE), text("Permission")])];

const KEY_FORMAT: Children =
    &[one("PartitionedPrefix", &[text("PartitionDateSource")]), one("SimplePrefix", &[])];
const LOGGING: Children = &[
    text("TargetBucket"),
    one("TargetGrants", GRANTS),
    one("TargetObjectKeyFormat", KEY_FORMAT),
    text("TargetPrefix"),
];

const CORS_RULE: Children = &[
    texts("AllowedHeader"),
    texts("AllowedMethod"),
    texts("AllowedOrigin"),
    texts("ExposeHeader"),
    text("ID"),
    number("MaxAgeSeconds"),
];

const PART: Children = &[
    text("ChecksumCRC32"),
    text("ChecksumCRC32C"),
    text("ChecksumCRC64NVME"),
    not_done("ChecksumMD5"),
    text("ChecksumSHA1"),
    text("ChecksumSHA256"),
    not_done("ChecksumSHA512"),
    not_done("ChecksumXXHASH128"),
    not_done("ChecksumXXHASH3"),
    not_done("ChecksumXXHASH64"),
    text("ETag"),
    number("PartNumber"),
];

const CREATION: Children = &[
    one("Bucket", &[text("DataRedundancy"), text("Type")]),
    one("Location", &[text("Name"), text("Type")]),
    text("LocationConstraint"),
    one("Tags", TAGS),
];

const DELETED: Children =
    &[text("ETag"), text("Key"), text("LastModifiedTime"), number("Size"), text("VersionId")];

const LIFECYCLE_AND: Children =
    &[number("ObjectSizeGreaterThan"), number("ObjectSizeLessThan"), text("Prefix"), many("Tag", TAG)];
const LIFECYCLE_FILTER: Children = &[
    one("And", LIFECYCLE_AND),
    number("ObjectSizeGreaterThan"),
    number("ObjectSizeLessThan"),
    text("Prefix"),
    one("Tag", TAG),
];
const NONCURRENT_TRANSITION: Children =
    &[number("NewerNoncurrentVersions"), number("NoncurrentDays"), text("StorageClass")];
/// Both forms of the API: the older one has its prefix in the rule.
const LIFECYCLE_RULE: Children = &[
    one("AbortIncompleteMultipartUpload", &[number("DaysAfterInitiation")]),
    one("Expiration", &[text("Date"), number("Days"), text("ExpiredObjectDeleteMarker")]),
    one("Filter", LIFECYCLE_FILTER),
    text("ID"),
    one("NoncurrentVersionExpiration", &[number("NewerNoncurrentVersions"), number("NoncurrentDays")]),
    many("NoncurrentVersionTransition", NONCURRENT_TRANSITION),
    text("Prefix"),
    text("Status"),
    many("Transition", &[text("Date"), number("Days"), text("StorageClass")]),
];

const REPLICATION_FILTER: Children =
    &[one("And", &[text("Prefix"), many("Tag", TAG)]), text("Prefix"), one("Tag", TAG)];
const DESTINATION: Children = &[
    not_done("AccessControlTranslation"),
    not_done("Account"),
    text("Bucket"),
    not_done("EncryptionConfiguration"),
    not_done("Metrics"),
    not_done("ReplicationTime"),
    text("StorageClass"),
];
const SELECTION: Children =
    &[one("ReplicaModifications", &[text("Status")]), one("SseKmsEncryptedObjects", &[text("Status")])];
/// Both forms of the API, as of lifecycle rules.
const REPLICATION_RULE: Children = &[
    one("DeleteMarkerReplication", &[text("Status")]),
    one("Destination", DESTINATION),
    one("ExistingObjectReplication", &[text("Status")]),
    one("Filter", REPLICATION_FILTER),
    text("ID"),
    text("Prefix"),
    number("Priority"),
    one("SourceSelectionCriteria", SELECTION),
    text("Status"),
];

const EVENT_FILTER: Children = &[one("S3Key", &[many("FilterRule", &[text("Name"), text("Value")])])];
const NOTIFICATION: Children = &[
    many(
        "CloudFunctionConfiguration",
        &[
            text("CloudFunction"),
            texts("Event"),
            one("Filter", EVENT_FILTER),
            text("Id"),
            not_done("InvocationRole"),
        ],
    ),
    one("EventBridgeConfiguration", &[]),
    many("QueueConfiguration", &[texts("Event"), one("Filter", EVENT_FILTER), text("Id"), text("Queue")]),
    many("TopicConfiguration", &[texts("Event"), one("Filter", EVENT_FILTER), text("Id"), text("Topic")]),
];

const DEFAULT_RETENTION: Children =
    &[number("Days"), not_done("DefaultEventHold"), text("Mode"), number("Years")];
const LOCK_RULE: Children = &[one("DefaultRetention", DEFAULT_RETENTION)];
const RETENTION: Children =
    &[not_done("EventHold"), not_done("EventHoldDuration"), text("Mode"), text("RetainUntilDate")];

const PUBLIC_ACCESS: Children = &[
    text("BlockPublicAcls"),
    text("BlockPublicPolicy"),
    text("IgnorePublicAcls"),
    text("RestrictPublicBuckets"),
];

const RESTORE: Children = &[
    number("Days"),
    text("Description"),
    one("GlacierJobParameters", &[text("Tier")]),
    not_done("OutputLocation"),
    not_done("SelectParameters"),
    text("Tier"),
    text("Type"),
];

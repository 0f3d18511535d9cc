use super::{DestinationArn, ReplicaOf, ReplicationRule, ReplicationRules};
use crate::types::{CommitSeq, FilterForm, LifecycleFilter, ObjectKey, Tag, TagSet};

fn rule(prefix: &str, destination: &str, priority: u32) -> ReplicationRule {
    ReplicationRule {
        id: prefix.to_owned(),
        enabled: true,
        priority: Some(priority),
        filter: LifecycleFilter {
            form: FilterForm::Prefix,
            prefix: prefix.to_owned(),
            ..LifecycleFilter::default()
        },
        destination: DestinationArn::parse(destination).unwrap(),
        storage_class: None,
        delete_markers: Some(false),
        existing_objects: None,
        since: CommitSeq::ZERO,
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name).unwrap()
}

const FAR: &str = "arn:sediment:replication::far:bucket";

#[test]
fn a_destination_is_a_bucket_of_a_target_or_of_aws() {
    let own = DestinationArn::parse(FAR).unwrap();
    assert_eq!((own.target().unwrap().as_str(), own.bucket()), ("far", "bucket"));
    let aws = DestinationArn::parse("arn:aws:s3:::Old_Bucket.1").unwrap();
    assert_eq!((aws.target(), aws.bucket()), (None, "Old_Bucket.1"));
    for wrong in [
        "",
        "bucket",
        "arn:aws:s3:::",
        "arn:aws:s3:::a/b",
        "arn:aws:sns:::bucket",
        "arn:sediment:replication::bucket",
        "arn:sediment:replication:::bucket",
        "arn:sediment:replication::FAR:bucket",
        "arn:sediment:replication::far:bu:cket",
    ] {
        assert!(DestinationArn::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn of_one_destination_the_rule_of_the_highest_priority_counts() {
    let other = "arn:aws:s3:::other";
    let rules = vec![rule("", FAR, 1), rule("logs/", FAR, 5), rule("logs/", other, 2)];
    let rules = ReplicationRules { role: String::new(), rules };
    let tags = TagSet::default();
    let found = |name: &str| -> Vec<(String, u32)> {
        let found = rules.covering(&key(name), Some(&tags)).into_iter();
        found.map(|rule| (rule.destination.to_string(), rule.priority.unwrap())).collect()
    };
    assert_eq!(found("logs/1"), [(FAR.to_owned(), 5), (other.to_owned(), 2)]);
    assert_eq!(found("x"), [(FAR.to_owned(), 1)]);
    assert!(rules.covering(&key("logs/1"), None).is_empty(), "no rule asks for delete markers");
    assert_eq!(rules.destinations(&key("logs/1")).len(), 2);
}

#[test]
fn a_rule_concerns_what_is_written_behind_it_and_stays_where_it_began() {
    let mut tagged = rule("", FAR, 1);
    tagged.filter.tags.push(Tag { key: "k".into(), value: "v".into() });
    let first = ReplicationRules { role: "r".into(), rules: vec![rule("a", FAR, 1)] };
    let first = first.set_at(CommitSeq::new(5), None);
    assert!(!first.rules[0].concerns(CommitSeq::new(5)) && first.rules[0].concerns(CommitSeq::new(6)));
    let second = ReplicationRules { role: "r".into(), rules: vec![tagged, rule("a", FAR, 7)] };
    let second = second.set_at(CommitSeq::new(9), Some(&first));
    let since: Vec<_> = second.rules.iter().map(|rule| rule.since.get()).collect();
    assert_eq!(since, [9, 5], "another priority is the same rule");
    let again = second.clone().set_at(CommitSeq::new(9), Some(&first));
    assert_eq!(again, second, "setting what was set changes nothing");
    let mut existing = rule("a", FAR, 1);
    existing.existing_objects = Some(true);
    assert!(existing.concerns(CommitSeq::new(1)));
}

#[test]
fn what_a_replica_is_of_fits_a_header() {
    assert!(ReplicaOf::parse("bucket/0001").is_ok());
    for wrong in ["", "a b", "a\r\nb", "ä"] {
        assert!(ReplicaOf::parse(wrong).is_err());
    }
}

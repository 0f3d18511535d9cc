use super::validate;
use crate::service::ServiceError;
use crate::types::{
    Expiration, FilterForm, LifecycleFilter, LifecycleRule, LifecycleRules, NoncurrentExpiration,
    SmallObjects, Tag, Transition, UnixMillis,
};

fn rule() -> LifecycleRule {
    LifecycleRule {
        id: "rule".into(),
        enabled: true,
        filter: LifecycleFilter::default(),
        expiration: Some(Expiration::Days(1)),
        noncurrent: None,
        abort_uploads_days: None,
        transitions: Vec::new(),
        noncurrent_transitions: Vec::new(),
        small_objects: SmallObjects::Stay,
    }
}

fn verdict(change: impl FnOnce(&mut LifecycleRule)) -> &'static str {
    let mut rule = rule();
    change(&mut rule);
    match validate(&LifecycleRules(vec![rule])) {
        Ok(()) => "fine",
        Err(ServiceError::MalformedDocument) => "malformed",
        Err(ServiceError::InvalidArgument { .. }) => "argument",
        Err(ServiceError::InvalidRequest { .. }) => "request",
        Err(other) => panic!("{other:?}"),
    }
}

fn tags() -> Vec<Tag> {
    vec![Tag { key: "k".into(), value: "v".into() }]
}

#[test]
fn rules_are_refused_where_aws_refuses_them() {
    assert_eq!(verdict(|_| {}), "fine");
    assert_eq!(verdict(|rule| rule.id = "x".repeat(256)), "argument");
    assert_eq!(verdict(|rule| rule.expiration = None), "request");
    assert_eq!(verdict(|rule| rule.expiration = Some(Expiration::Days(0))), "argument");
    let date = |millis| Some(Expiration::Date(UnixMillis::new(millis)));
    assert_eq!(verdict(|rule| rule.expiration = date(86_400_000)), "fine");
    assert_eq!(verdict(|rule| rule.expiration = date(86_400_001)), "argument");
    let noncurrent = |days, newer_versions| Some(NoncurrentExpiration { days, newer_versions });
    assert_eq!(verdict(|rule| rule.noncurrent = noncurrent(0, None)), "argument");
    assert_eq!(verdict(|rule| rule.noncurrent = noncurrent(1, Some(0))), "argument");
    assert_eq!(verdict(|rule| rule.noncurrent = noncurrent(1, Some(101))), "argument");
    assert_eq!(verdict(|rule| rule.noncurrent = noncurrent(1, Some(100))), "fine");
    assert_eq!(verdict(|rule| rule.abort_uploads_days = Some(0)), "argument");
}

#[test]
fn what_has_no_tags_cannot_be_filtered_by_tags() {
    let aborts = |rule: &mut LifecycleRule| {
        (rule.filter.tags, rule.abort_uploads_days) = (tags(), Some(1));
    };
    assert_eq!(verdict(aborts), "request");
    let markers = |rule: &mut LifecycleRule| {
        (rule.filter.tags, rule.expiration) = (tags(), Some(Expiration::DeleteMarkers(true)));
    };
    assert_eq!(verdict(markers), "request");
}

#[test]
fn filters_are_whole() {
    let and = |rule: &mut LifecycleRule| {
        rule.filter = LifecycleFilter { form: FilterForm::And, tags: tags(), ..LifecycleFilter::default() };
    };
    assert_eq!(verdict(and), "malformed");
    let sizes = |rule: &mut LifecycleRule| {
        (rule.filter.larger_than, rule.filter.smaller_than) = (Some(5), Some(5));
    };
    assert_eq!(verdict(sizes), "request");
    assert_eq!(verdict(|rule| rule.filter.tags = [tags(), tags()].concat()), "request");
}

#[test]
fn transitions_come_before_expiration_and_not_too_early() {
    let moved = |days, class: &str| Transition { days: Some(days), date: None, storage_class: class.into() };
    let with = |expires, transitions| {
        verdict(|rule| {
            (rule.expiration, rule.transitions) = (Some(Expiration::Days(expires)), transitions);
        })
    };
    assert_eq!(with(60, vec![moved(30, "STANDARD_IA")]), "fine");
    assert_eq!(with(60, vec![moved(29, "STANDARD_IA")]), "argument");
    assert_eq!(with(60, vec![moved(1, "GLACIER")]), "fine");
    assert_eq!(with(60, vec![moved(60, "GLACIER")]), "argument");
    assert_eq!(with(60, vec![moved(1, "ATTIC")]), "malformed");
    assert_eq!(with(60, vec![moved(1, "STANDARD")]), "malformed");
    assert_eq!(with(60, vec![moved(1, "REDUCED_REDUNDANCY")]), "malformed");
    assert_eq!(with(60, vec![moved(1, "GLACIER"), moved(2, "GLACIER")]), "request");
}

#[test]
fn ids_are_unique() {
    let twice = LifecycleRules(vec![rule(), rule()]);
    assert!(matches!(validate(&twice), Err(ServiceError::InvalidArgument { name: "ID", .. })));
    assert!(matches!(validate(&LifecycleRules(Vec::new())), Err(ServiceError::MalformedDocument)));
}

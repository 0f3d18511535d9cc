use super::{World, expects};
use crate::service::{Caller, CorsVerdict, ServiceError};
use crate::types::{
    BucketName, CorsMethod, CorsPattern, CorsQuestion, CorsRule, CorsRules, MAX_CORS_RULES, Principal,
};

fn rule(origin: &str) -> CorsRule {
    CorsRule {
        id: None,
        origins: vec![CorsPattern::parse(origin.to_owned()).unwrap()],
        methods: vec![CorsMethod::Get],
        headers: Vec::new(),
        exposed: Vec::new(),
        max_age_seconds: None,
    }
}

async fn verdict(world: &World, bucket: &str, origin: &str) -> CorsVerdict {
    let (origin, method) = (origin.to_owned(), "GET".to_owned());
    let question = CorsQuestion { origin, method, headers: Some(Vec::new()) };
    world.service.cors_verdict(&BucketName::parse(bucket).unwrap(), &question).await.unwrap()
}

async fn put(world: &World, rules: Vec<CorsRule>) -> Result<(), ServiceError> {
    world.service.put_cors(&world.caller, &world.bucket, CorsRules(rules)).await
}

#[tokio::test]
async fn rules_are_kept_until_they_are_replaced_or_taken_away() {
    let world = World::new().await;
    let read = async || world.service.cors(&world.caller, &world.bucket).await;
    expects!(read().await, Err(ServiceError::NoSuchCorsConfiguration { .. }));
    assert_eq!(verdict(&world, "bucket", "a").await, CorsVerdict::NotEnabled);
    assert_eq!(verdict(&world, "another", "a").await, CorsVerdict::NoSuchBucket);

    put(&world, vec![rule("a"), rule("b")]).await.unwrap();
    assert_eq!(read().await.unwrap(), CorsRules(vec![rule("a"), rule("b")]));
    assert_eq!(verdict(&world, "bucket", "b").await, CorsVerdict::Allowed(rule("b")));
    assert_eq!(verdict(&world, "bucket", "c").await, CorsVerdict::Refused);
    put(&world, vec![rule("c")]).await.unwrap();
    assert_eq!(verdict(&world, "bucket", "b").await, CorsVerdict::Refused);

    for _ in 0..2 {
        world.service.delete_cors(&world.caller, &world.bucket).await.unwrap();
    }
    expects!(read().await, Err(ServiceError::NoSuchCorsConfiguration { .. }));
    assert_eq!(verdict(&world, "bucket", "c").await, CorsVerdict::NotEnabled);
}

#[tokio::test]
async fn rules_that_are_refused_leave_those_before_them() {
    let world = World::new().await;
    put(&world, vec![rule("a"); MAX_CORS_RULES]).await.unwrap();
    for refused in [
        Vec::new(),
        vec![rule("b"); MAX_CORS_RULES + 1],
        vec![CorsRule { origins: Vec::new(), ..rule("b") }],
        vec![rule("b"), CorsRule { methods: Vec::new(), ..rule("b") }],
    ] {
        expects!(put(&world, refused).await, Err(ServiceError::MalformedDocument));
    }
    let named = |length: usize| vec![CorsRule { id: Some("ä".repeat(length)), ..rule("b") }];
    expects!(put(&world, named(256)).await, Err(ServiceError::InvalidArgument { name: "ID", .. }));
    assert_eq!(verdict(&world, "bucket", "a").await, CorsVerdict::Allowed(rule("a")));
    put(&world, named(255)).await.unwrap();
}

#[tokio::test]
async fn i6_rules_are_the_owners_to_see_and_to_set() {
    let world = World::new().await;
    put(&world, vec![rule("a")]).await.unwrap();
    let nobody = Caller::new(Principal::Anonymous);
    let (service, bucket) = (&world.service, &world.bucket);
    expects!(service.cors(&nobody, bucket).await, Err(ServiceError::AccessDenied { .. }));
    expects!(service.delete_cors(&nobody, bucket).await, Err(ServiceError::AccessDenied { .. }));
    let other = service.put_cors(&nobody, bucket, CorsRules(vec![rule("b")])).await;
    expects!(other, Err(ServiceError::AccessDenied { .. }));
    assert_eq!(verdict(&world, "bucket", "a").await, CorsVerdict::Allowed(rule("a")));
}

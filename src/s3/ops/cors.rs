//! CORS configurations: documents to rules, and back as they were written.

use super::{Answer, Operations, caller};
use crate::s3::digest::require_digest;
use crate::s3::gateway::SentDocument;
use crate::service::{ServiceError, parse_bucket_name};
use crate::types::{CorsMethod, CorsPattern, CorsRule, CorsRules, ExposedHeader, ParseError};
use s3s::dto;
use s3s::{S3Request, S3Response};

/// Of a configuration, as AWS documents it. Every request of a page is compared with it.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;

type Parsed<T> = Result<T, ServiceError>;

impl Operations {
    pub(super) async fn put_bucket_cors(
        &self,
        request: S3Request<dto::PutBucketCorsInput>,
    ) -> Answer<dto::PutBucketCorsOutput> {
        require_digest(&request.headers)?;
        if document_bytes(&request) > MAX_DOCUMENT_BYTES {
            return Err(refused("The CORS configuration is larger than 64 KiB".to_owned()));
        }
        let caller = caller(&request);
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let document = request.input.cors_configuration;
        let rules = document.cors_rules.into_iter().map(rule).collect::<Parsed<_>>()?;
        self.service.put_cors(&caller, &bucket, CorsRules(rules)).await?;
        Ok(S3Response::new(dto::PutBucketCorsOutput {}))
    }

    pub(super) async fn get_bucket_cors(
        &self,
        request: S3Request<dto::GetBucketCorsInput>,
    ) -> Answer<dto::GetBucketCorsOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        let rules = self.service.cors(&caller(&request), &bucket).await?;
        let cors_rules = Some(rules.0.into_iter().map(shown).collect());
        Ok(S3Response::new(dto::GetBucketCorsOutput { cors_rules }))
    }

    pub(super) async fn delete_bucket_cors(
        &self,
        request: S3Request<dto::DeleteBucketCorsInput>,
    ) -> Answer<dto::DeleteBucketCorsOutput> {
        let bucket = parse_bucket_name(&request.input.bucket)?;
        self.service.delete_cors(&caller(&request), &bucket).await?;
        Ok(S3Response::new(dto::DeleteBucketCorsOutput {}))
    }
}

fn document_bytes<T>(request: &S3Request<T>) -> usize {
    request.extensions.get::<SentDocument>().map_or(0, |SentDocument(bytes)| bytes.len())
}

fn refused(reason: String) -> ServiceError {
    ServiceError::InvalidRequest { reason }
}

/// An element's text, cut to what an answer can repeat.
fn quoted(element: &str, text: &str, error: &ParseError) -> ServiceError {
    let text: String = text.chars().take(256).collect();
    refused(format!("{element} \"{text}\" {}", error.why))
}

fn rule(rule: dto::CORSRule) -> Parsed<CorsRule> {
    let max_age = rule.max_age_seconds.map(u32::try_from).transpose();
    Ok(CorsRule {
        id: rule.id,
        methods: rule.allowed_methods.iter().map(|name| method(name)).collect::<Parsed<_>>()?,
        origins: patterns("AllowedOrigin", rule.allowed_origins)?,
        headers: patterns("AllowedHeader", rule.allowed_headers.unwrap_or_default())?,
        exposed: rule
            .expose_headers
            .unwrap_or_default()
            .iter()
            .map(|text| exposed(text))
            .collect::<Parsed<_>>()?,
        max_age_seconds: max_age.map_err(|_| ServiceError::MalformedDocument)?,
    })
}

fn method(name: &str) -> Parsed<CorsMethod> {
    CorsMethod::parse(name).map_err(|_| {
        let name: String = name.chars().take(256).collect();
        refused(format!("Found unsupported HTTP method in CORS config. Unsupported method is {name}"))
    })
}

fn patterns(element: &str, texts: Vec<String>) -> Parsed<Vec<CorsPattern>> {
    let pattern = |text: String| {
        let parsed = CorsPattern::parse(text.clone());
        parsed.map_err(|error| quoted(element, &text, &error))
    };
    texts.into_iter().map(pattern).collect()
}

fn exposed(text: &str) -> Parsed<ExposedHeader> {
    let parsed = ExposedHeader::parse(text.to_owned());
    parsed.map_err(|error| quoted("ExposeHeader", text, &error))
}

fn shown(rule: CorsRule) -> dto::CORSRule {
    dto::CORSRule {
        allowed_headers: some(rule.headers),
        allowed_methods: rule.methods.into_iter().map(|method| method.as_str().to_owned()).collect(),
        allowed_origins: rule.origins.into_iter().map(String::from).collect(),
        expose_headers: some(rule.exposed),
        id: rule.id,
        max_age_seconds: rule.max_age_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
    }
}

fn some<T: Into<String>>(all: Vec<T>) -> Option<Vec<String>> {
    Some(all).filter(|all| !all.is_empty()).map(|all| all.into_iter().map(Into::into).collect())
}

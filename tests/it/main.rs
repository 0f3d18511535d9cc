//! Integration tests: one binary, one module per subject.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod app_cli;
mod app_redis;
mod app_serve;
mod app_start;
mod architecture;
mod cache_redis;
mod fuzz;
mod kill;
mod noise;
mod s3_accounts;
mod s3_answers;
mod s3_attributes;
mod s3_bodies;
mod s3_checksums;
mod s3_continue;
mod s3_cors;
mod s3_errors;
mod s3_lifecycle;
mod s3_listing;
mod s3_lock;
mod s3_operations;
mod s3_post;
mod s3_requests;
mod s3_tags;
mod support;

//! Parameters of a query that an operation reads: each is there once, and numbers are numbers.

use super::query::Query;
use super::refusal::{Refusal, refuse};
use s3s::S3ErrorCode as Code;
use std::collections::HashSet;

/// Those of listings: an empty one is none.
const PAGES: [&str; 5] = ["max-buckets", "max-keys", "max-parts", "max-uploads", "part-number-marker"];
const PART: &str = "partNumber";
const TEXTS: [&str; 16] = [
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "id",
    "key-marker",
    "list-type",
    "marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "uploadId",
    "version-id-marker",
    "versionId",
    "x-id",
];

/// Two readers of a parameter that is there twice could take it for two different things.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn check_parameters(query: &mut Query) -> Result<(), Refusal> {
    query.drop_empty(&PAGES);
    let mut seen = HashSet::new();
    for (name, value) in query.pairs() {
        let is_number = name == PART || PAGES.contains(&name);
        let is_read = is_number || TEXTS.contains(&name) || super::rules::is_subresource(name);
        if is_read && !seen.insert(name) {
            return Err(invalid(name, value, format!("The parameter {name} may be given once")));
        }
        if is_number && value.parse::<i32>().is_err() {
            return Err(invalid(name, value, not_a_number(name)));
        }
    }
    Ok(())
}

fn not_a_number(name: &str) -> String {
    match name {
        "partNumber" => "Part number must be an integer between 1 and 10000, inclusive".to_owned(),
        name => format!("Provided {name} not an integer or within integer range"),
    }
}

fn invalid(name: &str, value: &str, message: String) -> Refusal {
    let value: String = value.chars().take(256).collect();
    refuse(Code::InvalidArgument, message).with("ArgumentName", name).with("ArgumentValue", &value)
}

#[cfg(test)]
mod tests {
    use super::{Query, check_parameters};

    fn check(text: &str) -> Result<(), String> {
        let mut query = Query::parse(text).unwrap();
        check_parameters(&mut query).map_err(|refusal| format!("{:?}", refusal.fields))
    }

    #[test]
    fn what_is_read_is_there_once_and_what_is_not_is_ignored() {
        for fine in [
            "",
            "list-type=2&max-keys=0",
            "max-keys=",
            "max-keys=-1",
            "x=1&x=2",
            "partNumber=10001&uploadId=a",
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for wrong in
            ["max-keys=blah", "max-keys=2147483648", "partNumber=1e3", "acl&acl", "versionId=a&versionId=a"]
        {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}

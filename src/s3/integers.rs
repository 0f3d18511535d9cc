//! Numbers in a listing's query: an empty one is none, and what is no number is named in the error.

use super::query::Query;
use super::refusal::{Refusal, refuse};
use s3s::S3ErrorCode as Code;

const NAMES: [&str; 5] = ["max-buckets", "max-keys", "max-parts", "max-uploads", "part-number-marker"];

/// # Errors
/// `InvalidArgument` for what is no 32-bit integer.
pub(super) fn check_integers(query: &mut Query) -> Result<(), Refusal> {
    query.drop_empty(&NAMES);
    for (name, value) in query.pairs().filter(|(name, _)| NAMES.contains(name)) {
        if value.parse::<i32>().is_err() {
            let message = format!("Provided {name} not an integer or within integer range");
            let value: String = value.chars().take(256).collect();
            let refusal = refuse(Code::InvalidArgument, message).with("ArgumentName", name);
            return Err(refusal.with("ArgumentValue", &value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Query, check_integers};

    #[test]
    fn empty_numbers_are_none_and_others_have_to_be_numbers() {
        let check = |text: &str| {
            let mut query = Query::parse(text).unwrap();
            check_integers(&mut query).map(|()| query.canonical(None)).ok()
        };
        assert_eq!(check("max-keys=&prefix=&max-parts=5").as_deref(), Some("max-parts=5&prefix="));
        assert_eq!(check("max-keys=-1&other=x").as_deref(), Some("max-keys=-1&other=x"));
        for refused in ["max-keys=blah", "max-keys=2147483648", "part-number-marker=1.5", "max-uploads=%20"] {
            assert_eq!(check(refused), None, "{refused}");
        }
    }
}

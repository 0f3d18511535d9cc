//! The document that a form is signed by: until when it holds, and what the form may say.
//!
//! Each field has to be named by a condition, and so does the bucket; each condition has to hold. The values are those
//! with the file's name put in; the bucket is the request's, whatever the form says.

use super::fields::Fields;
use super::json::strict;
use super::refusals::{invalid_policy, violation};
use crate::s3::refusal::Refusal;
use base64::Engine as _;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Fields that need no condition.
const EXEMPT: [&str; 3] = ["policy", "x-amz-signature", "file"];
const IGNORED: &str = "x-ignore-";

/// How many bytes the file may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SizeRange {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl SizeRange {
    pub(super) const ANY: Self = Self { least: 0, most: u64::MAX };

    fn and(self, other: Self) -> Self {
        Self { least: self.least.max(other.least), most: self.most.min(other.most) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Equals {
        field: Option<String>,
        value: String,
    },
    StartsWith {
        field: Option<String>,
        prefix: String,
    },
    /// `None`: the limits are none, which no file keeps to.
    Size(Option<SizeRange>),
}

/// A condition, and how S3 writes it when it does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    test: Test,
    shown: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    expiration: OffsetDateTime,
    conditions: Vec<Condition>,
}

impl Policy {
    /// Reads the base64 of the form's field.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        // Some encoders break lines.
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        let bytes = bytes.map_err(|_| invalid_policy("invalid Base64 encoding."))?;
        let document = String::from_utf8(bytes).map_err(|_| invalid_json())?;
        let Ok(Value::Object(members)) = serde_json::from_str(&strict(&document)) else {
            return Err(invalid_json());
        };
        Self::of(&members)
    }

    fn of(members: &Map<String, Value>) -> Result<Self, Refusal> {
        if let Some(other) =
            members.keys().find(|name| !["expiration", "conditions"].contains(&name.as_str()))
        {
            return Err(invalid_policy(&format!("Unexpected: '{}'", short(other))));
        }
        let expiration =
            members.get("expiration").ok_or_else(|| invalid_policy("Policy missing expiration."))?;
        let conditions =
            members.get("conditions").ok_or_else(|| invalid_policy("Policy missing conditions."))?;
        let Value::Array(conditions) = conditions else {
            return Err(invalid_policy("Invalid 'conditions' value: must be a List."));
        };
        let conditions = conditions.iter().map(Condition::of).collect::<Result<_, _>>()?;
        Ok(Self { expiration: moment(expiration)?, conditions })
    }

    /// # Errors
    /// When the policy is over, a condition does not hold, or a field has none.
    pub(super) fn check(
        &self,
        fields: &Fields,
        bucket: &str,
        now: OffsetDateTime,
    ) -> Result<SizeRange, Refusal> {
        if now > self.expiration {
            return Err(violation("Policy expired."));
        }
        let mut range = SizeRange::ANY;
        for Condition { test, shown } in &self.conditions {
            let value_of = |field: &Option<String>| match field.as_deref() {
                Some("bucket") => Some(bucket),
                name => name.and_then(|name| fields.get(name)),
            };
            let holds = match test {
                Test::Equals { field, value } => value_of(field) == Some(value),
                Test::StartsWith { field, prefix } => {
                    let is_list = field.as_deref() == Some("content-type");
                    value_of(field).is_some_and(|value| starts_with(value, prefix, is_list))
                }
                Test::Size(Some(sizes)) => {
                    range = range.and(*sizes);
                    true
                }
                Test::Size(None) => false,
            };
            if !holds {
                return Err(violation(&format!("Policy Condition failed: {shown}")));
            }
        }
        self.check_coverage(fields)?;
        Ok(range)
    }

    /// A policy without a bucket would hold for every one.
    fn check_coverage(&self, fields: &Fields) -> Result<(), Refusal> {
        let is_exempt = |name: &str| {
            let name = name.to_ascii_lowercase();
            EXEMPT.contains(&name.as_str()) || name.starts_with(IGNORED)
        };
        let names = fields.iter().map(|field| field.name.as_str());
        let names = names.filter(|name| !name.eq_ignore_ascii_case("bucket")).chain(["bucket"]);
        let extra: Vec<_> = names.filter(|name| !is_exempt(name) && !self.names(name)).map(short).collect();
        if extra.is_empty() {
            return Ok(());
        }
        Err(violation(&format!("Extra input fields: {}", extra.join(", "))))
    }

    fn names(&self, name: &str) -> bool {
        self.conditions.iter().any(|condition| match &condition.test {
            Test::Equals { field, .. } | Test::StartsWith { field, .. } => {
                field.as_deref().is_some_and(|field| field.eq_ignore_ascii_case(name))
            }
            Test::Size(_) => false,
        })
    }
}

/// Of content types, each of a list.
fn starts_with(value: &str, prefix: &str, is_list: bool) -> bool {
    if is_list {
        value.split(',').all(|one| one.trim_start().starts_with(prefix))
    } else {
        value.starts_with(prefix)
    }
}

impl Condition {
    fn of(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(members) => Self::simple(members),
            Value::Array(items) => Self::list(items),
            _ => Err(invalid_policy("Invalid condition test: must be a List or Object.")),
        }
    }

    /// `{"field": "value"}`
    fn simple(members: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut members = members.iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            let why = "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.";
            return Err(invalid_policy(why));
        };
        let Value::String(value) = value else {
            return Err(invalid_policy("Invalid Simple-Condition: value must be a string."));
        };
        let shown = format!("[\"eq\", {}, {}]", quoted(&format!("${name}")), quoted(value));
        Ok(Self {
            test: Test::Equals { field: Some(name.to_ascii_lowercase()), value: value.clone() },
            shown,
        })
    }

    /// `["operation", first, second]`
    fn list(items: &[Value]) -> Result<Self, Refusal> {
        let Some(Value::String(operation)) = items.first() else {
            return Err(invalid_policy("Invalid Condition: missing operation identifier."));
        };
        let known = operation.to_ascii_lowercase();
        if !["eq", "starts-with", "content-length-range"].contains(&known.as_str()) {
            let why = format!("Invalid Condition: unknown operation '{}'.", short(operation));
            return Err(invalid_policy(&why));
        }
        let [_, first, second] = items else {
            return Err(invalid_policy(&format!("Invalid {known}: wrong number of arguments.")));
        };
        let shown: Vec<_> = items.iter().map(Value::to_string).collect();
        let shown = format!("[{}]", shown.join(", "));
        if known == "content-length-range" {
            let limits = (limit(first)?, limit(second)?);
            let range = limits.0.zip(limits.1).map(|(least, most)| SizeRange { least, most });
            return Ok(Self { test: Test::Size(range), shown });
        }
        let (Value::String(field), Value::String(value)) = (first, second) else {
            return Err(invalid_json());
        };
        let (field, value) = (field.strip_prefix('$').map(str::to_ascii_lowercase), value.clone());
        let test = match known.as_str() {
            "eq" => Test::Equals { field, value },
            _ => Test::StartsWith { field, prefix: value },
        };
        Ok(Self { test, shown })
    }
}

/// A size in bytes, as a number or in text. Text that is no size is a limit that nothing keeps to.
fn limit(value: &Value) -> Result<Option<u64>, Refusal> {
    match value {
        Value::Number(number) => number.as_u64().map(Some).ok_or_else(invalid_json),
        Value::String(text) => Ok(text.parse().ok()),
        _ => Err(invalid_json()),
    }
}

/// `2013-08-01T12:00:00.000Z`, in UTC and in no other way.
fn moment(value: &Value) -> Result<OffsetDateTime, Refusal> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let is_utc = text.ends_with('Z') && text.contains('T');
    let at = OffsetDateTime::parse(&text, &Rfc3339).ok().filter(|_| is_utc);
    at.ok_or_else(|| invalid_policy(&format!("Invalid 'expiration' value: '{}'", short(&text))))
}

fn invalid_json() -> Refusal {
    invalid_policy("Invalid JSON.")
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn short(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;

//! Forms: the policy is what is signed, and it says what the form may hold.
//!
//! Source: "Authenticating Requests in Browser-Based Uploads Using POST" in Amazon S3's documentation.

use super::claim::{Claim, SignedAt};
use super::{ALGORITHM, Authenticator, MAX_EXPIRES_SECONDS, MAX_SKEW, unsupported};
use crate::s3::refusal::{Refusal, refuse};
use crate::types::Principal;
use s3s::S3ErrorCode as Code;
use time::{Duration, OffsetDateTime};

/// What a form says of its signature, as it stands in its fields.
#[derive(Debug, Clone, Copy)]
pub(in crate::s3) struct FormClaim<'a> {
    pub(in crate::s3) algorithm: &'a str,
    pub(in crate::s3) credential: &'a str,
    pub(in crate::s3) date: &'a str,
    pub(in crate::s3) policy: &'a str,
    pub(in crate::s3) signature: &'a str,
    pub(in crate::s3) has_token: bool,
}

impl Authenticator {
    /// Who signed the policy, before a word of it is read.
    ///
    /// # Errors
    /// The answer to a form that is not signed as it must be.
    pub(in crate::s3) fn check_form(
        &self,
        form: &FormClaim<'_>,
        now: OffsetDateTime,
    ) -> Result<Principal, Refusal> {
        if form.algorithm != ALGORITHM {
            return Err(unsupported());
        }
        let claim = self.form_scope(form)?;
        let signed_at = SignedAt::parse(form.date).ok_or_else(|| {
            argument("X-Amz-Date must be formated via ISO8601 Long format", "X-Amz-Date", form.date)
        })?;
        check_date(&claim, &signed_at, now)?;
        if form.has_token {
            return Err(refuse(Code::InvalidToken, "The provided token is malformed or otherwise invalid."));
        }
        let Some(identity) = self.credentials.find(claim.access_key) else {
            let message = "The AWS Access Key Id you provided does not exist in our records.";
            return Err(refuse(Code::InvalidAccessKeyId, message).with("AWSAccessKeyId", claim.access_key));
        };
        let key = identity.signing_key(&claim);
        if key.verifies(form.policy.as_bytes(), form.signature) {
            identity.keep(&claim, &key);
            return Ok(identity.principal().clone());
        }
        let bytes: Vec<_> = form.policy.bytes().map(|byte| format!("{byte:02x}")).collect();
        let message = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
        Err(refuse(Code::SignatureDoesNotMatch, message)
            .with("AWSAccessKeyId", claim.access_key)
            .with("StringToSign", form.policy)
            .with("SignatureProvided", form.signature)
            .with("StringToSignBytes", &bytes.join(" ")))
    }

    fn form_scope<'a>(&self, form: &FormClaim<'a>) -> Result<Claim<'a>, Refusal> {
        let wrong = |message: &str| argument(message, "X-Amz-Credential", form.credential);
        let claim = Claim::of_form(form.credential, form.signature).ok_or_else(|| {
            wrong("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
        })?;
        if claim.access_key.is_empty() {
            return Err(wrong("a non-empty Access Key (AKID) must be provided in the credential."));
        }
        if claim.region != self.region {
            let region: String = claim.region.chars().take(64).collect();
            let message = format!("the region '{region}' is wrong; expecting '{}'", self.region);
            return Err(wrong(&message).with("Region", &self.region));
        }
        if claim.service != "s3" {
            return Err(wrong("incorrect service. This endpoint belongs to \"s3\"."));
        }
        Ok(claim)
    }
}

/// A form is good for as long as its signing key: seven days at most, whatever its policy says.
fn check_date(claim: &Claim<'_>, signed_at: &SignedAt, now: OffsetDateTime) -> Result<(), Refusal> {
    if claim.date != signed_at.day() {
        let message = "The date of the credential is not that of the request.";
        return Err(refuse(Code::SignatureDoesNotMatch, message));
    }
    let age = now - signed_at.at;
    if age < -MAX_SKEW {
        return Err(refuse(Code::AccessDenied, "Request is not valid yet"));
    }
    if age > Duration::seconds(i64::from(MAX_EXPIRES_SECONDS)) {
        return Err(refuse(Code::AccessDenied, "Invalid according to Policy: Policy expired."));
    }
    Ok(())
}

fn argument(message: &str, name: &str, value: &str) -> Refusal {
    let value: String = value.chars().take(256).collect();
    refuse(Code::InvalidArgument, message.to_owned()).with("ArgumentName", name).with("ArgumentValue", &value)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ACCESS_KEY, EXAMPLE_POLICY, authenticator};
    use super::FormClaim;
    use time::OffsetDateTime;

    const SIGNATURE: &str = "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e";
    /// 2015-12-29, midnight.
    const THEN: i64 = 1_451_347_200;
    const DAY: i64 = 86_400;

    const EXAMPLE: FormClaim<'_> = FormClaim {
        algorithm: "AWS4-HMAC-SHA256",
        credential: "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
        date: "20151229T000000Z",
        policy: EXAMPLE_POLICY,
        signature: SIGNATURE,
        has_token: false,
    };

    fn check(form: &FormClaim<'_>, seconds: i64) -> String {
        let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let checked = authenticator().check_form(form, now);
        checked.map_or_else(|refusal| refusal.error.code().as_str().to_owned(), |who| format!("{who:?}"))
    }

    #[test]
    fn i6_the_documentations_form_passes_and_no_other_does() {
        assert!(check(&EXAMPLE, THEN).contains(ACCESS_KEY));
        let policy = EXAMPLE_POLICY.replacen('A', "B", 1);
        for (what, form, code) in [
            ("policy", FormClaim { policy: &policy, ..EXAMPLE }, "SignatureDoesNotMatch"),
            ("policy", FormClaim { policy: &EXAMPLE_POLICY[..860], ..EXAMPLE }, "SignatureDoesNotMatch"),
            ("signature", FormClaim { signature: "", ..EXAMPLE }, "SignatureDoesNotMatch"),
            ("signature", FormClaim { signature: &SIGNATURE[..62], ..EXAMPLE }, "SignatureDoesNotMatch"),
            ("algorithm", FormClaim { algorithm: "AWS4-HMAC-SHA1", ..EXAMPLE }, "InvalidRequest"),
            ("date", FormClaim { date: "2015-12-29T00:00:00Z", ..EXAMPLE }, "InvalidArgument"),
            ("day", FormClaim { date: "20151230T000000Z", ..EXAMPLE }, "SignatureDoesNotMatch"),
            ("token", FormClaim { has_token: true, ..EXAMPLE }, "InvalidToken"),
        ] {
            assert_eq!(check(&form, THEN), code, "{what}");
        }
        for (credential, code) in [
            ("", "InvalidArgument"),
            ("AKIAIOSFODNN7EXAMPLE", "InvalidArgument"),
            ("/20151229/us-east-1/s3/aws4_request", "InvalidArgument"),
            ("AKIAIOSFODNN7EXAMPLE/20151229/eu-west-1/s3/aws4_request", "InvalidArgument"),
            ("AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/ec2/aws4_request", "InvalidArgument"),
            ("AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws5_request", "InvalidArgument"),
            ("AKIAUNKNOWN/20151229/us-east-1/s3/aws4_request", "InvalidAccessKeyId"),
        ] {
            assert_eq!(check(&FormClaim { credential, ..EXAMPLE }, THEN), code, "{credential}");
        }
    }

    #[test]
    fn i6_a_form_lives_as_long_as_its_key() {
        assert!(check(&EXAMPLE, THEN + 7 * DAY).contains(ACCESS_KEY));
        assert_eq!(check(&EXAMPLE, THEN + 7 * DAY + 1), "AccessDenied");
        assert!(check(&EXAMPLE, THEN - 900).contains(ACCESS_KEY));
        assert_eq!(check(&EXAMPLE, THEN - 901), "AccessDenied");
    }
}

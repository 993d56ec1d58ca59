//! The resource of an authorizer's policy: everything in one stage of an API.

use std::{fmt, str::FromStr};

/// The ARN of everything in one stage of an API, such as `arn:aws:execute-api:eu-west-1:123456789012:abc123/prod/*`.
///
/// It covers the whole stage, not only the called method, as API Gateway caches the policy for the credentials and applies
/// it to their owner's next calls. In IAM a star matches any characters, also slashes, and the empty string: one star
/// covers every method and every path, the root (`prod/GET/`) and the routes that have no method (`prod/$default`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage(String);

/// A text that is not the ARN of a method of an API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the ARN of a method: arn:PARTITION:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH")]
pub struct StageError;

impl Stage {
    /// The longest resource that API Gateway takes in an authorizer's policy, in characters
    /// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html>).
    const MAX_CHARS: usize = 512;

    /// Returns the ARN as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the ARN of a method. No part that goes into a policy may hold a special character of policies, such as a star, so
/// a policy never allows more than its own stage.
impl FromStr for Stage {
    type Err = StageError;

    fn from_str(method: &str) -> Result<Self, StageError> {
        let parts: Vec<&str> = method.splitn(6, ':').collect();
        let ["arn", partition, "execute-api", region, account, resource] = parts[..] else {
            return Err(StageError);
        };
        let parts: Vec<&str> = resource.splitn(3, '/').collect();
        let [api, stage, route] = parts[..] else {
            return Err(StageError);
        };
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let is_right = (partition == "aws" || partition.starts_with("aws-"))
            && [partition, region, account, api].into_iter().all(is_name)
            && (is_name(stage) || stage == "$default")
            && !route.is_empty();
        let arn = format!("arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/*");
        if is_right && arn.len() <= Self::MAX_CHARS { Ok(Self(arn)) } else { Err(StageError) }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::covers;

    fn stage(arn: &str) -> Result<String, StageError> {
        arn.parse().map(|stage: Stage| stage.to_string())
    }

    #[test]
    fn a_stage_is_found_in_every_partition() {
        for partition in ["aws", "aws-cn", "aws-us-gov"] {
            assert_eq!(
                stage(&format!(
                    "arn:{partition}:execute-api:us-east-1:123456789012:abcdef123/test/GET/a:b/c"
                )),
                Ok(format!("arn:{partition}:execute-api:us-east-1:123456789012:abcdef123/test/*"))
            );
        }
    }

    #[test]
    fn a_stage_covers_all_its_methods_and_paths_and_no_other_stage() {
        for name in ["prod", "$default", "test-invoke-stage", "v1_0"] {
            let api = "arn:aws:execute-api:us-east-1:123456789012:abcdef123";
            let whole = stage(&format!("{api}/{name}/POST/events")).unwrap();
            for route in
                ["POST/events", "GET/", "GET/counts/button_click", "OPTIONS/a/b/c", "$default", "GET/*"]
            {
                assert!(covers(&whole, &format!("{api}/{name}/{route}")), "{route}");
                assert_eq!(stage(&format!("{api}/{name}/{route}")), Ok(whole.clone()));
            }
            for other in [
                format!("{api}/other/GET/events"),
                format!("{api}/{name}2/GET/events"),
                format!("{api}4/{name}/GET/events"),
            ] {
                assert!(!covers(&whole, &other), "{other}");
            }
        }
    }

    #[test]
    fn anything_else_is_no_stage() {
        let long = "x".repeat(512);
        for bad in [
            "",
            "*",
            "arn",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123//GET/",
            "arn:aws:execute-api:us-east-1:123456789012:/test/GET/",
            "arn:aws:execute-api:us-east-1:123456789012:*/test/GET/",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123/*/GET/",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123/te?t/GET/",
            "arn:aws:execute-api:us-east-1:123456789012:abcdef123/${aws:username}/GET/",
            "arn:aws:execute-api:us-east-1:*:abcdef123/test/GET/",
            "arn:aws:execute-api:*:123456789012:abcdef123/test/GET/",
            "arn:aws:execute-api::123456789012:abcdef123/test/GET/",
            "arn:*:execute-api:us-east-1:123456789012:abcdef123/test/GET/",
            "arn:awsome:execute-api:us-east-1:123456789012:abcdef123/test/GET/",
            "arn:aws:lambda:us-east-1:123456789012:abcdef123/test/GET/",
            "ARN:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/",
            " arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/",
            &format!("arn:aws:execute-api:us-east-1:123456789012:abcdef123/{long}/GET/"),
        ] {
            assert_eq!(stage(bad), Err(StageError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_one_star_and_that_at_its_end(
            arn in "\\PC{0,60}|arn:aws[a-z*-]{0,4}:execute-api:[a-z0-9*-]{0,9}:[0-9*]{0,12}:[a-z0-9*?]{0,9}/[$a-z{}*]{0,9}/\\PC{0,9}",
        ) {
            if let Ok(stage) = stage(&arn) {
                prop_assert_eq!(stage.find('*'), Some(stage.len() - 1));
                prop_assert_eq!(stage.find(['?', '{']), None);
                prop_assert!(covers(&stage, &arn));
            }
        }
    }
}

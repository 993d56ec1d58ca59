//! API Gateway's two forms of an authorizer's answer: a policy, or a yes or no.
//!
//! No member is ever null: AWS does not document whether API Gateway takes a null for a missing member. All values of the
//! context are strings, as a REST API takes no other type:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html>.

use serde::Serialize;

use crate::{Grant, Stage};

/// The caller's properties that the collector gets, in the request context's `authorizer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Context {
    username: String,
    scope: &'static str,
    access_key: String,
    /// The key's expiry, in milliseconds. API Gateway may cache a grant beyond it, so the collector has to know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl From<&Grant> for Context {
    fn from(grant: &Grant) -> Self {
        Self {
            username: grant.username.to_string(),
            scope: grant.scope.as_str(),
            access_key: grant.access_key.to_string(),
            expires_at: grant.expires_at.map(|end| end.millis().to_string()),
        }
    }
}

/// An IAM policy and its principal: the answer for REST APIs and HTTP APIs in payload format 1.0.
///
/// API Gateway caches it for the credentials, a refusal like a grant, for as long as the authorizer's time to live says: an
/// access key that is made right after it was refused may be refused until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    principal_id: String,
    #[serde(rename = "policyDocument")]
    document: PolicyDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_identifier_key: Option<String>,
}

/// The policy itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

/// A statement of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

impl Policy {
    /// The principal of a refusal. No user can have this name.
    const NO_USER: &str = "_nobody";

    /// Allows the caller every method of the stage; the collector decides which of them the caller's scope covers.
    #[must_use]
    pub fn allow(stage: &Stage, grant: &Grant) -> Self {
        Self {
            context: Some(grant.into()),
            usage_identifier_key: Some(grant.usage_key.clone()),
            ..Self::new(grant.username.as_str(), "Allow", stage.as_str())
        }
    }

    /// Denies the stage, or everything if the stage is not known.
    #[must_use]
    pub fn deny(stage: Option<&Stage>) -> Self {
        Self::new(Self::NO_USER, "Deny", stage.map_or("*", Stage::as_str))
    }

    fn new(principal: &str, effect: &'static str, resource: &str) -> Self {
        Self {
            principal_id: principal.to_owned(),
            document: PolicyDocument {
                version: "2012-10-17",
                statement: [Statement {
                    action: "execute-api:Invoke",
                    effect,
                    resource: resource.to_owned(),
                }],
            },
            context: None,
            usage_identifier_key: None,
        }
    }
}

/// Yes or no: the answer for HTTP APIs in payload format 2.0 with simple responses enabled (`EnableSimpleResponses`), as in
/// Weir's template. If they are not enabled, API Gateway does not understand the answer and returns 500. It is cached like
/// a [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simple {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

impl Simple {
    /// Yes.
    #[must_use]
    pub fn allow(grant: &Grant) -> Self {
        Self { is_authorized: true, context: Some(grant.into()) }
    }

    /// No.
    #[must_use]
    pub fn deny() -> Self {
        Self { is_authorized: false, context: None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;
    use crate::fixtures::grant;

    fn stage() -> Stage {
        "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/GET/".parse().unwrap()
    }

    #[test]
    fn a_grant_is_a_policy_for_the_whole_stage() {
        assert_eq!(
            to_value(Policy::allow(&stage(), &grant("web"))).unwrap(),
            json!({
                "principalId": "ethan",
                "policyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [{
                        "Action": "execute-api:Invoke",
                        "Effect": "Allow",
                        "Resource": "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/*",
                    }],
                },
                "context": {"username": "ethan", "scope": "both", "access_key": "web"},
                "usageIdentifierKey": "0".repeat(64),
            })
        );
    }

    #[test]
    fn a_refusal_is_a_policy_that_names_no_user() {
        for (stage, resource) in
            [(Some(stage()), "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/*"), (None, "*")]
        {
            assert_eq!(
                to_value(Policy::deny(stage.as_ref())).unwrap(),
                json!({
                    "principalId": "_nobody",
                    "policyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": resource}],
                    },
                })
            );
        }
        assert!(Policy::NO_USER.parse::<weir_core::Username>().is_err());
    }

    #[test]
    fn a_simple_answer_says_yes_with_the_context_or_no_without() {
        assert_eq!(
            to_value(Simple::allow(&grant("web"))).unwrap(),
            json!({
                "isAuthorized": true,
                "context": {"username": "ethan", "scope": "both", "access_key": "web"},
            })
        );
        let ending =
            Grant { expires_at: Some(weir_core::Timestamp::saturating(1_795_179_605_007)), ..grant("web") };
        assert_eq!(to_value(Simple::allow(&ending)).unwrap()["context"]["expires_at"], "1795179605007");
        assert_eq!(to_value(Simple::deny()).unwrap(), json!({"isAuthorized": false}));
    }
}

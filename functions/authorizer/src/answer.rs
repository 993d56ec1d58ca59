//! Turns API Gateway's event into the answer that API Gateway expects.

use serde::Serialize;
use serde_json::Value;
use weir_core::ports::PortError;

use crate::{
    Authorizer, AuthorizerEvent, CredentialsError, EventError, EventKind, Grant, Policy, Refusal, Simple,
};

/// The function's return value. API Gateway caches it for the credentials, so a refusal that may only be temporary is never an
/// answer: it is a [`Failure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// For a REST API, or an HTTP API in payload format 1.0: a denied client gets 403.
    Policy(Policy),
    /// For an HTTP API in payload format 2.0: an unauthorized client gets 403.
    Simple(Simple),
}

/// The reason why the function's invocation has to fail. API Gateway caches no failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The request has no credentials. A REST API turns an error with exactly this message, and no other, into a 401; any
    /// other API turns it into a 500, which also lets no client in.
    #[error("Unauthorized")]
    Unauthorized,
    /// The credentials cannot be checked now: 500, and the next call tries again.
    #[error(transparent)]
    Unavailable(PortError),
}

impl Authorizer {
    /// Answers an authorizer's event of any shape.
    ///
    /// If the credentials are an identity source, API Gateway itself refuses a request without them. Otherwise
    /// [`Failure::Unauthorized`] does, where the API understands it. All other refusals are denials: API Gateway caches them,
    /// and they do not count as errors of the function, which raise an alarm.
    pub async fn answer(&self, event: &Value) -> Result<Answer, Failure> {
        let event = match AuthorizerEvent::read(event) {
            Ok(event) => event,
            Err(error) => return Err(unknown(&error)),
        };
        let outcome = match &event.credentials {
            Ok(header) => self.authorize(*header).await,
            Err(error) => return Ok(no(&event, error)),
        };
        match outcome {
            Ok(grant) => Ok(yes(&event, &grant)),
            Err(Refusal::Unavailable(error)) => Err(Failure::Unavailable(error)),
            // This refusal is temporary, so it must not be cached.
            Err(refusal @ Refusal::TooMany { .. }) => {
                Err(Failure::Unavailable(PortError::unavailable("signing in", refusal)))
            }
            Err(Refusal::NoCredentials)
                if matches!(event.kind, EventKind::RestToken | EventKind::RestRequest) =>
            {
                Err(Failure::Unauthorized)
            }
            Err(Refusal::NoCredentials | Refusal::Malformed(_) | Refusal::Wrong) => Ok(denial(&event)),
        }
    }
}

/// Fails the invocation: an event of unknown shape does not show which answer it expects, and every API takes a failure as
/// a refusal.
fn unknown(error: &EventError) -> Failure {
    tracing::warn!(%error, "this is no authorizer's event: is the function set up as one?");
    Failure::Unauthorized
}

fn no(event: &AuthorizerEvent<'_>, error: &CredentialsError) -> Answer {
    match error {
        CredentialsError::NotIdentitySource => tracing::warn!(%error, "refused"),
        CredentialsError::Several | CredentialsError::NotText => tracing::debug!(%error, "refused"),
    }
    denial(event)
}

fn yes(event: &AuthorizerEvent<'_>, grant: &Grant) -> Answer {
    match (event.kind, &event.stage) {
        (EventKind::HttpApi2, _) => Answer::Simple(Simple::allow(grant)),
        (_, Ok(stage)) => Answer::Policy(Policy::allow(stage, grant)),
        (_, Err(error)) => {
            tracing::warn!(%error, "right credentials are refused, as the event does not say for which API");
            denial(event)
        }
    }
}

fn denial(event: &AuthorizerEvent<'_>) -> Answer {
    match event.kind {
        EventKind::HttpApi2 => Answer::Simple(Simple::deny()),
        _ => Answer::Policy(Policy::deny(event.stage.as_ref().ok())),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;
    use serde_json::{json, to_value};
    use weir_core::{
        ManualClock, SeededRandom,
        users::{AccessKey, Scope},
    };

    use super::*;
    use crate::fixtures::{Directory, basic, covers, generated, now, user};

    const METHOD: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/GET/request";
    const STAGE: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/test/*";

    /// An authorizer that knows ethan, with a key that may read; its users; and the header of that key.
    fn authorizer() -> (Authorizer, Arc<Directory>, String) {
        let (key, secret) = generated("wéb", 1);
        let key = AccessKey { scope: Scope::Read, ..key };
        let users = Arc::new(Directory::of([user(vec![key])]));
        let clock = Arc::new(ManualClock::at(now()));
        let random = SeededRandom::new(1);
        let authorizer = Authorizer::new(users.clone(), clock, &random, Duration::from_mins(1));
        (authorizer, users, basic("ethan", secret.reveal()))
    }

    fn token(header: &Value) -> Value {
        json!({"type": "TOKEN", "authorizationToken": header, "methodArn": METHOD})
    }

    fn rest(header: &Value) -> Value {
        json!({
            "type": "REQUEST",
            "methodArn": METHOD,
            "resource": "/request",
            "path": "/request",
            "httpMethod": "GET",
            "headers": {"Accept": "*/*", "Authorization": header, "User-Agent": "curl/8.5.0"},
            "multiValueHeaders": {"Accept": ["*/*"], "Authorization": [header], "User-Agent": ["curl/8.5.0"]},
            "queryStringParameters": null,
            "multiValueQueryStringParameters": null,
            "pathParameters": {},
            "stageVariables": {"StageVar1": "stageValue1"},
            "requestContext": {
                "resourceId": "05c7jb",
                "resourcePath": "/request",
                "httpMethod": "GET",
                "path": "/test/request",
                "accountId": "123456789012",
                "protocol": "HTTP/1.1",
                "stage": "test",
                "requestId": "a8b4b1a0-0000-4000-8000-000000000000",
                "identity": {"apiKey": null, "sourceIp": "192.0.2.1", "clientCert": null},
                "apiId": "abcdef123",
            },
        })
    }

    fn http_1(header: &Value) -> Value {
        json!({
            "version": "1.0",
            "type": "REQUEST",
            "methodArn": METHOD,
            "identitySource": header,
            "authorizationToken": header,
            "resource": "/request",
            "path": "/request",
            "httpMethod": "GET",
            "headers": {"Accept": "*/*", "Authorization": header},
            "queryStringParameters": {},
            "pathParameters": {},
            "stageVariables": {},
            "requestContext": {
                "path": "/request",
                "accountId": "123456789012",
                "stage": "test",
                "identity": {"sourceIp": "192.0.2.1"},
                "resourcePath": "/request",
                "httpMethod": "GET",
                "apiId": "abcdef123",
            },
        })
    }

    fn http_2(header: &Value) -> Value {
        json!({
            "version": "2.0",
            "type": "REQUEST",
            "routeArn": "arn:aws:execute-api:us-east-1:123456789012:abcdef123/$default/POST/events",
            "identitySource": [header],
            "routeKey": "POST /events",
            "rawPath": "/events",
            "rawQueryString": "",
            "headers": {"accept": "*/*", "authorization": header, "content-length": "2"},
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "abcdef123",
                "domainName": "abcdef123.execute-api.us-east-1.amazonaws.com",
                "domainPrefix": "abcdef123",
                "http": {
                    "method": "POST",
                    "path": "/events",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1",
                    "userAgent": "curl/8.5.0",
                },
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": "POST /events",
                "stage": "$default",
                "time": "20/Nov/2026:13:00:05 +0000",
                "timeEpoch": 1_795_179_605_007_u64,
            },
        })
    }

    const SHAPES: [fn(&Value) -> Value; 4] = [token, rest, http_1, http_2];

    async fn answer(authorizer: &Authorizer, event: &Value) -> Value {
        to_value(authorizer.answer(event).await.unwrap()).unwrap()
    }

    fn allows(answer: &Value) -> bool {
        answer["isAuthorized"] == true || answer["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    }

    #[tokio::test]
    async fn right_credentials_are_granted_in_the_shape_that_was_asked_in() {
        let (authorizer, _, header) = authorizer();
        let context = json!({"username": "ethan", "scope": "read", "access_key": "wéb"});
        for shape in [token, rest, http_1] {
            let answer = answer(&authorizer, &shape(&json!(header))).await;
            assert_eq!(answer["principalId"], "ethan");
            assert_eq!(
                answer["policyDocument"]["Statement"],
                json!([{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": STAGE}])
            );
            assert_eq!(answer["context"], context);
            assert_eq!(answer["usageIdentifierKey"].as_str().unwrap().len(), 64);
        }
        assert_eq!(
            answer(&authorizer, &http_2(&json!(header))).await,
            json!({"isAuthorized": true, "context": context})
        );
    }

    #[tokio::test]
    async fn wrong_and_malformed_credentials_are_denied_in_the_shape_that_was_asked_in() {
        let (authorizer, _, header) = authorizer();
        let denial = json!({
            "principalId": "_nobody",
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": STAGE}],
            },
        });
        for wrong in [
            json!(basic("ethan", "weir_wrong")),
            json!(basic("nobody", "weir_wrong")),
            json!("Bearer abc"),
            json!(""),
            json!(7),
            json!([header, basic("ethan", "weir_wrong")]),
        ] {
            for shape in [token, rest, http_1] {
                assert_eq!(answer(&authorizer, &shape(&wrong)).await, denial, "{wrong}");
            }
            assert_eq!(answer(&authorizer, &http_2(&wrong)).await, json!({"isAuthorized": false}), "{wrong}");
        }
    }

    #[tokio::test]
    async fn missing_credentials_are_a_401_where_the_api_can_say_so() {
        let (authorizer, _, _) = authorizer();
        for shape in [token, rest] {
            let failure = authorizer.answer(&shape(&Value::Null)).await.unwrap_err();
            assert!(matches!(failure, Failure::Unauthorized));
            assert_eq!(failure.to_string(), "Unauthorized", "API Gateway compares it");
        }
        for shape in [http_1, http_2] {
            assert!(!allows(&answer(&authorizer, &shape(&Value::Null)).await));
        }
    }

    #[tokio::test]
    async fn users_that_cannot_be_asked_are_a_failure_and_no_denial() {
        let (authorizer, users, header) = authorizer();
        users.fail(true);
        for shape in SHAPES {
            let failure = authorizer.answer(&shape(&json!(header))).await.unwrap_err();
            assert!(matches!(failure, Failure::Unavailable(_)));
        }
        users.fail(false);
        for shape in SHAPES {
            assert!(allows(&answer(&authorizer, &shape(&json!(header))).await));
        }
    }

    #[tokio::test]
    async fn an_event_of_no_known_shape_is_refused_by_failing() {
        let (authorizer, _, header) = authorizer();
        for event in
            [json!(null), json!([]), json!({}), json!({"authorizationToken": header, "methodArn": METHOD})]
        {
            let failure = authorizer.answer(&event).await.unwrap_err();
            assert!(matches!(failure, Failure::Unauthorized), "{event}");
        }
    }

    #[tokio::test]
    async fn right_credentials_without_a_right_method_are_denied() {
        let (authorizer, _, header) = authorizer();
        for method in [json!(null), json!(""), json!("*"), json!("arn:aws:execute-api:*:*:*/*/*"), json!(7)] {
            for shape in [token, rest, http_1] {
                let mut event = shape(&json!(header));
                event["methodArn"] = method.clone();
                let answer = answer(&authorizer, &event).await;
                assert_eq!(
                    answer["policyDocument"]["Statement"],
                    json!([{"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": "*"}])
                );
            }
        }
    }

    #[tokio::test]
    async fn right_credentials_beside_others_are_denied() {
        let (authorizer, _, header) = authorizer();
        let mut event = rest(&json!(header));
        event["multiValueHeaders"]["Authorization"] = json!([basic("anna", "weir_x"), header]);
        assert!(!allows(&answer(&authorizer, &event).await));
        let mut event = http_2(&json!(header));
        event["identitySource"] = json!(["something that others share"]);
        assert!(!allows(&answer(&authorizer, &event).await));
    }

    #[tokio::test]
    async fn no_answer_holds_a_null_or_anything_of_the_secret() {
        let (authorizer, _, header) = authorizer();
        let (key, secret) = generated("wéb", 1);
        let hash = String::from(key.hash);
        let mut secrets: Vec<&str> = hash.split('$').skip(1).collect();
        secrets.extend([&secret.reveal()[5..], &header[6..]]);
        for header in [json!(header), json!(basic("ethan", "weir_wrong"))] {
            for shape in SHAPES {
                let answer = answer(&authorizer, &shape(&header)).await.to_string();
                assert!(!answer.contains("null"), "{answer}");
                for secret in &secrets {
                    assert!(!answer.contains(secret), "{answer}");
                }
                assert!(!answer.contains("weir_"), "{answer}");
            }
        }
    }

    /// Runs one answer to its end.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(future)
    }

    /// JSON that looks like an event, with values of all kinds in all places.
    fn events() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            "TOKEN|REQUEST|1\\.0|2\\.0".prop_map(Value::from),
            Just(json!(METHOD)),
            "weir_[a-zA-Z0-9_-]{0,33}".prop_map(|secret| json!(basic("ethan", &secret))),
        ];
        let name = "type|version|methodArn|routeArn|authorizationToken|headers|multiValueHeaders|identitySource\
            |authorization|Authorization|AUTHORIZATION|\\PC{0,6}";
        leaf.prop_recursive(3, 32, 8, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..8)
                    .prop_map(|members| Value::from(serde_json::Map::from_iter(members))),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_event_without_right_credentials_is_allowed_anything(
            mut event in events(),
            kind in prop::option::of("TOKEN|REQUEST"),
            version in prop::option::of("1\\.0|2\\.0"),
        ) {
            if event.is_object() {
                event["methodArn"] = json!(METHOD);
                for (name, value) in [("type", kind), ("version", version)] {
                    if let Some(value) = value {
                        event[name] = json!(value);
                    }
                }
            }
            let (authorizer, _, _) = authorizer();
            if let Ok(answer) = block_on(authorizer.answer(&event)) {
                prop_assert!(!allows(&to_value(answer).unwrap()));
            }
        }

        #[test]
        fn what_is_allowed_is_the_stage_that_was_called_and_no_more(
            method in "\\PC{0,40}|arn:aws:execute-api:[a-z0-9*-]{0,9}:[0-9*]{0,12}:[a-z0-9*]{0,4}/[$a-z*]{0,9}/[A-Z*]{0,4}/\\PC{0,9}",
            shape in 0..3_usize,
        ) {
            let (authorizer, _, header) = authorizer();
            let mut event = SHAPES[shape](&json!(header));
            event["methodArn"] = json!(method);
            let answer = to_value(block_on(authorizer.answer(&event)).unwrap()).unwrap();
            if allows(&answer) {
                let resource = answer["policyDocument"]["Statement"][0]["Resource"].as_str().unwrap();
                prop_assert!(covers(resource, &method));
                prop_assert_eq!(resource.find('*'), Some(resource.len() - 1));
            }
        }
    }
}

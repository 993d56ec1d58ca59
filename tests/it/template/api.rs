//! The API: what is open, to whom, and how much of it.

use std::collections::{BTreeMap, BTreeSet};

use weir_core::Catalog;

use super::reader::{Template, list, number, text};
use crate::harness::{Answer, Value, Weir, json};

/// The routes of vendors' clients, with those below a key.
fn of_clients() -> impl Iterator<Item = String> {
    let own = collector::client_routes().map(|(method, path)| format!("{method} {path}"));
    own.chain(["GET", "POST"].map(|method| format!("{method} /k/{{proxy+}}")))
}

#[test]
fn every_operation_has_a_route_and_only_open_ones_need_no_credentials() {
    let template = Template::read();
    let routes: BTreeMap<String, &Value> = template
        .all("AWS::ApiGatewayV2::Route")
        .into_values()
        .map(|route| (text(&route["Properties"]["RouteKey"]), &route["Properties"]))
        .collect();
    let mut open = BTreeSet::new();
    for (key, route) in &routes {
        // Any other would take preflight requests away from API Gateway, and ask them for credentials.
        let is_known = ["GET /", "POST /", "DELETE /query/"].iter().any(|begin| key.starts_with(begin));
        assert!(is_known, "{key}");
        match route["AuthorizationType"].as_str() {
            Some("CUSTOM") => assert_eq!(route["AuthorizerId"], json!({"Ref": "ApiAuthorizer"}), "{key}"),
            Some("NONE") => assert!(open.insert(key.as_str())),
            other => panic!("{key}: {other:?}"),
        }
    }
    // Those that the collector itself asks for a key, which may be in the body; and those that are for all.
    let clients: BTreeSet<String> = of_clients().collect();
    let (with_key, for_all): (BTreeSet<&str>, BTreeSet<&str>) =
        open.into_iter().partition(|key| clients.contains(*key));
    assert_eq!(with_key, clients.iter().map(String::as_str).collect());
    assert_eq!(
        for_all.into_iter().collect::<Vec<_>>(),
        [
            "GET /",
            "GET /answers/public/{proxy+}",
            "GET /docs",
            "GET /docs/{proxy+}",
            "GET /health",
            "GET /openapi.json",
            "GET /weir.js"
        ]
    );

    let described = Weir::start().get("/openapi.json").json();
    let mut seen = 0;
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            // As API Gateway chooses: the exact path, or else the longest one that any may follow.
            let path = format!("{method} {path}");
            let begins =
                |key: &str| key.strip_suffix("{proxy+}").is_some_and(|begin| path.starts_with(begin));
            let greedy = || routes.iter().filter(|(key, _)| begins(key)).max_by_key(|(key, _)| key.len());
            let route = routes.get(&path).or_else(|| Some(greedy()?.1));
            let route = route.unwrap_or_else(|| panic!("{path} has no route"));
            let is_open = operation["security"] == json!([]) || operation["security"] == json!([{}]);
            assert_eq!(route["AuthorizationType"] == "NONE", is_open, "{path}");
            seen += 1;
        }
    }
    assert!(seen >= 2 * Catalog::built_in().unwrap().iter().count() + 5, "{seen} operations");
}

#[test]
fn a_page_may_do_on_aws_what_it_may_do_on_one_machine() {
    let template = Template::read();
    let cors = &template.properties("Api")["CorsConfiguration"];
    let weir = Weir::start();
    let allowed: Vec<String> = list(&cors["AllowHeaders"]).into_iter().map(text).collect();
    let allowed = allowed.join(",");
    let asked = [
        ("origin", "https://page.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", allowed.as_str()),
    ];
    let preflight = weir.request("OPTIONS", None, "/events", &asked, b"");
    let answer = weir.request("GET", None, "/health", &asked[..1], b"");
    let of_header = |answer: &Answer, name: &str| -> BTreeSet<String> {
        let header = answer.header(name).unwrap_or_else(|| panic!("{name} is missing: {answer:?}"));
        header.split(',').map(|item| item.trim().to_lowercase()).collect()
    };
    let of_template = |name: &str| -> BTreeSet<String> {
        list(&cors[name]).into_iter().map(|item| text(item).to_lowercase()).collect()
    };
    assert_eq!(of_template("AllowHeaders"), of_header(&preflight, "access-control-allow-headers"));
    // A star would not cover the first one (https://fetch.spec.whatwg.org/#cors-non-wildcard-request-header-name).
    for needed in [
        "authorization",
        "content-type",
        "content-encoding",
        "if-none-match",
        "baggage",
        "traceparent",
        "tracestate",
        "sentry-trace",
        "request-id",
        "request-context",
        "x-requested-with",
        "x-request-id",
        "x-correlation-id",
        "x-datadog-trace-id",
        "newrelic",
        "b3",
        "uber-trace-id",
    ] {
        assert!(of_template("AllowHeaders").contains(needed), "{needed}");
    }
    assert_eq!(of_template("ExposeHeaders"), of_header(&answer, "access-control-expose-headers"));
    let mut methods = of_header(&preflight, "access-control-allow-methods");
    methods.insert("options".to_owned());
    assert_eq!(of_template("AllowMethods"), methods);
    assert_eq!(
        Some(number(&cors["MaxAge"]).to_string().as_str()),
        preflight.header("access-control-max-age")
    );
    assert_eq!(cors["AllowOrigins"], json!({"Ref": "AllowedOrigins"}));
}

#[test]
fn every_route_without_credentials_has_a_limit_of_its_own_and_is_there_before_its_limit() {
    let template = Template::read();
    let stage = &template.0["Resources"]["ApiStage"];
    let settings = stage["Properties"]["RouteSettings"].as_object().unwrap();
    let waited_for: BTreeSet<&str> =
        list(&stage["DependsOn"]).into_iter().filter_map(Value::as_str).collect();
    let mut open = BTreeSet::new();
    for (name, route) in template.all("AWS::ApiGatewayV2::Route") {
        if route["Properties"]["AuthorizationType"] == "NONE" {
            let key = text(&route["Properties"]["RouteKey"]);
            let limit = settings.get(&key).unwrap_or_else(|| panic!("{key} has no limit of its own"));
            let of_client = of_clients().any(|of_client| of_client == key);
            let rate = if of_client { "ClientRequestsPerSecond" } else { "OpenRequestsPerSecond" };
            assert_eq!(limit["ThrottlingRateLimit"], json!({"Ref": rate}), "{key}");
            assert!(number(&limit["ThrottlingBurstLimit"]) <= 100, "{key}");
            assert!(waited_for.contains(name), "the stage is made before {name}");
            open.insert(key);
        }
    }
    // Beside them, those of queries: the start of one can cost cents, and the others ask Athena.
    for (key, route, rate, burst) in [
        ("POST /query", "PostQuery", "QueriesPerSecond", 10),
        ("GET /query/{query}", "GetQuery", "QueryReadsPerSecond", 50),
        ("DELETE /query/{query}", "DeleteQuery", "QueryReadsPerSecond", 50),
    ] {
        assert_eq!(settings[key]["ThrottlingRateLimit"], json!({"Ref": rate}), "{key}");
        assert!(
            number(&settings[key]["ThrottlingBurstLimit"]) <= burst && waited_for.contains(route),
            "{key}"
        );
        assert_eq!(text(&template.properties(route)["RouteKey"]), key);
        assert!(open.insert(key.to_owned()), "{key} is not open");
    }
    // The collector knows by these names that a request came past the limits.
    assert_eq!(text(&template.properties("PostAnything")["RouteKey"]), "POST /{proxy+}");
    assert_eq!(text(&template.properties("GetAnything")["RouteKey"]), "GET /{proxy+}");
    assert_eq!(settings.keys().cloned().collect::<BTreeSet<_>>(), open, "limits of routes that are not open");
    let default = |name: &str| number(&template.0["Parameters"][name]["Default"]);
    assert!(default("OpenRequestsPerSecond") <= 20 && default("ClientRequestsPerSecond") <= 100);
    assert_eq!((default("QueriesPerSecond"), default("QueryReadsPerSecond")), (1, 20));
}

#[test]
fn credentials_are_asked_for_once_in_a_while_and_the_api_has_a_limit() {
    let template = Template::read();
    let authorizer = template.properties("ApiAuthorizer");
    assert_eq!(authorizer["AuthorizerType"], "REQUEST");
    assert_eq!(authorizer["AuthorizerPayloadFormatVersion"], "2.0");
    assert_eq!(authorizer["EnableSimpleResponses"], true);
    // What the answer is kept for: nothing but what it was found by.
    assert_eq!(authorizer["IdentitySource"], json!(["$request.header.Authorization"]));
    assert_eq!(authorizer["AuthorizerResultTtlInSeconds"], json!({"Ref": "CredentialsCachedSeconds"}));
    assert_eq!(template.0["Parameters"]["CredentialsCachedSeconds"]["Default"], 300);
    let stage = template.properties("ApiStage");
    assert_eq!(stage["StageName"], "$default", "any other name would be a part of every path");
    assert_eq!(stage["DefaultRouteSettings"]["ThrottlingRateLimit"], json!({"Ref": "RequestsPerSecond"}));
    assert_eq!(stage["DefaultRouteSettings"]["ThrottlingBurstLimit"], json!({"Ref": "RequestsAtOnce"}));
    let format: Value = serde_json::from_str(&text(&stage["AccessLogSettings"]["Format"])).unwrap();
    assert!(format.is_object(), "the access log is JSON");
    // What a client chooses may be a secret in the wrong place.
    for chosen in ["path", "identity", "requestOverride", "domainName"] {
        assert!(!format.to_string().contains(&format!("$context.{chosen}")), "{format}");
    }
    let integration = number(&template.properties("ApiIntegration")["TimeoutInMillis"]);
    assert!(
        integration > 1000 * number(&template.properties("Collector")["Timeout"]),
        "the collector answers first"
    );
}

//! What `template.yaml` makes on AWS is what is promised of it. Nothing is deployed here: the template is read.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use harness::{Value, Weir, json};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::Map;
use weir_core::{Catalog, Partition, catalog::Definition};

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The template, with `!Ref X` as `{"Ref": "X"}`, `!Sub x` as `{"Fn::Sub": "x"}` and so on.
struct Template(Value);

impl Template {
    fn read() -> Self {
        let documents = Yaml::load_from_str(&file("template.yaml")).unwrap();
        Self(in_json(&documents[0]))
    }

    /// Names and declarations of the resources of a type.
    fn all(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let resources = self.0["Resources"].as_object().unwrap().iter();
        let found: BTreeMap<_, _> = resources
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(name, r)| (&**name, r))
            .collect();
        assert!(!found.is_empty(), "there is no {kind}");
        found
    }

    fn properties(&self, name: &str) -> &Value {
        let properties = &self.0["Resources"][name]["Properties"];
        assert!(properties.is_object(), "there is no {name}");
        properties
    }

    /// What a role allows: the action, and on what.
    fn permissions(&self, role: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for policy in list(&self.properties(role)["Policies"]) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                assert_eq!(statement["Effect"], "Allow", "{role}");
                for action in list(&statement["Action"]) {
                    for resource in list(&statement["Resource"]) {
                        found.insert((text(action), text(resource)));
                    }
                }
            }
        }
        found
    }

    fn functions(&self) -> BTreeMap<&str, &Value> {
        self.all("AWS::Serverless::Function")
    }
}

fn in_json(node: &Yaml) -> Value {
    match node {
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::Boolean(truth)) => json!(truth),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(in_json).collect(),
        Yaml::Mapping(members) => {
            let members =
                members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), in_json(value)));
            Value::Object(members.collect())
        }
        Yaml::Tagged(tag, node) => {
            let name = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({name: in_json(node)})
        }
        other => panic!("the template has {other:?}, which CloudFormation does not know"),
    }
}

/// The items of a list, or the one thing that stands in its place; of an `!If`, what is there in either case.
fn list(value: &Value) -> Vec<&Value> {
    let items = value.as_array().map_or_else(|| vec![value], |items| items.iter().collect());
    let either = |item| match branches(item) {
        Some(branches) => branches.into_iter().filter(|branch| **branch != no_value()).collect(),
        None => vec![item],
    };
    items.into_iter().filter(|item| !item.is_null()).flat_map(either).collect()
}

fn branches(value: &Value) -> Option<Vec<&Value>> {
    Some(value.get("Fn::If")?.as_array().unwrap()[1..].iter().collect())
}

fn no_value() -> Value {
    json!({"Ref": "AWS::NoValue"})
}

/// A text as `!Sub` would write it.
fn text(value: &Value) -> String {
    let reference = value.get("Ref").or_else(|| value.get("Fn::GetAtt"));
    if let Some(text) = value.as_str().or_else(|| value.get("Fn::Sub")?.as_str()) {
        return text.to_owned();
    }
    let reference = reference.unwrap_or_else(|| panic!("no text: {value}"));
    format!("${{{}}}", reference.as_str().unwrap())
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

// ---- What may be done ----

/// Patterns of names where no name can be known, with the reason.
const PATTERNS: [(&str, &str); 1] = [(
    "arn:${AWS::Partition}:s3:::*-raw-events/username=*",
    "buckets of users are made after the stack; never outside the account, which a condition says",
)];

#[test]
fn no_permission_is_on_everything_or_for_everything() {
    let template = Template::read();
    for role in template.all("AWS::IAM::Role").into_keys() {
        for (action, on) in template.permissions(role) {
            assert!(!action.contains('*'), "{role} may {action}");
            // Its own, by ARN, and perhaps a part of it.
            let (own, part) = on.split_once(".Arn}").unwrap_or((&on, ""));
            let is_own =
                own.starts_with("${") && !own.contains('*') && (part.is_empty() || part.starts_with('/'));
            let is_known = PATTERNS.iter().any(|(pattern, _)| on == *pattern);
            assert!(is_own || is_known, "{role} may {action} on {on}");
        }
        let properties = template.properties(role);
        assert!(properties.get("ManagedPolicyArns").is_none(), "{role}: managed policies allow *");
    }
    let whole = template.0.to_string();
    let condition = json!({"StringEquals": {"s3:ResourceAccount": {"Ref": "AWS::AccountId"}}});
    assert!(whole.contains(&condition.to_string()), "the pattern is for buckets of this account");
    for (name, function) in template.functions() {
        // SAM adds managed policies of its own to roles that it makes, and for traces.
        let properties = &function["Properties"];
        assert!(properties["Role"].is_object(), "{name} has a role that is written out");
        assert!(properties.get("Policies").is_none() && properties.get("Tracing").is_none(), "{name}");
    }
}

#[test]
fn each_role_may_do_what_its_work_needs_and_no_more() {
    let template = Template::read();
    let expected = [
        ("AuthorizerRole", &[("dynamodb:GetItem", "${UsersTable.Arn}")][..]),
        (
            "CollectorRole",
            &[
                ("dynamodb:BatchGetItem", "${CountsTable.Arn}"),
                ("dynamodb:GetItem", "${CountsTable.Arn}"),
                ("dynamodb:Query", "${CountsTable.Arn}"),
                ("dynamodb:UpdateItem", "${CountsTable.Arn}"),
                ("firehose:DescribeDeliveryStream", "${Stream.Arn}"),
                ("firehose:PutRecordBatch", "${Stream.Arn}"),
            ],
        ),
        (
            "FanOutRole",
            &[
                ("dynamodb:PutItem", "${CountsTable.Arn}"),
                ("dynamodb:UpdateItem", "${CountsTable.Arn}"),
                ("s3:AbortMultipartUpload", "${LakeBucket.Arn}/username=*"),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/quarantine/*"),
                ("s3:AbortMultipartUpload", PATTERNS[0].0),
                ("s3:GetObject", "${RawBucket.Arn}/raw/*"),
                ("s3:PutObject", "${LakeBucket.Arn}/username=*"),
                ("s3:PutObject", "${RawBucket.Arn}/quarantine/*"),
                ("s3:PutObject", PATTERNS[0].0),
                ("sqs:DeleteMessage", "${RawQueue.Arn}"),
                ("sqs:GetQueueAttributes", "${RawQueue.Arn}"),
                ("sqs:ReceiveMessage", "${RawQueue.Arn}"),
            ],
        ),
        (
            "StreamRole",
            &[
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/firehose-errors/*"),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/raw/*"),
                ("s3:GetBucketLocation", "${RawBucket.Arn}"),
                ("s3:ListBucket", "${RawBucket.Arn}"),
                ("s3:ListBucketMultipartUploads", "${RawBucket.Arn}"),
                ("s3:PutObject", "${RawBucket.Arn}/firehose-errors/*"),
                ("s3:PutObject", "${RawBucket.Arn}/raw/*"),
            ],
        ),
    ];
    let names: Vec<&str> = expected.iter().map(|(role, _)| *role).collect();
    assert_eq!(template.all("AWS::IAM::Role").into_keys().collect::<Vec<_>>(), names);
    for (role, permissions) in expected {
        let logs = format!("${{{}Logs.Arn}}", role.strip_suffix("Role").unwrap());
        let (writes_logs, others): (Vec<_>, Vec<_>) =
            template.permissions(role).into_iter().partition(|(action, _)| action.starts_with("logs:"));
        assert!(
            writes_logs.iter().all(|(_, on)| *on == logs),
            "{role} writes logs elsewhere: {writes_logs:?}"
        );
        let others: Vec<_> = others.iter().map(|(action, on)| (action.as_str(), on.as_str())).collect();
        assert_eq!(others, permissions, "{role}");
    }
}

#[test]
fn others_may_only_use_what_they_are_wired_to() {
    let template = Template::read();
    for (name, permission) in template.all("AWS::Lambda::Permission") {
        let properties = &permission["Properties"];
        assert_eq!(properties["Principal"], "apigateway.amazonaws.com", "{name}");
        assert!(text(&properties["SourceArn"]).contains(":${Api}/"), "{name}: for this API only");
    }
    for (name, policy) in template.all("AWS::SQS::QueuePolicy") {
        for statement in list(&policy["Properties"]["PolicyDocument"]["Statement"]) {
            assert_eq!(statement["Action"], "sqs:SendMessage", "{name}");
            assert_eq!(statement["Principal"], json!({"Service": "s3.amazonaws.com"}), "{name}");
            let source = text(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]);
            let bucket = text(&template.properties("RawBucket")["BucketName"]);
            assert_eq!(source, format!("arn:${{AWS::Partition}}:s3:::{bucket}"), "{name}");
            let account = &statement["Condition"]["StringEquals"]["aws:SourceAccount"];
            assert_eq!(text(account), "${AWS::AccountId}", "{name}: bucket names are the whole world's");
        }
    }
}

// ---- What is kept ----

#[test]
fn buckets_and_tables_outlive_the_stack() {
    let template = Template::read();
    for (name, resource) in
        template.all("AWS::S3::Bucket").into_iter().chain(template.all("AWS::DynamoDB::Table"))
    {
        assert_eq!(resource["DeletionPolicy"], "Retain", "{name}");
        assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
    }
}

#[test]
fn buckets_are_encrypted_and_closed_to_the_public_and_to_plain_http() {
    let template = Template::read();
    let policies = template.all("AWS::S3::BucketPolicy");
    for (name, bucket) in template.all("AWS::S3::Bucket") {
        let properties = &bucket["Properties"];
        let encryption = &properties["BucketEncryption"]["ServerSideEncryptionConfiguration"][0];
        assert_eq!(encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"], "AES256", "{name}");
        for way in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            assert_eq!(properties["PublicAccessBlockConfiguration"][way], true, "{name}: {way}");
        }
        let policy = policies.values().find(|policy| policy["Properties"]["Bucket"] == json!({"Ref": name}));
        let statement = &policy.unwrap_or_else(|| panic!("{name} has no policy"))["Properties"]["PolicyDocument"]
            ["Statement"][0];
        assert_eq!((&statement["Effect"], &statement["Principal"]), (&json!("Deny"), &json!("*")), "{name}");
        assert_eq!(statement["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}), "{name}");
        let covered: Vec<String> = list(&statement["Resource"]).into_iter().map(text).collect();
        assert_eq!(covered, [format!("${{{name}.Arn}}"), format!("${{{name}.Arn}}/*")]);
    }
}

#[test]
fn what_is_overwritten_by_mistake_can_be_had_back_and_leftovers_go() {
    let template = Template::read();
    for (name, bucket) in template.all("AWS::S3::Bucket") {
        let properties = &bucket["Properties"];
        assert_eq!(properties["VersioningConfiguration"]["Status"], "Enabled", "{name}");
        let rules = list(&properties["LifecycleConfiguration"]["Rules"]);
        let has = |member: &str| {
            rules.iter().any(|rule| rule.get(member).is_some() && rule.get("Prefix").is_none())
        };
        assert!(has("AbortIncompleteMultipartUpload") && has("NoncurrentVersionExpiration"), "{name}");
        // Of what was collected, only batches expire, and only if somebody says so.
        for rule in rules.iter().filter(|rule| rule.get("ExpirationInDays").is_some()) {
            match rule["Prefix"].as_str() {
                Some("athena-results/") => {}
                Some("raw/") => assert_eq!(rule["ExpirationInDays"], json!({"Ref": "RawRetentionDays"})),
                other => panic!("{name} forgets {other:?}"),
            }
        }
    }
    assert_eq!(template.0["Parameters"]["RawRetentionDays"]["Default"], 0);
}

#[test]
fn tables_are_encrypted_restorable_and_paid_by_use_and_their_keys_are_the_engines() {
    let template = Template::read();
    let keys = |table: &Value| -> Vec<String> {
        let schema = list(&table["Properties"]["KeySchema"]);
        schema
            .iter()
            .map(|key| format!("{} {}", text(&key["AttributeName"]), text(&key["KeyType"])))
            .collect()
    };
    let tables = template.all("AWS::DynamoDB::Table");
    assert_eq!(tables.keys().collect::<Vec<_>>(), [&"CountsTable", &"UsersTable"]);
    assert_eq!(keys(tables["UsersTable"]), ["username HASH"]);
    assert_eq!(keys(tables["CountsTable"]), ["pk HASH", "sk RANGE"]);
    for (name, table) in tables {
        let properties = &table["Properties"];
        assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST", "{name}");
        assert_eq!(properties["SSESpecification"]["SSEEnabled"], true, "{name}");
        let recovery = &properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        assert_eq!(recovery, true, "{name}");
        assert!(properties.get("TimeToLiveSpecification").is_none(), "{name}: nothing in it expires");
    }
}

// ---- What runs ----

#[test]
fn each_function_is_built_from_the_package_of_its_name() {
    let template = Template::read();
    assert_eq!(template.functions().into_keys().collect::<Vec<_>>(), ["Authorizer", "Collector", "FanOut"]);
    for (name, function) in template.functions() {
        let folder = text(&function["Properties"]["CodeUri"]);
        let binary = text(&function["Metadata"]["BuildProperties"]["Binary"]);
        assert_eq!(function["Metadata"]["BuildMethod"], "rust-cargolambda", "{name}");
        assert_eq!(folder, format!("functions/{binary}"), "{name}");
        assert!(file(&format!("{folder}/Cargo.toml")).contains(&format!("name = \"{binary}\"\n")), "{name}");
    }
    let all = &template.0["Globals"]["Function"];
    assert_eq!((&all["Runtime"], &all["Handler"]), (&json!("provided.al2023"), &json!("bootstrap")));
    assert_eq!(all["Architectures"], json!([{"Ref": "Architecture"}]));
    assert_eq!(template.0["Parameters"]["Architecture"]["Default"], "arm64");
}

#[test]
fn each_function_gets_the_variables_that_it_reads() {
    let template = Template::read();
    let expected = json!({
        "Authorizer": {"WEIR_USERS_TABLE": "${UsersTable}"},
        "Collector": {
            "WEIR_STREAM": "${Stream}",
            "WEIR_COUNTS_TABLE": "${CountsTable}",
            "WEIR_COUNTER_SHARDS": "${CounterShards}",
        },
        "FanOut": {
            "WEIR_RAW_BUCKET": "${RawBucket}",
            "WEIR_LAKE_BUCKET": "${LakeBucket}",
            "WEIR_BUCKET_PER_USER": "${BucketPerUser}",
            "WEIR_COUNTS_TABLE": "${CountsTable}",
        },
    });
    let variables = |function: &Value| -> Value {
        let variables = function["Properties"]["Environment"]["Variables"].as_object().unwrap();
        variables.iter().map(|(name, value)| (name.clone(), json!(text(value)))).collect::<Map<_, _>>().into()
    };
    let found: Map<String, Value> =
        template.functions().into_iter().map(|(name, f)| (name.to_owned(), variables(f))).collect();
    assert_eq!(Value::Object(found), expected);
    assert_eq!(template.0["Globals"]["Function"]["Environment"], json!({"Variables": {"WEIR_LOG": "info"}}));
    assert_eq!(template.0["Parameters"]["BucketPerUser"]["AllowedValues"], json!(["true", "false"]));
}

#[test]
fn the_command_line_gets_all_its_variables_from_one_output() {
    let template = Template::read();
    let line = text(&template.0["Outputs"]["Environment"]["Value"]);
    let variables: Vec<&str> = line.strip_prefix("export ").unwrap().split(' ').collect();
    assert_eq!(
        variables,
        [
            "AWS_REGION=${AWS::Region}",
            "WEIR_USERS_TABLE=${UsersTable}",
            "WEIR_COUNTS_TABLE=${CountsTable}",
            "WEIR_COUNTER_SHARDS=${CounterShards}",
            "WEIR_STREAM=${Stream}",
            "WEIR_RAW_BUCKET=${RawBucket}",
            "WEIR_LAKE_BUCKET=${LakeBucket}",
            "WEIR_BUCKET_PER_USER=${BucketPerUser}",
            "WEIR_WORKGROUP=${Workgroup}",
            "WEIR_GLUE_DATABASE=${Database}",
        ]
    );
}

#[test]
fn every_log_is_forgotten_after_a_while_and_every_function_writes_its_own() {
    let template = Template::read();
    for (name, logs) in template.all("AWS::Logs::LogGroup") {
        assert_eq!(logs["Properties"]["RetentionInDays"], json!({"Ref": "LogRetentionDays"}), "{name}");
    }
    for (name, function) in template.functions() {
        let group = &function["Properties"]["LoggingConfig"]["LogGroup"];
        assert_eq!(*group, json!({"Ref": format!("{name}Logs")}));
    }
    assert_eq!(template.0["Globals"]["Function"]["LoggingConfig"]["LogFormat"], "JSON");
}

#[test]
fn a_batch_is_filed_by_one_at_a_time_and_kept_when_it_cannot_be() {
    let template = Template::read();
    let function = template.properties("FanOut");
    let source = &function["Events"]["Batch"]["Properties"];
    assert_eq!(source["Queue"], json!({"Fn::GetAtt": "RawQueue.Arn"}));
    assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let queue = template.properties("RawQueue");
    let (hidden, timeout) = (number(&queue["VisibilityTimeout"]), number(&function["Timeout"]));
    assert!(hidden >= 6 * timeout, "{hidden} s hidden, {timeout} s for filing");
    assert_eq!(queue["RedrivePolicy"]["deadLetterTargetArn"], json!({"Fn::GetAtt": "DeadLetters.Arn"}));
    assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], 5);
    for (name, queue) in template.all("AWS::SQS::Queue") {
        assert_eq!(
            queue["Properties"]["MessageRetentionPeriod"],
            14 * 24 * 60 * 60,
            "{name}: no queue keeps longer"
        );
        assert_eq!(queue["Properties"]["SqsManagedSseEnabled"], true, "{name} is encrypted");
    }
}

#[test]
fn batches_wake_the_fan_out_and_nothing_that_it_writes_does() {
    let template = Template::read();
    let notified =
        list(&template.properties("RawBucket")["NotificationConfiguration"]["QueueConfigurations"]);
    let [notified] = notified[..] else { panic!("{notified:?}") };
    let rules = json!([{"Name": "prefix", "Value": "raw/"}]);
    assert_eq!(notified["Filter"]["S3Key"]["Rules"], rules);
    assert_eq!(notified["Queue"], json!({"Fn::GetAtt": "RawQueue.Arn"}));
    let stream = &template.properties("Stream")["ExtendedS3DestinationConfiguration"];
    assert_eq!(stream["BucketARN"], json!({"Fn::GetAtt": "RawBucket.Arn"}));
    assert_eq!(stream["Prefix"], "raw/!{timestamp:yyyy/MM/dd/HH}/");
    assert_eq!(
        (&stream["CompressionFormat"], &stream["FileExtension"]),
        (&json!("GZIP"), &json!(".json.gz"))
    );
    assert!(!text(&stream["ErrorOutputPrefix"]).starts_with("raw/"));
    for (action, on) in template.permissions("FanOutRole") {
        assert!(action != "s3:PutObject" || !on.contains("${RawBucket.Arn}/raw/"), "{on}");
    }
}

// ---- The API ----

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
        assert!(key.starts_with("GET /") || key.starts_with("POST /"), "{key}");
        match route["AuthorizationType"].as_str() {
            Some("CUSTOM") => assert_eq!(route["AuthorizerId"], json!({"Ref": "ApiAuthorizer"}), "{key}"),
            Some("NONE") => assert!(open.insert(key.as_str())),
            other => panic!("{key}: {other:?}"),
        }
    }
    assert_eq!(
        open.into_iter().collect::<Vec<_>>(),
        ["GET /", "GET /docs", "GET /health", "GET /openapi.json"]
    );

    let described = Weir::start().get("/openapi.json").json();
    let mut seen = 0;
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            let greedy = || routes.get(&format!("{method} /{{proxy+}}"));
            let route = routes.get(&format!("{method} {path}")).or_else(greedy);
            let route = route.unwrap_or_else(|| panic!("{method} {path} has no route"));
            let is_open = operation["security"] == json!([]) || operation["security"] == json!([{}]);
            assert_eq!(route["AuthorizationType"] == "NONE", is_open, "{method} {path}");
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
    let asked = [("origin", "https://page.example"), ("access-control-request-method", "POST")];
    let preflight = weir.request("OPTIONS", None, "/events", &asked, b"");
    let answer = weir.request("GET", None, "/health", &asked[..1], b"");
    let of_header = |answer: &harness::Answer, name: &str| -> BTreeSet<String> {
        let header = answer.header(name).unwrap_or_else(|| panic!("{name} is missing: {answer:?}"));
        header.split(',').map(|item| item.trim().to_lowercase()).collect()
    };
    let of_template = |name: &str| -> BTreeSet<String> {
        list(&cors[name]).into_iter().map(|item| text(item).to_lowercase()).collect()
    };
    assert_eq!(of_template("AllowHeaders"), of_header(&preflight, "access-control-allow-headers"));
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
    assert!(stage["DefaultRouteSettings"]["ThrottlingRateLimit"].is_object());
    let format: Value = serde_json::from_str(&text(&stage["AccessLogSettings"]["Format"])).unwrap();
    assert!(format.is_object(), "the access log is JSON");
    let integration = number(&template.properties("ApiIntegration")["TimeoutInMillis"]);
    assert!(
        integration > 1000 * number(&template.properties("Collector")["Timeout"]),
        "the collector answers first"
    );
}

// ---- SQL ----

/// A column: its name, and Athena's type.
type Column = (String, String);

/// The columns that stamped members become, in every table.
fn stamped() -> Vec<Column> {
    [("event_id", "string"), ("received_at", "bigint"), ("occurred_at", "bigint")]
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .into()
}

/// The columns of a type of the catalog; as `weir query` has them on one machine.
fn columns_of(definition: &Definition) -> Vec<Column> {
    let properties = definition.schema().get("properties").and_then(Value::as_object);
    let own = properties.into_iter().flatten().map(|(name, schema)| {
        let kinds: Vec<&str> = list(&schema["type"])
            .into_iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect();
        let kind = match kinds[..] {
            ["integer"] => "bigint",
            ["number"] => "double",
            ["boolean"] => "boolean",
            // Objects and lists too: their JSON is the column's text.
            _ => "string",
        };
        (name.to_lowercase(), kind.to_owned())
    });
    stamped().into_iter().chain(own).collect()
}

#[test]
fn athena_has_a_table_for_every_type_of_the_catalog_with_the_fields_of_its_schema() {
    let catalog = Catalog::built_in().unwrap();
    let mut expected: BTreeMap<String, Vec<Column>> = catalog
        .iter()
        .map(|definition| (definition.event_type().to_string(), columns_of(definition)))
        .collect();
    let rejected =
        ["claimed_type", "errors", "body", "body_base64"].map(|name| (name.to_owned(), "string".to_owned()));
    expected.insert("rejected".to_owned(), stamped().into_iter().chain(rejected).collect());

    let template = Template::read();
    let tables: BTreeMap<String, &Value> = template
        .all("AWS::Glue::Table")
        .into_values()
        .map(|table| (text(&table["Properties"]["TableInput"]["Name"]), &table["Properties"]["TableInput"]))
        .collect();
    for (name, columns) in &expected {
        let wanted: String = columns
            .iter()
            .map(|(name, kind)| format!("            - {{Name: {name}, Type: {kind}}}\n"))
            .collect();
        let Some(table) = tables.get(name) else {
            panic!(
                "template.yaml has no table for {name}: copy the one of another type; its columns are\n{wanted}"
            )
        };
        let found: BTreeSet<Column> = list(&table["StorageDescriptor"]["Columns"])
            .into_iter()
            .map(|column| (text(&column["Name"]), text(&column["Type"])))
            .collect();
        let mut all: BTreeSet<Column> = columns.iter().cloned().collect();
        assert_eq!(all, found, "the columns of {name} in template.yaml should be\n{wanted}");
        let partition_keys = ["username", "year", "month", "day", "hour"];
        all.retain(|(column, _)| partition_keys.contains(&column.as_str()));
        assert!(
            all.is_empty(),
            "{name} has fields that are the lake's folders: {all:?}; Athena refuses that"
        );
    }
    let names: Vec<&String> = tables.keys().collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "tables without a type");
}

#[test]
fn tables_read_the_lake_where_the_fan_out_writes_it() {
    let template = Template::read();
    let catalog = Catalog::built_in().unwrap();
    for (logical, table) in template.all("AWS::Glue::Table") {
        let input = &table["Properties"]["TableInput"];
        let name = text(&input["Name"]);
        let mut parameters = input["Parameters"].as_object().unwrap().clone();
        let location = parameters.remove("storage.location.template").unwrap();
        let path = text(&location["Fn::Sub"][0]);
        let path = path.strip_prefix("s3://${Bucket}/").unwrap();
        let path =
            path.replace("${!username}", "ethan").replace("${!year}", "2026").replace("${!month}", "1");
        let path = path.replace("${!day}", "5").replace("${!hour}", "9");
        let partition: Partition = path.parse().unwrap_or_else(|error| panic!("{logical}: {path}: {error}"));
        assert_eq!((partition.event_type.as_str(), partition.to_string()), (name.as_str(), path));
        let bucket = json!({"Fn::If": ["HasBucketPerUser", "${username}-raw-events", {"Ref": "LakeBucket"}]});
        assert_eq!(location["Fn::Sub"][1], json!({"Bucket": bucket}), "{logical}");

        let mut years = parameters.remove("projection.year.range").unwrap();
        let years = years.take().as_str().unwrap().split_once(',').map(|(a, b)| (a.parse(), b.parse()));
        let Some((Ok(first), Ok(last))) = years else { panic!("{logical}: {years:?}") };
        assert!((2020_u16..=2026).contains(&first) && (2036_u16..=2060).contains(&last), "{logical}");
        let projection = json!({
            "EXTERNAL": "TRUE",
            "classification": "json",
            "projection.enabled": "true",
            "projection.username.type": "injected",
            "projection.year.type": "integer",
            "projection.month.type": "integer",
            "projection.month.range": "1,12",
            "projection.day.type": "integer",
            "projection.day.range": "1,31",
            "projection.hour.type": "integer",
            "projection.hour.range": "0,23",
        });
        assert_eq!(Value::Object(parameters), projection, "{logical}");
        let keys: Vec<String> = list(&input["PartitionKeys"])
            .into_iter()
            .map(|key| format!("{} {}", text(&key["Name"]), text(&key["Type"])))
            .collect();
        assert_eq!(keys, ["username string", "year int", "month int", "day int", "hour int"], "{logical}");

        let serde = &input["StorageDescriptor"]["SerdeInfo"];
        assert_eq!(serde["SerializationLibrary"], "org.openx.data.jsonserde.JsonSerDe", "{logical}");
        let mut reading = json!({
            "ignore.malformed.json": "true",
            "use.null.for.invalid.data": "true",
            "case.insensitive": "false",
        });
        // Glue knows small letters only; a field with others must be mapped to its column.
        let definition = catalog.iter().find(|definition| definition.event_type().as_str() == name);
        let fields = definition.and_then(|definition| definition.schema().get("properties")?.as_object());
        for field in fields.into_iter().flatten().map(|(field, _)| field) {
            if *field != field.to_lowercase() {
                reading[format!("mapping.{}", field.to_lowercase())] = json!(field);
            }
        }
        assert_eq!(serde["Parameters"], reading, "{logical}");
    }
}

#[test]
fn a_query_has_a_limit_that_nobody_can_lift_and_its_results_go_after_a_while() {
    let template = Template::read();
    let configuration = &template.properties("Workgroup")["WorkGroupConfiguration"];
    assert_eq!(configuration["EnforceWorkGroupConfiguration"], true);
    assert_eq!(text(&configuration["BytesScannedCutoffPerQuery"]), "${ScanLimitMB}000000");
    assert!(number(&template.0["Parameters"]["ScanLimitMB"]["MinValue"]) >= 10, "Athena takes no less");
    let results = &configuration["ResultConfiguration"];
    assert_eq!(text(&results["OutputLocation"]), "s3://${RawBucket}/athena-results/");
    assert_eq!(results["EncryptionConfiguration"]["EncryptionOption"], "SSE_S3");
    // The local AWS of the tests does not know saved queries.
    for (name, query) in template.all("AWS::Athena::NamedQuery") {
        assert_eq!(query["Condition"], "HasNamedQueries", "{name}");
        let sql = text(&query["Properties"]["QueryString"]);
        assert!(sql.contains("username = 'ethan'") && sql.contains("year = "), "{name} says whose and when");
    }
}

// ---- What it costs to run, and to know how it runs ----

#[test]
fn alarms_and_dashboard_are_no_more_than_an_account_has_for_nothing() {
    let template = Template::read();
    let alarms = template.all("AWS::CloudWatch::Alarm");
    assert!(alarms.len() <= 10, "{} alarms", alarms.len());
    for (name, alarm) in alarms {
        let properties = &alarm["Properties"];
        assert!(text(&properties["AlarmDescription"]).len() > 40, "{name} says what it means");
        assert_eq!(
            properties["TreatMissingData"], "notBreaching",
            "{name}: nothing happens when nothing happens"
        );
        let told = json!({"Fn::If": ["HasAlarmEmail", [{"Ref": "AlarmTopic"}], no_value()]});
        assert_eq!(properties["AlarmActions"], told, "{name}");
    }
    let dashboards = template.all("AWS::CloudWatch::Dashboard");
    let body: Value =
        serde_json::from_str(&text(&dashboards["Dashboard"]["Properties"]["DashboardBody"])).unwrap();
    let widgets = body["widgets"].as_array().unwrap();
    let metrics: usize =
        widgets.iter().map(|widget| widget["properties"]["metrics"].as_array().unwrap().len()).sum();
    assert!(metrics <= 50, "{metrics} metrics");
}

// ---- The guide ----

#[test]
fn the_guide_names_every_parameter_with_its_default_and_every_alarm() {
    let template = Template::read();
    let guide = file("docs/DEPLOY.md");
    let rows: BTreeMap<&str, &str> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" |")?.0.trim_matches('`'))))
        .collect();
    for (name, parameter) in template.0["Parameters"].as_object().unwrap() {
        let default = match &parameter["Default"] {
            Value::String(text) if text.is_empty() => "(none)".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        assert_eq!(rows.get(name.as_str()), Some(&default.as_str()), "{name} in docs/DEPLOY.md");
    }
    for name in template.all("AWS::CloudWatch::Alarm").into_keys() {
        let name = name.strip_suffix("Alarm").unwrap();
        assert!(guide.contains(name), "docs/DEPLOY.md does not say what to do about {name}");
    }
}

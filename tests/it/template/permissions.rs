//! What may be done, by whom, and on what.

use super::reader::{Template, list, text};
use crate::harness::json;

/// Patterns of names where no name can be known, with the reason.
const PATTERNS: [(&str, &str); 12] = [
    (
        "arn:${AWS::Partition}:s3:::*-raw-events/username=*",
        "buckets of users are made after the stack; never outside the account, which a condition says",
    ),
    (
        "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-map-*",
        "functions to map are made after the stack, by its account",
    ),
    (MAP_MACHINE, "the machine names its role, so the role cannot name the machine"),
    (
        "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-map:*",
        "executions of the machine, which have names of their own",
    ),
    (
        "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${AWS::StackName}-map/*",
        "those that its distributed map starts",
    ),
    ("arn:${AWS::Partition}:s3:::*-raw-events", "as the first, for lists of a user's newest objects"),
    (QUERY_WORKGROUP, "as the next"),
    (WORKGROUP, "a workgroup has a name and no ARN to refer to"),
    (GLUE_CATALOG, "the account has one"),
    (GLUE_DATABASE, "a database has a name and no ARN to refer to"),
    (GLUE_TABLES, "its tables"),
    (GLUE_DEFAULT, "Athena looks for it"),
];

const WORKGROUP: &str =
    "arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:workgroup/${Workgroup}";
const QUERY_WORKGROUP: &str =
    "arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}:workgroup/${QueryWorkgroup}";
const GLUE_CATALOG: &str = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:catalog";
const GLUE_DATABASE: &str =
    "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:database/${Database}";
const GLUE_DEFAULT: &str = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:database/default";
const GLUE_TABLES: &str = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}:table/${Database}/*";

const MAP_MACHINE: &str =
    "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}-map";

#[test]
fn no_permission_is_on_everything_or_for_everything() {
    let template = Template::read();
    let policies = template.all("AWS::IAM::Policy").into_keys();
    for role in template.all("AWS::IAM::Role").into_keys().chain(policies) {
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
                ("dynamodb:BatchGetItem", "${LatestTable.Arn}"),
                ("dynamodb:DeleteItem", "${RecentIdsTable.Arn}"),
                ("dynamodb:GetItem", "${CountsTable.Arn}"),
                ("dynamodb:GetItem", "${RecentIdsTable.Arn}"),
                ("dynamodb:GetItem", "${UsersTable.Arn}"),
                ("dynamodb:PutItem", "${RecentIdsTable.Arn}"),
                ("dynamodb:Query", "${CountsTable.Arn}"),
                ("dynamodb:Query", "${LatestTable.Arn}"),
                ("dynamodb:UpdateItem", "${CountsTable.Arn}"),
                ("dynamodb:UpdateItem", "${LatestTable.Arn}"),
                ("dynamodb:UpdateItem", "${RecentIdsTable.Arn}"),
                ("firehose:ListTagsForDeliveryStream", "${Stream.Arn}"),
                ("firehose:PutRecordBatch", "${Stream.Arn}"),
                ("s3:DeleteObject", "${LakeBucket.Arn}/latest/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/answers/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/forgotten/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/latest/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/username=*"),
                ("s3:GetObject", "${RawBucket.Arn}/raw/*"),
                ("s3:GetObject", PATTERNS[0].0),
                ("s3:ListBucket", "${LakeBucket.Arn}"),
                ("s3:ListBucket", "${RawBucket.Arn}"),
                ("s3:ListBucket", PATTERNS[5].0),
                ("s3:PutObject", "${LakeBucket.Arn}/latest/*"),
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
                ("s3:GetObject", "${LakeBucket.Arn}/forgotten/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/sealed/noted_until"),
                ("s3:GetObject", "${RawBucket.Arn}/raw/*"),
                ("s3:ListBucket", "${LakeBucket.Arn}"),
                ("s3:ListBucket", "${RawBucket.Arn}"),
                ("s3:PutObject", "${LakeBucket.Arn}/sealed/notes/*"),
                ("s3:PutObject", "${LakeBucket.Arn}/username=*"),
                ("s3:PutObject", "${RawBucket.Arn}/quarantine/*"),
                ("s3:PutObject", PATTERNS[0].0),
                ("sqs:DeleteMessage", "${RawQueue.Arn}"),
                ("sqs:GetQueueAttributes", "${RawQueue.Arn}"),
                ("sqs:ReceiveMessage", "${RawQueue.Arn}"),
            ],
        ),
        (
            "MapRole",
            &[
                ("lambda:InvokeFunction", PATTERNS[1].0),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/map-runs/*"),
                ("s3:GetObject", "${RawBucket.Arn}/map-items/*"),
                ("s3:GetObject", "${RawBucket.Arn}/map-runs/*"),
                ("s3:ListMultipartUploadParts", "${RawBucket.Arn}/map-runs/*"),
                ("s3:PutObject", "${RawBucket.Arn}/map-runs/*"),
                ("states:DescribeExecution", PATTERNS[4].0),
                ("states:DescribeExecution", PATTERNS[3].0),
                ("states:StartExecution", MAP_MACHINE),
                ("states:StopExecution", PATTERNS[4].0),
                ("states:StopExecution", PATTERNS[3].0),
            ],
        ),
        (
            "PublisherRole",
            &[
                ("athena:GetQueryExecution", WORKGROUP),
                ("athena:GetQueryResults", WORKGROUP),
                ("athena:StartQueryExecution", WORKGROUP),
                ("athena:StopQueryExecution", WORKGROUP),
                ("dynamodb:Scan", "${UsersTable.Arn}"),
                ("glue:GetDatabase", GLUE_CATALOG),
                ("glue:GetDatabase", GLUE_DATABASE),
                ("glue:GetDatabase", GLUE_DEFAULT),
                ("glue:GetDatabase", GLUE_TABLES),
                ("glue:GetDatabases", GLUE_CATALOG),
                ("glue:GetDatabases", GLUE_DEFAULT),
                ("glue:GetTable", GLUE_CATALOG),
                ("glue:GetTable", GLUE_DATABASE),
                ("glue:GetTable", GLUE_TABLES),
                ("s3:AbortMultipartUpload", "${LakeBucket.Arn}/answers/*"),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/athena-results/*"),
                ("s3:DeleteObject", "${LakeBucket.Arn}/answers/*"),
                ("s3:DeleteObject", "${LakeBucket.Arn}/public/*"),
                ("s3:GetBucketLocation", "${LakeBucket.Arn}"),
                ("s3:GetBucketLocation", "${RawBucket.Arn}"),
                ("s3:GetBucketLocation", PATTERNS[5].0),
                ("s3:GetBucketLocation", PATTERNS[0].0),
                ("s3:GetObject", "${LakeBucket.Arn}/answers/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/username=*"),
                ("s3:GetObject", "${RawBucket.Arn}/athena-results/*"),
                ("s3:GetObject", PATTERNS[5].0),
                ("s3:GetObject", PATTERNS[0].0),
                ("s3:ListBucket", "${LakeBucket.Arn}"),
                ("s3:ListBucket", "${RawBucket.Arn}"),
                ("s3:ListBucket", PATTERNS[5].0),
                ("s3:ListBucket", PATTERNS[0].0),
                ("s3:ListMultipartUploadParts", "${RawBucket.Arn}/athena-results/*"),
                ("s3:PutObject", "${LakeBucket.Arn}/answers/*"),
                ("s3:PutObject", "${LakeBucket.Arn}/public/*"),
                ("s3:PutObject", "${RawBucket.Arn}/athena-results/*"),
            ],
        ),
        (
            "SealRole",
            &[
                ("athena:GetQueryExecution", WORKGROUP),
                ("athena:GetQueryResults", WORKGROUP),
                ("athena:StartQueryExecution", WORKGROUP),
                ("athena:StopQueryExecution", WORKGROUP),
                ("dynamodb:BatchGetItem", "${CountsTable.Arn}"),
                ("dynamodb:DeleteItem", "${CountsTable.Arn}"),
                ("dynamodb:DeleteItem", "${LatestTable.Arn}"),
                ("dynamodb:Query", "${CountsTable.Arn}"),
                ("dynamodb:Scan", "${LatestTable.Arn}"),
                ("glue:CreateTable", GLUE_CATALOG),
                ("glue:CreateTable", GLUE_DATABASE),
                ("glue:CreateTable", GLUE_TABLES),
                ("glue:GetDatabase", GLUE_CATALOG),
                ("glue:GetDatabase", GLUE_DATABASE),
                ("glue:GetDatabase", GLUE_DEFAULT),
                ("glue:GetDatabase", GLUE_TABLES),
                ("glue:GetDatabases", GLUE_CATALOG),
                ("glue:GetDatabases", GLUE_DEFAULT),
                ("glue:GetTable", GLUE_CATALOG),
                ("glue:GetTable", GLUE_DATABASE),
                ("glue:GetTable", GLUE_TABLES),
                ("glue:UpdateTable", GLUE_CATALOG),
                ("glue:UpdateTable", GLUE_DATABASE),
                ("glue:UpdateTable", GLUE_TABLES),
                ("s3:AbortMultipartUpload", "${LakeBucket.Arn}/sealed/*"),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/athena-results/*"),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/quarantine/*"),
                ("s3:AbortMultipartUpload", "${RawBucket.Arn}/raw/*"),
                ("s3:DeleteObject", "${LakeBucket.Arn}/sealed/*"),
                ("s3:DeleteObject", "${LakeBucket.Arn}/username=*"),
                ("s3:DeleteObjectVersion", "${LakeBucket.Arn}/latest/*"),
                ("s3:DeleteObjectVersion", "${LakeBucket.Arn}/sealed/*"),
                ("s3:DeleteObjectVersion", "${LakeBucket.Arn}/username=*"),
                ("s3:DeleteObjectVersion", "${RawBucket.Arn}/quarantine/*"),
                ("s3:DeleteObjectVersion", "${RawBucket.Arn}/raw/*"),
                ("s3:GetBucketLocation", "${LakeBucket.Arn}"),
                ("s3:GetBucketLocation", "${RawBucket.Arn}"),
                ("s3:GetObject", "${LakeBucket.Arn}/sealed/*"),
                ("s3:GetObject", "${LakeBucket.Arn}/username=*"),
                ("s3:GetObject", "${RawBucket.Arn}/athena-results/*"),
                ("s3:GetObject", "${RawBucket.Arn}/quarantine/*"),
                ("s3:GetObject", "${RawBucket.Arn}/raw/*"),
                ("s3:ListBucket", "${LakeBucket.Arn}"),
                ("s3:ListBucket", "${RawBucket.Arn}"),
                ("s3:ListBucketVersions", "${LakeBucket.Arn}"),
                ("s3:ListBucketVersions", "${RawBucket.Arn}"),
                ("s3:ListMultipartUploadParts", "${LakeBucket.Arn}/sealed/*"),
                ("s3:ListMultipartUploadParts", "${RawBucket.Arn}/athena-results/*"),
                ("s3:PutObject", "${LakeBucket.Arn}/sealed/*"),
                ("s3:PutObject", "${RawBucket.Arn}/athena-results/*"),
                ("s3:PutObject", "${RawBucket.Arn}/quarantine/*"),
                ("s3:PutObject", "${RawBucket.Arn}/raw/*"),
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
fn the_collector_queries_only_if_the_operator_says_so_and_reads_no_query_of_the_operators() {
    let template = Template::read();
    assert_eq!(template.0["Parameters"]["WithQueries"]["Default"], "false");
    assert_eq!(
        template.0["Conditions"]["HasQueries"],
        json!({"Fn::Equals": [{"Ref": "WithQueries"}, "true"]})
    );
    for name in ["QueryPolicy", "QueryWorkgroup"] {
        assert_eq!(template.0["Resources"][name]["Condition"], "HasQueries", "{name}");
    }
    let workgroup = &template.properties("Collector")["Environment"]["Variables"]["WEIR_QUERY_WORKGROUP"];
    assert_eq!(*workgroup, json!({"Fn::If": ["HasQueries", {"Ref": "QueryWorkgroup"}, ""]}));
    assert_eq!(template.all("AWS::IAM::Policy").into_keys().collect::<Vec<_>>(), ["QueryPolicy"]);
    let policy = template.properties("QueryPolicy");
    assert_eq!(policy["Roles"], json!([{"Ref": "CollectorRole"}]));
    let found = template.permissions("QueryPolicy");
    let found: Vec<_> = found.iter().map(|(action, on)| (action.as_str(), on.as_str())).collect();
    let expected = [
        ("athena:GetQueryExecution", QUERY_WORKGROUP),
        ("athena:GetQueryResults", QUERY_WORKGROUP),
        ("athena:StartQueryExecution", QUERY_WORKGROUP),
        ("athena:StopQueryExecution", QUERY_WORKGROUP),
        ("glue:GetDatabase", GLUE_CATALOG),
        ("glue:GetDatabase", GLUE_DATABASE),
        ("glue:GetDatabase", GLUE_DEFAULT),
        ("glue:GetDatabase", GLUE_TABLES),
        ("glue:GetDatabases", GLUE_CATALOG),
        ("glue:GetDatabases", GLUE_DEFAULT),
        ("glue:GetTable", GLUE_CATALOG),
        ("glue:GetTable", GLUE_DATABASE),
        ("glue:GetTable", GLUE_TABLES),
        ("s3:AbortMultipartUpload", "${RawBucket.Arn}/athena-results/queries/*"),
        ("s3:GetBucketLocation", "${LakeBucket.Arn}"),
        ("s3:GetBucketLocation", "${RawBucket.Arn}"),
        ("s3:GetBucketLocation", PATTERNS[5].0),
        ("s3:GetObject", "${RawBucket.Arn}/athena-results/queries/*"),
        ("s3:ListBucket", "${RawBucket.Arn}"),
        ("s3:ListMultipartUploadParts", "${RawBucket.Arn}/athena-results/queries/*"),
        ("s3:PutObject", "${RawBucket.Arn}/athena-results/queries/*"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_publisher_reads_names_of_users_and_no_secrets() {
    let template = Template::read();
    let statements = &template.properties("PublisherRole")["Policies"][0]["PolicyDocument"]["Statement"];
    let scan = list(statements).into_iter().find(|statement| statement["Action"] == "dynamodb:Scan").unwrap();
    let condition = json!({
        "ForAllValues:StringEquals": {"dynamodb:Attributes": ["username"]},
        "StringEquals": {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"},
    });
    assert_eq!(scan["Condition"], condition);
}

#[test]
fn sealing_removes_shown_rejected_events_and_no_counts_and_lists_batches_and_quarantine_only() {
    let template = Template::read();
    let statements = &template.properties("SealRole")["Policies"][0]["PolicyDocument"]["Statement"];
    let condition_of = |action: &str, on: &str| {
        let of = |statement: &&crate::harness::Value| {
            let has = |member: &str, wanted: &str| {
                list(&statement[member]).into_iter().any(|value| text(value) == wanted)
            };
            has("Action", action) && has("Resource", on)
        };
        list(statements).into_iter().find(of).unwrap()["Condition"].clone()
    };
    let rejected = json!({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["rejected#*"]}});
    assert_eq!(condition_of("dynamodb:DeleteItem", "${CountsTable.Arn}"), rejected);
    let batches = json!({"StringLike": {"s3:prefix": ["raw/*", "quarantine/*"]}});
    assert_eq!(condition_of("s3:ListBucketVersions", "${RawBucket.Arn}"), batches);
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

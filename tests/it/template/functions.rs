//! The functions: their settings and their triggers.

use serde_json::Map;
use weir_core::Format;

use super::reader::{Template, file, list, number, text};
use crate::harness::{Value, json};

#[test]
fn each_function_is_built_from_the_package_of_its_name() {
    let template = Template::read();
    assert_eq!(
        template.functions().into_keys().collect::<Vec<_>>(),
        ["Authorizer", "Collector", "FanOut", "Publisher", "Seal"]
    );
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
            "WEIR_IDS_TABLE": "${RecentIdsTable}",
            "WEIR_COUNTER_SHARDS": "${CounterShards}",
            "WEIR_LATEST_TABLE": "${LatestTable}",
            "WEIR_RAW_BUCKET": "${RawBucket}",
            "WEIR_LAKE_BUCKET": "${LakeBucket}",
            "WEIR_BUCKET_PER_USER": "${BucketPerUser}",
            "WEIR_USERS_TABLE": "${UsersTable}",
            "WEIR_SECRET": "${InstallationSecret}",
            "WEIR_ALLOW_ORIGINS": "${AllowedOrigins}",
            "WEIR_QUERY_WORKGROUP": "${QueryWorkgroup}",
            "WEIR_KEEP_DAYS": "${KeepDays}",
            "WEIR_GLUE_DATABASE": "${Database}",
        },
        "FanOut": {
            "WEIR_RAW_BUCKET": "${RawBucket}",
            "WEIR_LAKE_BUCKET": "${LakeBucket}",
            "WEIR_BUCKET_PER_USER": "${BucketPerUser}",
            "WEIR_COUNTS_TABLE": "${CountsTable}",
        },
        "Publisher": {
            "WEIR_LAKE_BUCKET": "${LakeBucket}",
            "WEIR_USERS_TABLE": "${UsersTable}",
            "WEIR_WORKGROUP": "${Workgroup}",
            "WEIR_GLUE_DATABASE": "${Database}",
            "WEIR_CDN": "${WithCdn}",
        },
        "Seal": {
            "WEIR_TASK": "seal",
            "WEIR_LAKE_BUCKET": "${LakeBucket}",
            "WEIR_RAW_BUCKET": "${RawBucket}",
            "WEIR_COUNTS_TABLE": "${CountsTable}",
            "WEIR_LATEST_TABLE": "${LatestTable}",
            "WEIR_WORKGROUP": "${Workgroup}",
            "WEIR_GLUE_DATABASE": "${Database}",
            "WEIR_LAKE_JSON_RETENTION_DAYS": "${LakeJsonRetentionDays}",
            "WEIR_KEEP_DAYS": "${KeepDays}",
        },
    });
    let variables = |function: &Value| -> Value {
        let variables = function["Properties"]["Environment"]["Variables"].as_object().unwrap();
        // Of those that depend on a parameter, the value where it is set.
        let chosen = |value: &Value| text(value.get("Fn::If").map_or(value, |choice| &choice[1]));
        variables
            .iter()
            .map(|(name, value)| (name.clone(), json!(chosen(value))))
            .collect::<Map<_, _>>()
            .into()
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
            "WEIR_IDS_TABLE=${RecentIdsTable}",
            "WEIR_LATEST_TABLE=${LatestTable}",
            "WEIR_COUNTER_SHARDS=${CounterShards}",
            "WEIR_STREAM=${Stream}",
            "WEIR_RAW_BUCKET=${RawBucket}",
            "WEIR_LAKE_BUCKET=${LakeBucket}",
            "WEIR_BUCKET_PER_USER=${BucketPerUser}",
            "WEIR_WORKGROUP=${Workgroup}",
            "WEIR_GLUE_DATABASE=${Database}",
            "WEIR_API_ID=${Api}",
            "WEIR_CDN=${WithCdn}",
            "WEIR_MAP_MACHINE=arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}-map",
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
    let logging = &template.0["Globals"]["Function"]["LoggingConfig"];
    assert_eq!(logging["LogFormat"], "JSON");
    // `WEIR_LOG` filters; a second filter would swallow debug lines, and at WARN all metrics.
    assert_eq!(logging["ApplicationLogLevel"], "TRACE");
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
    // Lambda refuses a queue that shows a message again earlier; each further second delays the next attempt.
    assert!(hidden > timeout && hidden <= 2 * timeout, "{hidden} s hidden, {timeout} s for filing");
    assert_eq!(queue["RedrivePolicy"]["deadLetterTargetArn"], json!({"Fn::GetAtt": "DeadLetters.Arn"}));
    // Where Lambda has no concurrency left, a message that is received and given back was tried, too.
    assert!(number(&queue["RedrivePolicy"]["maxReceiveCount"]) >= 20);
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
        (&json!("GZIP"), &json!(format!(".{}", Format::JsonGz.extension())))
    );
    assert!(!text(&stream["ErrorOutputPrefix"]).starts_with("raw/"));
    for (action, on) in template.permissions("FanOutRole") {
        assert!(action != "s3:PutObject" || !on.contains("${RawBucket.Arn}/raw/"), "{on}");
    }
}

#[test]
fn answers_are_computed_by_themselves_only_if_the_operator_says_so() {
    let template = Template::read();
    assert_eq!(template.0["Parameters"]["WithPublisher"]["Default"], "false");
    assert_eq!(
        template.0["Conditions"]["HasPublisher"],
        json!({"Fn::Equals": [{"Ref": "WithPublisher"}, "true"]})
    );
    for name in ["Publisher", "PublisherRole", "PublisherLogs", "PublisherErrorsAlarm"] {
        assert_eq!(template.0["Resources"][name]["Condition"], "HasPublisher", "{name}");
    }
    let look = &template.properties("Publisher")["Events"]["Look"];
    assert_eq!(look["Type"], "Schedule");
    assert_eq!(look["Properties"]["Schedule"], "rate(5 minutes)");
    assert!(
        file("functions/publisher/src/schedule.rs")
            .contains("const TICK: Duration = Duration::from_mins(5);")
    );
}

#[test]
fn days_are_sealed_each_night_only_if_the_operator_says_so_and_never_in_buckets_of_users() {
    let template = Template::read();
    assert_eq!(template.0["Parameters"]["WithSealing"]["Default"], "false");
    assert_eq!(
        template.0["Conditions"]["HasSealing"],
        json!({"Fn::Equals": [{"Ref": "WithSealing"}, "true"]})
    );
    for name in ["Seal", "SealRole", "SealLogs", "SealingStoppedAlarm"] {
        assert_eq!(template.0["Resources"][name]["Condition"], "HasSealing", "{name}");
    }
    let night = &template.properties("Seal")["Events"]["Night"];
    assert_eq!(night["Type"], "Schedule");
    assert_eq!(night["Properties"]["Schedule"], "cron(0 1 * * ? *)");
    let rule = &template.0["Rules"]["SealingIsOfOneBucket"];
    assert_eq!(rule["RuleCondition"], json!({"Fn::Equals": [{"Ref": "WithSealing"}, "true"]}));
    let one = json!({"Fn::Equals": [{"Ref": "BucketPerUser"}, "false"]});
    assert_eq!(rule["Assertions"][0]["Assert"], one);
    // One run a day: three days with an error are three runs that did not move the watermark.
    let alarm = template.properties("SealingStoppedAlarm");
    assert_eq!((number(&alarm["Period"]), number(&alarm["EvaluationPeriods"])), (86_400, 3));
    assert_eq!(number(&alarm["DatapointsToAlarm"]), 3);
}

#[test]
fn json_and_events_are_kept_for_ever_by_default_and_removed_by_sealing_alone() {
    let template = Template::read();
    for name in ["LakeJsonRetentionDays", "KeepDays"] {
        assert_eq!(template.0["Parameters"][name]["Default"], 0, "{name}");
    }
    let zero = |name: &str| json!({"Fn::Equals": [{"Ref": name}, "0"]});
    let rule = &template.0["Rules"]["RetentionIsOfSealing"];
    let both = json!({"Fn::And": [zero("LakeJsonRetentionDays"), zero("KeepDays")]});
    assert_eq!(rule["RuleCondition"], json!({"Fn::Not": [both]}));
    let sealing = json!({"Fn::Equals": [{"Ref": "WithSealing"}, "true"]});
    assert_eq!(rule["Assertions"][0]["Assert"], sealing);
    // They read no Parquet: without the JSON of old days, each would answer less without an error.
    let rule = &template.0["Rules"]["JsonIsReadByAnswersAndQueries"];
    assert_eq!(rule["RuleCondition"], json!({"Fn::Not": [zero("LakeJsonRetentionDays")]}));
    let off = |name: &str| json!({"Fn::Equals": [{"Ref": name}, "false"]});
    let neither = json!({"Fn::And": [off("WithPublisher"), off("WithQueries")]});
    assert_eq!(rule["Assertions"][0]["Assert"], neither);
    // A lifecycle rule would remove events that are not sealed.
    let rules = &template.properties("LakeBucket")["LifecycleConfiguration"];
    assert!(!rules.to_string().contains("ExpirationInDays"), "{rules}");
}

#[test]
fn a_panic_ends_one_request_where_a_program_has_many_and_the_program_where_it_has_one() {
    // Where nothing is said of it, `cargo` builds programs that unwind, and `cargo lambda` such that end: a tenth smaller.
    let manifest = file("Cargo.toml");
    let profile = manifest.split("[profile.release]\n").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(!profile.lines().any(|line| line.starts_with("panic")), "{profile}");
    // One invocation at a time: nothing in the template asks for more.
    assert!(!file("template.yaml").contains("MaxConcurrencyPerExecutionEnvironment"));
}

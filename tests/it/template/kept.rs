//! What is kept, and how.

use super::reader::{Template, list, text};
use crate::harness::{Value, json};

#[test]
fn buckets_and_tables_outlive_the_stack() {
    let template = Template::read();
    for (name, resource) in
        template.all("AWS::S3::Bucket").into_iter().chain(template.all("AWS::DynamoDB::Table"))
    {
        // What is forgotten after a day anyway goes with the stack. What is kept is taken back where the stack's creation
        // fails: names that stay taken would make every further attempt fail.
        let (deletion, replacement) = match name {
            "RecentIdsTable" => ("Delete", "Delete"),
            _ => ("RetainExceptOnCreate", "Retain"),
        };
        assert_eq!(resource["DeletionPolicy"], deletion, "{name}");
        assert_eq!(resource["UpdateReplacePolicy"], replacement, "{name}");
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
        // Of what was collected, only batches expire, and only if the operator says so.
        for rule in rules.iter().filter(|rule| rule.get("ExpirationInDays").is_some()) {
            match rule["Prefix"].as_str() {
                // What functions printed, which can be computed again.
                Some("athena-results/" | "map-") => {}
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
    assert_eq!(
        tables.keys().collect::<Vec<_>>(),
        [&"CountsTable", &"LatestTable", &"RecentIdsTable", &"UsersTable"]
    );
    assert_eq!(keys(tables["UsersTable"]), ["username HASH"]);
    assert_eq!(keys(tables["CountsTable"]), ["pk HASH", "sk RANGE"]);
    assert_eq!(keys(tables["LatestTable"]), ["pk HASH", "sk RANGE"]);
    assert_eq!(keys(tables["RecentIdsTable"]), ["id HASH"]);
    for (name, table) in tables {
        let properties = &table["Properties"];
        assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST", "{name}");
        // DynamoDB encrypts with its own key where nothing is said; `SSEEnabled` would be a managed key, billed by use.
        assert!(properties.get("SSESpecification").is_none(), "{name}");
        // In the table of counts only rejected events have it, which `crates/aws` is held to.
        let expires = json!({"AttributeName": "expires", "Enabled": true});
        let time_to_live = ["CountsTable", "RecentIdsTable"].contains(&name).then_some(&expires);
        assert_eq!(properties.get("TimeToLiveSpecification"), time_to_live, "{name}");
        if name == "RecentIdsTable" {
            continue;
        }
        let recovery = &properties["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"];
        assert_eq!(recovery, true, "{name}");
    }
}

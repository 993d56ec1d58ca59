//! The CDN of public answers: off unless it is wanted, and closed to all but their pages.

use super::reader::{Template, list, no_value, text};
use crate::harness::{Value, json};

const PARTS: [&str; 3] = ["Cdn", "CdnAccess", "CdnFunction"];

#[test]
fn there_is_no_cdn_unless_it_is_wanted() {
    let template = Template::read();
    assert_eq!(template.0["Parameters"]["WithCdn"]["Default"], "false");
    assert_eq!(template.0["Conditions"]["HasCdn"], json!({"Fn::Equals": [{"Ref": "WithCdn"}, "true"]}));
    let resources = template.0["Resources"].as_object().unwrap();
    let of_cloudfront: Vec<&str> = resources
        .iter()
        .filter(|(_, resource)| text(&resource["Type"]).starts_with("AWS::CloudFront::"))
        .map(|(name, resource)| {
            assert_eq!(resource["Condition"], "HasCdn", "{name}");
            name.as_str()
        })
        .collect();
    assert_eq!(of_cloudfront, PARTS);
    assert_eq!(template.0["Outputs"]["CdnUrl"]["Condition"], "HasCdn");
}

#[test]
fn the_cdn_of_this_stack_reads_pages_of_public_answers_and_nothing_else() {
    let template = Template::read();
    let statements = &template.properties("LakeBucketPolicy")["PolicyDocument"]["Statement"];
    let choice = &statements[1]["Fn::If"];
    assert_eq!((&choice[0], &choice[2]), (&json!("HasCdn"), &no_value()));
    let allowed = &choice[1];
    assert_eq!(allowed["Effect"], "Allow");
    assert_eq!(allowed["Principal"], json!({"Service": "cloudfront.amazonaws.com"}));
    assert_eq!(
        (&allowed["Action"], text(&allowed["Resource"])),
        (&json!("s3:GetObject"), "${LakeBucket.Arn}/public/*".to_owned())
    );
    let source = text(&allowed["Condition"]["StringEquals"]["aws:SourceArn"]);
    assert_eq!(source, "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Cdn}");
    assert_eq!(statements.as_array().unwrap().len(), 2);

    let access = &template.properties("CdnAccess")["OriginAccessControlConfig"];
    assert_eq!(
        (&access["SigningBehavior"], &access["OriginAccessControlOriginType"]),
        (&json!("always"), &json!("s3"))
    );
    let cdn = &template.properties("Cdn")["DistributionConfig"];
    let [origin] = list(&cdn["Origins"])[..] else { panic!("{cdn}") };
    assert_eq!(origin["DomainName"], json!({"Fn::GetAtt": "LakeBucket.RegionalDomainName"}));
    assert_eq!(origin["OriginAccessControlId"], json!({"Ref": "CdnAccess"}));
    // Each request goes through the function, so that none reaches a key of its own choice.
    assert!(cdn.get("CacheBehaviors").is_none() && cdn.get("DefaultRootObject").is_none());
    let behaviour = &cdn["DefaultCacheBehavior"];
    let [function] = list(&behaviour["FunctionAssociations"])[..] else { panic!("{behaviour}") };
    assert_eq!(
        *function,
        json!({"EventType": "viewer-request", "FunctionARN": {"Fn::GetAtt": "CdnFunction.FunctionARN"}})
    );
    assert_eq!(behaviour["AllowedMethods"], json!(["GET", "HEAD"]));
    assert_eq!(behaviour["ViewerProtocolPolicy"], "redirect-to-https");
    for error in list(&cdn["CustomErrorResponses"]) {
        assert_eq!(
            (&error["ResponseCode"], &error["ResponsePagePath"]),
            (&json!(404), &json!("/public/none.json"))
        );
    }
    let codes: Vec<&Value> =
        list(&cdn["CustomErrorResponses"]).into_iter().map(|error| &error["ErrorCode"]).collect();
    assert_eq!(codes, [403, 404]);
}

#[test]
fn the_function_keeps_to_the_limits_of_its_runtime() {
    let template = Template::read();
    let function = template.properties("CdnFunction");
    assert_eq!(function["FunctionConfig"]["Runtime"], "cloudfront-js-2.0");
    assert_eq!(function["AutoPublish"], true);
    let code = text(&function["FunctionCode"]);
    assert!(code.len() < 10 * 1024, "{} bytes", code.len());
    assert_eq!(code.matches("require(").count(), 1, "the runtime has few modules");
    assert!(code.contains("require('crypto')"));
}

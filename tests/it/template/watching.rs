//! What tells how it runs, and the guide that says what to do then.

use std::collections::BTreeMap;

use super::reader::{Template, file, no_value, text};
use crate::harness::{Value, json};

#[test]
fn alarms_and_dashboard_are_no_more_than_an_account_has_for_nothing() {
    let template = Template::read();
    let alarms = template.all("AWS::CloudWatch::Alarm");
    // The alarms of the publisher and of sealing exist only with them. docs/ANSWERS.md and docs/SEALING.md say what they
    // cost.
    let always = alarms.values().filter(|alarm| alarm.get("Condition").is_none()).count();
    assert!(always <= 10 && alarms.len() <= 12, "{always} of {} alarms", alarms.len());
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

#[test]
fn a_bill_that_grows_is_reported_where_there_is_an_address() {
    let template = Template::read();
    let budgets = template.all("AWS::Budgets::Budget");
    let budget = budgets["Budget"];
    assert_eq!(budget["Condition"], "HasAlarmEmail");
    let limit = &budget["Properties"]["Budget"]["BudgetLimit"];
    assert_eq!(*limit, json!({"Amount": {"Ref": "MonthlyBudget"}, "Unit": "USD"}));
    let told = budget["Properties"]["NotificationsWithSubscribers"].as_array().unwrap();
    let kinds: Vec<String> =
        told.iter().map(|notification| text(&notification["Notification"]["NotificationType"])).collect();
    assert_eq!(kinds, ["ACTUAL", "FORECASTED"]);
    for notification in told {
        assert_eq!(notification["Subscribers"][0]["Address"], json!({"Ref": "AlarmEmail"}));
    }
}

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

//! SQL: Athena's tables are those of the catalog, over the lake as the fan-out writes it.

use std::collections::BTreeMap;

use weir_core::{Catalog, Partition, catalog::Definition};

use super::reader::{Template, list, number, text};
use crate::harness::{Value, json};

/// A column: its name, and Athena's type.
type Column = (String, String);

/// The columns that stamped members become, in every table.
fn stamped() -> Vec<Column> {
    [("event_id", "string"), ("time", "bigint"), ("received_at", "bigint"), ("occurred_at", "bigint")]
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .into()
}

/// The columns of a type of the catalog; as `weir query` has them on one machine.
fn columns_of(definition: &Definition) -> Vec<Column> {
    let own = definition.fields().map(|(name, schema)| {
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
    let own: Vec<Column> = own.collect();
    let mark = (!own.iter().any(|(name, _)| name == "bot")).then(|| ("bot".to_owned(), "boolean".to_owned()));
    stamped().into_iter().chain(mark).chain(own).collect()
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
    let rejected = rejected.into_iter().chain([("truncated".to_owned(), "boolean".to_owned())]);
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
        let found: Vec<Column> = list(&table["StorageDescriptor"]["Columns"])
            .into_iter()
            .map(|column| (text(&column["Name"]), text(&column["Type"])))
            .collect();
        // In their order, too: it is that of the catalog's file, as everywhere.
        assert_eq!(*columns, found, "the columns of {name} in template.yaml should be\n{wanted}");
        let mut all = found;
        all.retain(|(column, _)| Partition::COLUMNS.contains(&column.as_str()));
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
        // Athena's guide demands the slash: as a prefix, `hour=1` would also be the folders of the hours 10 to 19.
        let path = path.strip_suffix('/').unwrap_or_else(|| panic!("{logical}: {path} ends with no slash"));
        let partition: Partition = path.parse().unwrap_or_else(|error| panic!("{logical}: {path}: {error}"));
        assert_eq!((partition.event_type.as_str(), partition.to_string()), (name.as_str(), path.to_owned()));
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
fn a_query_has_a_limit_that_no_client_can_lift_and_its_results_go_after_a_while() {
    let template = Template::read();
    for (name, limit, folder) in
        [("Workgroup", "ScanLimitMB", ""), ("QueryWorkgroup", "QueryScanLimitMB", "queries/")]
    {
        let configuration = &template.properties(name)["WorkGroupConfiguration"];
        assert_eq!(configuration["EnforceWorkGroupConfiguration"], true);
        assert_eq!(text(&configuration["BytesScannedCutoffPerQuery"]), format!("${{{limit}}}000000"));
        assert!(number(&template.0["Parameters"][limit]["MinValue"]) >= 10, "Athena takes no less");
        let results = &configuration["ResultConfiguration"];
        assert_eq!(text(&results["OutputLocation"]), format!("s3://${{RawBucket}}/athena-results/{folder}"));
        assert_eq!(results["EncryptionConfiguration"]["EncryptionOption"], "SSE_S3");
    }
    // The local AWS of the tests does not know saved queries.
    for (name, query) in template.all("AWS::Athena::NamedQuery") {
        assert_eq!(query["Condition"], "HasNamedQueries", "{name}");
        let sql = text(&query["Properties"]["QueryString"]);
        assert!(sql.contains("username = 'ethan'") && sql.contains("year = "), "{name} says whose and when");
    }
}

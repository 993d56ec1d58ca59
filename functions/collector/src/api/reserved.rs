//! The routes that no event type may have, as the API uses them itself.

use weir_core::{
    Catalog,
    catalog::{CatalogError, Definition},
};

use crate::{adapters::key, api::routes};

/// First segments that the API itself uses, now or in a version to come.
const RESERVED: [&str; 12] = [
    "admin",
    "answers",
    "counts",
    "docs",
    "events",
    "health",
    "map",
    "metrics",
    "openapi.json",
    "query",
    "rejected",
    "weir.js",
];

/// Refuses a catalog in which an event type has one of the API's own routes. The error names the file and the line.
pub fn check_routes(catalog: &Catalog) -> Result<(), CatalogError> {
    for definition in catalog.iter() {
        let route = definition.route().as_str();
        let first = route.split('/').nth(1).unwrap_or_default();
        if RESERVED.contains(&first) {
            let rule = format!("must not begin with /{first}, which the API itself uses");
            return Err(definition.refused_route(&rule));
        }
        if routes::client_routes().any(|(_, path)| path == route) || route.starts_with(key::BELOW) {
            return Err(definition.refused_route("is where clients of other vendors send to"));
        }
        if route.ends_with("/count") {
            return Err(definition.refused_route("must not end in /count, which is where counts are read"));
        }
        let other = route.strip_suffix("/latest");
        let has_latest = |of: &Definition| of.latest_by().is_some() && Some(of.route().as_str()) == other;
        if let Some(other) = catalog.iter().find(|of| has_latest(of)) {
            let rule = format!("is where latest values of {} are read", other.event_type());
            return Err(definition.refused_route(&rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(route: &str) -> Result<(), String> {
        let text = format!("{{\"type\": \"object\",\n\"x-weir\": {{\n\"route\": \"{route}\"}}}}");
        let catalog = Catalog::read([("a.json", text.as_str())]).map_err(|error| error.to_string())?;
        check_routes(&catalog).map_err(|error| error.to_string())
    }

    #[test]
    fn each_route_of_the_api_begins_with_a_reserved_segment() {
        for route in &routes::FIXED {
            let first = route.path.split('/').nth(1).unwrap_or_default();
            // No type's route is the root.
            assert!(first.is_empty() || RESERVED.contains(&first), "{}", route.path);
        }
    }

    #[test]
    fn no_route_of_an_event_type_is_one_of_the_apis_own() {
        for own in ["answers", "counts", "docs", "events", "health", "map", "metrics", "query", "rejected"] {
            for route in [format!("/{own}"), format!("/{own}/x"), format!("/{own}/x/y")] {
                let expected =
                    format!("a.json:3: the route must not begin with /{own}, which the API itself uses");
                assert_eq!(checked(&route), Err(expected));
            }
        }
        // A dot is in no route.
        assert!(checked("/openapi.json").is_err() && checked("/weir.js").is_err());
        for route in ["/count", "/x/count"] {
            let expected = "a.json:3: the route must not end in /count, which is where counts are read";
            assert_eq!(checked(route), Err(expected.to_owned()));
        }
        let sensor = |own: &str| {
            format!(
                r#"{{"type": "object", "x-weir": {{"route": "/sensor"{own}}}, "properties": {{"id": {{"type": "string"}}}}}}"#
            )
        };
        let other = r#"{"type": "object", "x-weir": {"route": "/sensor/latest"}}"#;
        for (own, is_taken) in [("", false), (r#", "latest_by": "id""#, true)] {
            let catalog = Catalog::read([("sensor.json", &*sensor(own)), ("other.json", other)]).unwrap();
            let refused = check_routes(&catalog).err().map(|error| error.to_string());
            let expected = "other.json:1: the route is where latest values of sensor are read";
            assert_eq!(refused.as_deref(), is_taken.then_some(expected));
        }
        assert!(checked("/web/docs").is_ok() && checked("/my-rejected").is_ok());
        assert!(check_routes(&Catalog::built_in().unwrap()).is_ok());
    }
}

//! Checks whether a CSV file's header names the fields of its events; if not, suggests the likely reason.

use weir_core::alike;

use super::columns::Columns;

/// Returns why rows under this header are not worth sending; `None` if they may be.
///
/// Every column must be a field of the type; no required field may be missing; and no column may match a field only in
/// another case, as the field would be missing and SQL could not distinguish the two. `event_type` is the type of all rows,
/// if they share one.
pub(super) fn fault(names: &[String], event_type: Option<&str>, columns: &Columns) -> Option<String> {
    let fields = columns.fields(event_type)?;
    let names_of: Vec<&str> = fields.iter().copied().collect();
    let of = event_type.unwrap_or("any event type");
    let has = |field: &str| names.iter().any(|name| name == field);
    let other_case = names.iter().find_map(|name| {
        let field = fields.iter().find(|field| alike(field, name) && !has(field))?;
        (!fields.contains(&name.as_str()))
            .then(|| format!("{name:?} is not {field:?}, and names are case-sensitive"))
    });
    if !fields.iter().any(|field| has(field)) {
        let why = separator(names).or(other_case);
        let why = why.unwrap_or_else(|| {
            format!("the first line must name the columns, and its fields are {}", names_of.join(", "))
        });
        return Some(format!("no column is a field of {of}: {why}"));
    }
    if let (Some(_), Some(other_case)) = (event_type, other_case) {
        return Some(format!("a column is nearly a field of {of}: {other_case}"));
    }
    let missing: Vec<&str> = columns.required(event_type).into_iter().filter(|field| !has(field)).collect();
    (!missing.is_empty()).then(|| {
        format!(
            "every row would be rejected: {of} requires {}, and no column has that name",
            missing.join(", ")
        )
    })
}

/// Returns the separator that the file seems to have in place of the one by which it was read.
pub(super) fn separator(names: &[String]) -> Option<String> {
    let [name] = names else { return None };
    let found = [
        (';', "semicolons", "';'"),
        ('\t', "tabs", "tab"),
        ('|', "vertical bars", "'|'"),
        (',', "commas", ","),
    ];
    let (_, word, option) = found.into_iter().find(|(separator, ..)| name.contains(*separator))?;
    Some(format!("its cells are separated by {word}, it seems: say so with --delimiter {option}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(header: &[&str], event_type: Option<&str>) -> String {
        let description = json!({"components": {"schemas": {
            "click": {"properties": {"session_id": {}, "button_id": {}}, "required": ["session_id"]},
            "free": {"properties": {}},
            "view": {"properties": {"url": {}}}}}});
        let columns = Columns::of_description(&description).unwrap();
        let names: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
        fault(&names, event_type, &columns).unwrap_or_default()
    }

    #[test]
    fn a_header_that_names_no_field_is_reported_with_the_likely_reason() {
        for (header, event_type, said) in [
            (
                &["session_id;button_id"][..],
                Some("click"),
                "no column is a field of click: its cells are separated by semicolons",
            ),
            (&["session_id\tbutton_id"], Some("click"), "separated by tabs"),
            (&["session_id|button_id"], Some("click"), "separated by vertical bars"),
            (&["Session_Id", "BUTTON_ID"], Some("click"), "\"Session_Id\" is not \"session_id\""),
            (&["session id"], Some("click"), "\"session id\" is not \"session_id\""),
            (
                &["a", "b"],
                Some("click"),
                "no column is a field of click: the first line must name the columns, and its fields are button_id, session_id",
            ),
            (&["event_id", "a"], Some("click"), "no column is a field of click"),
            (&["event_type", "Url"], None, "no column is a field of any event type: \"Url\" is not \"url\""),
            (
                &["session_id", "Button-Id"],
                Some("click"),
                "a column is nearly a field of click: \"Button-Id\"",
            ),
            (&["button_id"], Some("click"), "every row would be rejected: click requires session_id"),
            (&["session_id"], Some("click"), ""),
            (&["session_id", "button_id", "Button_Id"], Some("click"), ""),
            (&["session_id", "more"], Some("click"), ""),
            (&["event_type", "url", "more"], None, ""),
            (&["whatever"], Some("free"), ""),
            (&["whatever"], Some("unknown"), ""),
        ] {
            let found = found(header, event_type);
            assert!(found.contains(said) && found.is_empty() == said.is_empty(), "{header:?}: {found:?}");
        }
    }
}

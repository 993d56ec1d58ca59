//! Encodes spans: OTLP's request for traces, in JSON. Ids are hexadecimal, and numbers of 64 bits are texts.
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>

use serde_json::{Value, json};

use crate::layer::{Attribute, Finished};

/// Returns the request that carries these spans.
pub(crate) fn request(resource: &[(String, String)], spans: &[Finished]) -> Value {
    let of_program: Vec<Value> =
        resource.iter().map(|(key, value)| json!({"key": key, "value": {"stringValue": value}})).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": of_program},
        "scopeSpans": [{
            "scope": {"name": "weir", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

fn span(span: &Finished) -> Value {
    // SPAN_KIND_INTERNAL and SPAN_KIND_SERVER; STATUS_CODE_UNSET and STATUS_CODE_ERROR.
    let (kind, code) = (if span.of_server { 2 } else { 1 }, if span.failed { 2 } else { 0 });
    let mut written = json!({
        "traceId": span.trace.to_string(),
        "spanId": span.span.to_string(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.began.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
        "attributes": span.attributes.iter().map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
        "status": {"code": code},
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = json!(parent.to_string());
    }
    written
}

fn attribute(key: &str, value: &Attribute) -> Value {
    let value = match value {
        Attribute::Text(text) => json!({"stringValue": text}),
        Attribute::Whole(number) => json!({"intValue": number.to_string()}),
        Attribute::Number(number) => json!({"doubleValue": number}),
        Attribute::Truth(truth) => json!({"boolValue": truth}),
    };
    json!({"key": key, "value": value})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{SpanId, TraceId};

    #[test]
    fn a_span_is_written_as_the_protocol_asks() {
        let ended = Finished {
            trace: TraceId([0xab; 16]),
            span: SpanId([1; 8]),
            parent: Some(SpanId([2; 8])),
            name: "request",
            of_server: true,
            failed: true,
            began: 1_795_179_605_007_000_000,
            ended: 1_795_179_605_007_000_042,
            attributes: vec![
                ("http.route", Attribute::Text("/events".to_owned())),
                ("http.response.status_code", Attribute::Whole(503)),
                ("a", Attribute::Truth(true)),
                ("b", Attribute::Number(0.5)),
            ],
        };
        let written = request(&[("service.name".to_owned(), "weir".to_owned())], &[ended]);
        let of_resource = &written["resourceSpans"][0];
        assert_eq!(
            of_resource["resource"],
            json!({"attributes": [{"key": "service.name", "value": {"stringValue": "weir"}}]})
        );
        assert_eq!(
            of_resource["scopeSpans"][0]["spans"],
            json!([{
                "traceId": "abababababababababababababababab",
                "spanId": "0101010101010101",
                "parentSpanId": "0202020202020202",
                "name": "request",
                "kind": 2,
                "startTimeUnixNano": "1795179605007000000",
                "endTimeUnixNano": "1795179605007000042",
                "attributes": [
                    {"key": "http.route", "value": {"stringValue": "/events"}},
                    {"key": "http.response.status_code", "value": {"intValue": "503"}},
                    {"key": "a", "value": {"boolValue": true}},
                    {"key": "b", "value": {"doubleValue": 0.5}},
                ],
                "status": {"code": 2},
            }])
        );
    }
}

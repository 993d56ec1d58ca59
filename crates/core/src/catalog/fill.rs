//! Fields that the collector fills where an event lacks them: `"x-weir": {"fill": {"ipaddress": "client_ip_truncated"}}`.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::own::{Fault, fault, is_text};
use crate::redaction::network;

/// The longest user agent that is filled in, in characters; a longer one is cut. The fields of all events of a request thus
/// take a bounded part of memory.
const MAX_USER_AGENT: usize = 512;

/// The sender of a request, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Sender {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: Option<String>,
}

/// What a field is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    ClientIp,
    ClientIpTruncated,
    UserAgent,
}

/// A field that the collector fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) field: String,
    source: Source,
}

impl Source {
    /// The sources by the names that a catalog's file has for them.
    const NAMED: [(&str, Self); 3] = [
        ("client_ip", Self::ClientIp),
        ("client_ip_truncated", Self::ClientIpTruncated),
        ("user_agent", Self::UserAgent),
    ];

    fn read(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
    }
}

impl Fill {
    /// Reads the member `fill` of `x-weir`.
    pub(super) fn read(
        own: &Map<String, Value>,
        properties: &Map<String, Value>,
    ) -> Result<Vec<Self>, Fault> {
        let fields = match own.get("fill") {
            None => return Ok(Vec::new()),
            Some(Value::Object(fields)) => fields,
            Some(_) => {
                let message = "fill must be an object: {\"FIELD\": \"client_ip_truncated\"}";
                return Err(fault(&["x-weir", "fill"], message.to_owned()));
            }
        };
        let one = |(field, source): (&String, &Value)| {
            let here = |message| fault(&["x-weir", "fill", field], message);
            let shown = field.escape_debug();
            match properties.get(field) {
                None => return Err(here(format!("fill names {shown}, which is not among the properties"))),
                Some(schema) if !is_text(schema) => {
                    let message = format!("fill names {shown}, whose type must be \"string\" to be filled");
                    return Err(fault(&["properties", field], message));
                }
                Some(_) => {}
            }
            let source = source.as_str().and_then(Source::read).ok_or_else(|| {
                here(format!("{shown} can be filled with client_ip, client_ip_truncated or user_agent"))
            })?;
            Ok(Self { field: field.clone(), source })
        };
        fields.iter().map(one).collect()
    }

    /// Returns whether the field is a user agent.
    pub(super) fn is_user_agent(&self) -> bool {
        self.source == Source::UserAgent
    }

    /// Returns the value for the field, if it is known.
    pub(super) fn value(&self, sender: &Sender) -> Option<String> {
        match self.source {
            Source::ClientIp => Some(sender.address?.to_canonical().to_string()),
            Source::ClientIpTruncated => Some(network(sender.address?).to_string()),
            Source::UserAgent => {
                Some(sender.user_agent.as_ref()?.chars().take(MAX_USER_AGENT).collect::<String>())
                    .filter(|text| !text.is_empty())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::{Event, catalog::Definition};

    fn fill(of: &str, sender: &Sender, event: &str) -> Value {
        let text = format!(
            r#"{{"type": "object", "x-weir": {{"route": "/t", "fill": {of}}}, "required": ["ip"],
                "properties": {{"ip": {{"type": ["string", "null"]}}, "agent": {{"type": "string"}}}}}}"#
        );
        let definition = Definition::read("t.json", &text).unwrap();
        let mut event = Event::read(event).unwrap();
        definition.fill(&mut event, sender);
        assert_eq!(definition.check(&event).is_ok(), event.value().get("ip").is_some());
        event.value().clone()
    }

    fn sender(address: &str, user_agent: &str) -> Sender {
        Sender { address: Some(address.parse().unwrap()), user_agent: Some(user_agent.to_owned()) }
    }

    #[test]
    fn a_field_that_the_event_lacks_is_filled_and_no_other() {
        let from = sender("192.0.2.77", "Firefox");
        let both = r#"{"ip": "client_ip_truncated", "agent": "user_agent"}"#;
        for (of, event, expected) in [
            (both, r#"{"n": 1}"#, serde_json::json!({"n": 1, "ip": "192.0.2.0", "agent": "Firefox"})),
            (both, r#"{"ip": "mine"}"#, serde_json::json!({"ip": "mine", "agent": "Firefox"})),
            (both, r#"{"ip": null}"#, serde_json::json!({"ip": null, "agent": "Firefox"})),
            (r#"{"ip": "client_ip"}"#, "{}", serde_json::json!({"ip": "192.0.2.77"})),
            ("{}", "{}", serde_json::json!({})),
        ] {
            assert_eq!(fill(of, &from, event), expected, "{of} {event}");
        }
        // What is not known is not filled.
        assert_eq!(fill(both, &Sender::default(), "{}"), serde_json::json!({}));
        let long = sender("::1", &"é".repeat(9999));
        assert_eq!(fill(both, &long, "{}")["agent"], "é".repeat(MAX_USER_AGENT));
        assert_eq!(fill(both, &sender("::1", ""), "{}"), serde_json::json!({"ip": "::"}));
    }

    #[test]
    fn addresses_are_filled_in_their_shortest_form_and_truncated_to_their_network() {
        for (address, whole, network) in [
            ("192.0.2.255", "192.0.2.255", "192.0.2.0"),
            ("::ffff:192.0.2.255", "192.0.2.255", "192.0.2.0"),
            ("2001:DB8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
            ("::1", "::1", "::"),
            ("2002:cb00:7107::1", "2002:cb00:7107::1", "2002:cb00:7100::"),
        ] {
            for (source, expected) in [("client_ip", whole), ("client_ip_truncated", network)] {
                let filled = fill(&format!(r#"{{"ip": "{source}"}}"#), &sender(address, ""), "{}");
                assert_eq!(filled["ip"], expected, "{address} {source}");
            }
        }
    }

    #[test]
    fn a_fill_that_cannot_be_is_refused_with_its_line() {
        for (fill, said) in [
            ("7", "t.json:2: fill must be an object"),
            (r#"{"no": "client_ip"}"#, "t.json:2: fill names no, which is not among the properties"),
            (r#"{"n": "client_ip"}"#, "t.json:4: fill names n, whose type must be \"string\""),
            (r#"{"any": "client_ip"}"#, "t.json:5: fill names any, whose type must be \"string\""),
            (r#"{"ip": "country"}"#, "t.json:2: ip can be filled with client_ip, client_ip_truncated or"),
            (r#"{"ip": 7}"#, "t.json:2: ip can be filled with"),
        ] {
            let text = format!(
                "{{\"type\": \"object\",\n\"x-weir\": {{\"route\": \"/t\", \"fill\": {fill}}},\n\"properties\": {{\n\
                 \"n\": {{\"type\": \"integer\"}},\n\"any\": {{}},\n\"ip\": {{\"type\": \"string\"}}}}}}"
            );
            let refusal = Definition::read("t.json", &text).unwrap_err().to_string();
            assert!(refusal.starts_with(said), "{refusal}");
        }
    }

    proptest! {
        #[test]
        fn a_truncated_address_is_the_same_for_its_whole_network_and_for_no_other(
            v4: (u32, u32), v6: (u128, u128), near_v4: u8, near_v6 in 0..1_u128 << 80,
        ) {
            let of_v4 = |bits| network(IpAddr::V4(Ipv4Addr::from_bits(bits)));
            prop_assert_eq!(of_v4(v4.0), of_v4(v4.0 ^ u32::from(near_v4)));
            prop_assert_eq!(of_v4(v4.0) == of_v4(v4.1), v4.0 >> 8 == v4.1 >> 8);
            // Not an IPv4 address that is written as IPv6.
            let v6 = (v6.0 | 1 << 127, v6.1 | 1 << 127);
            let of_v6 = |bits| network(IpAddr::V6(Ipv6Addr::from_bits(bits)));
            prop_assert_eq!(of_v6(v6.0), of_v6(v6.0 ^ near_v6));
            prop_assert_eq!(of_v6(v6.0) == of_v6(v6.1), v6.0 >> 80 == v6.1 >> 80);
            // The network keeps its bits, and has no other.
            for address in [of_v4(v4.0), of_v6(v6.0)] {
                prop_assert_eq!(network(address), address);
            }
            let mapped = IpAddr::V6(Ipv4Addr::from_bits(v4.0).to_ipv6_mapped());
            prop_assert_eq!(network(mapped), of_v4(v4.0));
        }
    }
}

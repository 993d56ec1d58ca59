//! The schemas in a catalog file as a graph: which schemas each one applies, to the same value and to the values below it.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Keywords whose schemas are applied to the same value.
const IN_PLACE: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"];

/// Keywords whose schemas are applied to members or elements of the value.
const BELOW: [&str; 10] = [
    "properties",
    "additionalProperties",
    "prefixItems",
    "items",
    "additionalItems",
    "patternProperties",
    "propertyNames",
    "contains",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// The keywords in [`BELOW`] of which only one schema is applied to any one member or element.
const EXCLUSIVE: [&str; 5] =
    ["properties", "additionalProperties", "prefixItems", "items", "additionalItems"];

/// Keywords whose value is an object of schemas by name.
const BY_NAME: [&str; 4] = ["dependentSchemas", "dependencies", "properties", "patternProperties"];

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// A fault of a schema: the path of the part that has it, and the reason.
pub(super) type Flaw = (Vec<String>, String);

/// One schema that applies another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) keyword: &'static str,
    /// Whether it is a reference to a schema that leads back to itself.
    pub(super) recursive: bool,
}

impl Edge {
    pub(super) fn is_exclusive(self) -> bool {
        EXCLUSIVE.contains(&self.keyword)
    }
}

/// One schema of a file.
#[derive(Debug)]
pub(super) struct Node<'a> {
    pub(super) schema: &'a Value,
    /// The schema in which it was found, and the path from there.
    parent: Option<(usize, Vec<String>)>,
    /// The schema that `#` refers to in it.
    resource: &'a Value,
    pub(super) in_place: Vec<Edge>,
    pub(super) below: Vec<Edge>,
}

#[derive(Debug)]
pub(super) struct Graph<'a> {
    root: &'a Value,
    /// The schemas that can be applied; the first one is the root.
    pub(super) nodes: Vec<Node<'a>>,
    /// All nodes, each after those that it applies in place.
    pub(super) order: Vec<usize>,
    known: HashMap<*const Value, usize>,
    /// Schemas that have an `$id`, with it, and schemas by their anchors, each with its resource.
    resources: Vec<(&'a str, &'a Value)>,
    anchors: HashMap<&'a str, Vec<(&'a Value, &'a Value)>>,
}

impl<'a> Graph<'a> {
    pub(super) fn of(root: &'a Value) -> Result<Self, Flaw> {
        let mut graph = Self {
            root,
            nodes: Vec::new(),
            order: Vec::new(),
            known: HashMap::new(),
            resources: Vec::new(),
            anchors: HashMap::new(),
        };
        graph.collect_names();
        graph.discover()?;
        graph.order = graph.in_place_order()?;
        graph.mark_recursion();
        Ok(graph)
    }

    fn collect_names(&mut self) {
        let mut open = vec![(self.root, self.root)];
        while let Some((value, mut resource)) = open.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(id) = object.get("$id").and_then(Value::as_str) {
                        resource = value;
                        self.resources.push((id.trim_end_matches('#'), value));
                    }
                    for keyword in ["$anchor", "$dynamicAnchor"] {
                        if let Some(name) = object.get(keyword).and_then(Value::as_str) {
                            self.anchors.entry(name).or_default().push((value, resource));
                        }
                    }
                    open.extend(object.values().map(|value| (value, resource)));
                }
                Value::Array(items) => open.extend(items.iter().map(|item| (item, resource))),
                _ => {}
            }
        }
    }

    /// Returns the number of a schema, which is new if the schema is.
    fn node(
        &mut self,
        schema: &'a Value,
        resource: &'a Value,
        parent: Option<(usize, Vec<String>)>,
    ) -> usize {
        *self.known.entry(std::ptr::from_ref(schema)).or_insert_with(|| {
            let resource = if schema.get("$id").is_some() { schema } else { resource };
            self.nodes.push(Node { schema, parent, resource, in_place: Vec::new(), below: Vec::new() });
            self.nodes.len() - 1
        })
    }

    /// Finds all schemas that can be applied, and the schemas that they apply.
    fn discover(&mut self) -> Result<(), Flaw> {
        self.node(self.root, self.root, None);
        let mut next = 0;
        while next < self.nodes.len() {
            let (schema, resource) = (self.nodes[next].schema, self.nodes[next].resource);
            if let Some(object) = schema.as_object() {
                for keyword in IN_PLACE {
                    for (way, schema) in applied(object, keyword) {
                        let to = self.node(schema, resource, Some((next, way)));
                        self.nodes[next].in_place.push(Edge { to, keyword, recursive: false });
                    }
                }
                for keyword in BELOW {
                    for (way, schema) in applied(object, keyword) {
                        let to = self.node(schema, resource, Some((next, way)));
                        self.nodes[next].below.push(Edge { to, keyword, recursive: false });
                    }
                }
                for keyword in REFERENCES {
                    let Some(reference) = object.get(keyword).and_then(Value::as_str) else { continue };
                    let targets = self.targets(reference, resource);
                    if targets.is_empty() {
                        let mut path = self.path(next);
                        path.push(keyword.to_owned());
                        return Err((path, format!("{reference} is not in this file")));
                    }
                    for (target, resource) in targets {
                        let to = self.node(target, resource, Some((next, vec![keyword.to_owned()])));
                        self.nodes[next].in_place.push(Edge { to, keyword, recursive: false });
                    }
                }
            }
            next += 1;
        }
        Ok(())
    }

    /// Returns the schemas that a reference may mean, each with its resource: all candidates, if it is ambiguous.
    fn targets(&self, reference: &str, resource: &'a Value) -> Vec<(&'a Value, &'a Value)> {
        let (base, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let resources: Vec<&'a Value> = if base.is_empty() {
            vec![resource, self.root]
        } else {
            let ends = base.trim_start_matches("./").trim_start_matches('/');
            let fits = |id: &str| id == base || id.ends_with(ends) || base.ends_with(id);
            self.resources.iter().filter(|(id, _)| fits(id)).map(|&(_, schema)| schema).collect()
        };
        let fragment = percent_decoded(fragment);
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchors.get(fragment.as_str()).cloned().unwrap_or_default();
        }
        let found = resources.into_iter().filter_map(|base| Some((base.pointer(&fragment)?, base)));
        let mut targets: Vec<_> = found.collect();
        // In a resource with an `$id`, `#` refers to that resource; the root is searched only if nothing is found there.
        if base.is_empty() {
            targets.truncate(1);
        }
        targets
    }

    /// Orders all nodes, each after those that it applies in place. A schema that leads back to itself in place has no such
    /// order.
    fn in_place_order(&self) -> Result<Vec<usize>, Flaw> {
        #[derive(Clone, Copy, PartialEq)]
        enum State {
            New,
            Open,
            Done,
        }
        let mut states = vec![State::New; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        for start in 0..self.nodes.len() {
            let mut stack = vec![(start, 0)];
            while let Some((node, child)) = stack.pop() {
                if child == 0 {
                    if states[node] != State::New {
                        continue;
                    }
                    states[node] = State::Open;
                }
                let Some(edge) = self.nodes[node].in_place.get(child) else {
                    states[node] = State::Done;
                    order.push(node);
                    continue;
                };
                if states[edge.to] == State::Open {
                    let reason = "refers to itself for the same value, without end";
                    return Err((self.path(node), reason.to_owned()));
                }
                stack.push((node, child + 1));
                stack.push((edge.to, 0));
            }
        }
        Ok(order)
    }

    /// Finds the references that are part of a recursion.
    fn mark_recursion(&mut self) {
        let targets = self.nodes.iter().flat_map(|node| &node.in_place);
        let targets = targets.filter(|edge| REFERENCES.contains(&edge.keyword)).map(|edge| edge.to);
        let mut recursive: HashMap<usize, bool> = targets.map(|target| (target, false)).collect();
        for (&target, leads_back) in &mut recursive {
            let mut seen = vec![false; self.nodes.len()];
            let mut open = vec![target];
            while let Some(node) = open.pop() {
                let node = &self.nodes[node];
                for edge in node.in_place.iter().chain(&node.below) {
                    *leads_back |= edge.to == target;
                    if !std::mem::replace(&mut seen[edge.to], true) {
                        open.push(edge.to);
                    }
                }
            }
        }
        for edge in self.nodes.iter_mut().flat_map(|node| &mut node.in_place) {
            edge.recursive =
                REFERENCES.contains(&edge.keyword) && recursive.get(&edge.to).copied().unwrap_or(false);
        }
    }

    /// Returns the path from the root to a schema, with references resolved.
    pub(super) fn path(&self, node: usize) -> Vec<String> {
        let (mut ways, mut here) = (Vec::new(), node);
        while let Some((parent, way)) = &self.nodes[here].parent {
            // A reference continues at the place of its target.
            if way.first().is_some_and(|keyword| REFERENCES.contains(&keyword.as_str())) {
                let place = self.place(self.nodes[here].schema);
                return place.into_iter().chain(ways.into_iter().rev().flatten().cloned()).collect();
            }
            ways.push(way);
            here = *parent;
        }
        ways.into_iter().rev().flatten().cloned().collect()
    }

    /// Returns the path of a schema in the file.
    fn place(&self, schema: &Value) -> Vec<String> {
        let mut open = vec![(self.root, Vec::new())];
        while let Some((value, path)) = open.pop() {
            if std::ptr::eq(value, schema) {
                return path;
            }
            let longer = |name: String| path.iter().cloned().chain([name]).collect();
            match value {
                Value::Object(object) => {
                    open.extend(object.iter().map(|(name, value)| (value, longer(name.clone()))));
                }
                Value::Array(items) => {
                    open.extend(items.iter().enumerate().map(|(n, item)| (item, longer(n.to_string()))));
                }
                _ => {}
            }
        }
        Vec::new()
    }
}

/// Returns the schemas of a keyword, each with the path to it.
fn applied<'a>(object: &'a Map<String, Value>, keyword: &str) -> Vec<(Vec<String>, &'a Value)> {
    let way = |last: String| vec![keyword.to_owned(), last];
    match object.get(keyword) {
        Some(Value::Array(schemas)) => {
            schemas.iter().enumerate().map(|(index, schema)| (way(index.to_string()), schema)).collect()
        }
        Some(Value::Object(schemas)) if BY_NAME.contains(&keyword) => {
            schemas.iter().map(|(name, schema)| (way(name.clone()), schema)).collect()
        }
        Some(schema) => vec![(vec![keyword.to_owned()], schema)],
        None => Vec::new(),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(decoded) if byte == b'%' => {
                bytes.push(decoded);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

//! An upper bound on the cost of checking an event against a schema, computed before the check.
//!
//! The validator has no limit of its own, and a schema may apply many others to one value: alternatives, references that
//! double at each level, `unevaluatedProperties` that checks everything again. So the catalog counts once, for each depth of an
//! event, the most schemas that check one value there ([`Cost::of`]). For each event, its values at each depth are counted
//! ([`Bound::add`]). The product bounds the steps of checking the event, and the memory for all reasons against it.
//!
//! A schema that refers to itself may double at each depth without end. There the validator caches its results for a
//! recursive reference and a value (`PendingSchemaNode::is_valid` of `jsonschema`), which bounds its verdict, but not its
//! reasons.

use serde_json::Value;

use super::graph::{Flaw, Graph, Node};

/// The depths at which an event can have values: one more than serde_json reads.
const DEPTHS: usize = 128;

/// The most steps that one value may cost. A schema that asks for more is refused.
const MAX_STEPS_OF_A_VALUE: u64 = 20_000;

/// The most steps that an event may cost: some tenths of a second. A step is one schema that checks one value.
pub(super) const MAX_STEPS: u64 = 4_000_000;

/// The most memory that the reasons against one event may take, in bytes.
const MAX_REASONS: u64 = 24 << 20;

/// The bytes of one reason, without its paths.
const REASON: u64 = 1024;

/// The recursive references below which the validator does not cache its results.
const NOT_REMEMBERED: u64 = 16;

/// The cost of checking a value at one depth below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    /// The steps of a verdict.
    verdict: u64,
    /// The steps of finding out which members were evaluated, for `unevaluatedProperties` and `unevaluatedItems`.
    marking: u64,
    /// The steps of finding all reasons.
    search: u64,
    /// The most reasons that there can be.
    reasons: u64,
}

impl Load {
    fn plus(self, other: Self) -> Self {
        Self {
            verdict: self.verdict.saturating_add(other.verdict),
            marking: self.marking.saturating_add(other.marking),
            search: self.search.saturating_add(other.search),
            reasons: self.reasons.saturating_add(other.reasons),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            verdict: self.verdict.max(other.verdict),
            marking: self.marking.max(other.marking),
            search: self.search.max(other.search),
            reasons: self.reasons.max(other.reasons),
        }
    }

    /// Returns the cost of a keyword whose own schema has this cost, for the same value or for one below.
    fn applied_by(self, keyword: &str) -> Self {
        let only_asked = Self { search: self.verdict, reasons: 0, ..self };
        match keyword {
            // All alternatives are checked first, and then searched for their reasons.
            "anyOf" | "oneOf" => Self { search: self.search.saturating_add(self.verdict), ..self },
            "not" | "if" | "contains" => only_asked,
            _ => self,
        }
    }
}

/// The cost of checking events against one schema.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    /// The cost of a value, by its depth in the event.
    loads: Vec<Load>,
    /// The most steps of a verdict on one value of any depth: the validator's cache bounds it. There is no such bound without
    /// recursion, and none is needed.
    remembered: Option<u64>,
    alternatives: bool,
    unique: bool,
}

/// How an event is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// With all reasons why it is not valid.
    Reasons,
    /// With the first reason only.
    FirstReason,
    /// Whether it is valid, and no more.
    Verdict,
    /// Not at all.
    TooMuch,
}

impl Cost {
    pub(super) fn of(schema: &Value) -> Result<Self, Flaw> {
        let graph = Graph::of(schema)?;
        let has = |keyword: &str| graph.nodes.iter().any(|node| node.schema.get(keyword).is_some());
        let too_much = |node: usize| {
            let reason = format!("a value would be checked more than {MAX_STEPS_OF_A_VALUE} times here");
            (graph.path(node), reason)
        };
        let whole = Loads::of(&graph, Recursion::Followed).map_err(too_much)?;
        let edges = graph.nodes.iter().flat_map(|node| &node.in_place);
        let mut targets: Vec<usize> = edges.filter(|edge| edge.recursive).map(|edge| edge.to).collect();
        let mut remembered = None;
        if !targets.is_empty() {
            let parts = Loads::of(&graph, Recursion::Cut).map_err(too_much)?.over_depths;
            targets.push(0);
            targets.sort_unstable();
            targets.dedup();
            let all = targets.iter().fold(0, |sum: u64, &target| sum.saturating_add(parts[target]));
            let most = targets.iter().map(|&target| parts[target]).max().unwrap_or(0);
            remembered = Some(all.saturating_mul(most).saturating_mul(NOT_REMEMBERED));
        }
        Ok(Self {
            loads: whole.of_root,
            remembered,
            alternatives: has("anyOf") || has("oneOf"),
            unique: has("uniqueItems"),
        })
    }

    /// Returns the most steps that a value of any depth can cost.
    pub(super) fn most_of_a_value(&self) -> u64 {
        let most = self.loads.iter().map(|load| load.verdict.max(load.search)).max().unwrap_or(0);
        most.min(self.remembered.unwrap_or(u64::MAX)).max(1)
    }

    /// Returns how an event is to be checked, and at most how many steps that takes.
    pub(super) fn extent(&self, event: &Value) -> (Extent, u64) {
        let mut bound = Bound { loads: &self.loads, unique: self.unique, ..Bound::default() };
        let weight = bound.add(event, 0, 0, 0);
        let remembered = self.remembered.map_or(u64::MAX, |steps| steps.saturating_mul(weight));
        let (verdict, search) = (bound.verdict.min(remembered), bound.search);
        if search <= MAX_STEPS && bound.reasons <= MAX_REASONS {
            (Extent::Reasons, search)
        } else if search <= MAX_STEPS && !self.alternatives {
            (Extent::FirstReason, search)
        } else if verdict <= MAX_STEPS {
            (Extent::Verdict, verdict)
        } else {
            (Extent::TooMuch, 0)
        }
    }
}

/// What becomes of a reference that is part of a recursion.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recursion {
    /// It is followed like any other.
    Followed,
    /// It is left out.
    Cut,
}

/// The costs of the schemas of a file.
struct Loads {
    /// The cost of the root, for one value at each depth of an event.
    of_root: Vec<Load>,
    /// The steps of a verdict of each schema for one value, summed over all depths that the value can be below the one that
    /// the schema is applied to.
    over_depths: Vec<u64>,
}

impl Loads {
    /// Fails with the schema that takes more steps for a value than allowed, if it refers to the same value or is not
    /// recursive.
    fn of(graph: &Graph<'_>, recursion: Recursion) -> Result<Self, usize> {
        let recursive = graph.nodes.iter().flat_map(|node| &node.in_place).any(|edge| edge.recursive);
        let mut found = Self { of_root: Vec::new(), over_depths: vec![0; graph.nodes.len()] };
        let mut above: Vec<Load> = Vec::new();
        for depth in 0..DEPTHS {
            let mut here = vec![Load::default(); graph.nodes.len()];
            for &number in &graph.order {
                let load = load(graph, number, depth, recursion, &above, &here);
                if load.verdict > MAX_STEPS_OF_A_VALUE
                    && (depth == 0 || recursion == Recursion::Cut || !recursive)
                {
                    return Err(number);
                }
                here[number] = load;
                found.over_depths[number] = found.over_depths[number].saturating_add(load.verdict);
            }
            found.of_root.push(here[0]);
            if here.iter().all(|load| *load == Load::default()) {
                break;
            }
            above = here;
        }
        Ok(found)
    }
}

/// Returns the cost of a schema for one value at this depth below the one that it is applied to; `above` has the costs of all
/// schemas one level less deep, and `here` those of the schemas that it applies in place.
fn load(
    graph: &Graph<'_>,
    number: usize,
    depth: usize,
    recursion: Recursion,
    above: &[Load],
    here: &[Load],
) -> Load {
    let node = &graph.nodes[number];
    let mut load = if depth == 0 { own(node.schema) } else { below(node, above, depth) };
    for edge in &node.in_place {
        let mut applied = here[edge.to].applied_by(edge.keyword);
        if recursion == Recursion::Cut && edge.recursive {
            let look_up = u64::from(depth == 0);
            applied = Load { verdict: look_up, search: look_up, reasons: 0, ..applied };
        }
        load = load.plus(applied);
        load.marking = load.marking.saturating_add(applied.verdict);
    }
    if ["unevaluatedProperties", "unevaluatedItems"].iter().any(|&keyword| node.schema.get(keyword).is_some())
    {
        load.verdict = load.verdict.saturating_add(load.marking);
        load.search = load.search.saturating_add(load.marking);
    }
    load
}

/// Returns the cost of a schema's keywords for members and elements, for one value at this depth below.
fn below(node: &Node<'_>, above: &[Load], depth: usize) -> Load {
    let (mut one, mut all) = (Load::default(), Load::default());
    for edge in &node.below {
        let load = Load { marking: 0, ..above[edge.to].applied_by(edge.keyword) };
        if edge.is_exclusive() {
            one = one.max(load);
        } else {
            // Values under `contains` and `unevaluated…` are checked to find out which were evaluated.
            all = all.plus(Load { marking: load.verdict, ..load });
        }
    }
    if depth == 1 {
        let patterns = node.schema.get("patternProperties").and_then(Value::as_object);
        let names: u64 = patterns.into_iter().flatten().map(|(name, _)| 1 + states(name) / 2).sum();
        all = all.plus(Load { verdict: names, marking: 1 + names, search: names, reasons: 0 });
    }
    one.plus(all)
}

/// Returns the cost of a schema's own assertions for a value.
fn own(schema: &Value) -> Load {
    let Some(object) = schema.as_object() else {
        return Load { verdict: 1, marking: 1, search: 1, reasons: 1 };
    };
    let length = |keyword: &str| match object.get(keyword) {
        Some(Value::Object(members)) => members.len() as u64,
        Some(Value::Array(items)) => items.len() as u64,
        _ => 0,
    };
    let listed = ["dependentRequired", "dependencies"]
        .iter()
        .filter_map(|&keyword| object.get(keyword))
        .map(values)
        .sum::<u64>();
    let required = length("required") + listed;
    let compared =
        ["enum", "const"].iter().filter_map(|&keyword| object.get(keyword)).map(values).sum::<u64>();
    // Strings are looked up.
    let only_strings = object
        .get("enum")
        .and_then(Value::as_array)
        .is_some_and(|options| options.iter().all(Value::is_string));
    let pattern = object.get("pattern").and_then(Value::as_str).map_or(0, states);
    let looked_up = (length("properties") + required) / 8 + if only_strings { 0 } else { compared / 2 };
    let steps = 1 + looked_up + pattern / 2;
    Load {
        verdict: steps,
        marking: 1 + length("properties") / 8,
        search: steps,
        reasons: object.len() as u64 + required,
    }
}

/// Returns an upper bound on the states of a regular expression's automaton: one for each character of it, times the counts
/// of repetitions around it.
fn states(pattern: &str) -> u64 {
    // For each open group, the states of its content; `last` has the states that a repetition would repeat.
    let (mut groups, mut last) = (vec![0_u64], 0_u64);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '(' => {
                groups.push(0);
                last = 0;
                continue;
            }
            ')' if groups.len() > 1 => last = groups.pop().unwrap_or_default(),
            '{' => {
                let counts: String = characters.by_ref().take_while(|&next| next != '}').collect();
                let most = counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max();
                // One repetition was counted already.
                last = last.saturating_mul(most.unwrap_or(1).saturating_sub(1));
            }
            '[' => {
                while let Some(next) = characters.next() {
                    match next {
                        '\\' => drop(characters.next()),
                        ']' => break,
                        _ => {}
                    }
                }
                last = 1;
            }
            '\\' => {
                characters.next();
                last = 1;
            }
            _ => last = 1,
        }
        if let Some(group) = groups.last_mut() {
            *group = group.saturating_add(last);
        }
    }
    groups.into_iter().fold(0, u64::saturating_add)
}

/// Returns how many values a value has in it, itself included.
fn values(value: &Value) -> u64 {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    }
}

/// The bytes of text that count as one value more.
const TEXT: u64 = 64;

/// The upper bound for an event, summed over its values.
#[derive(Debug, Default)]
struct Bound<'a> {
    /// The cost of a value, by its depth.
    loads: &'a [Load],
    /// Whether elements may have to be unique.
    unique: bool,
    verdict: u64,
    search: u64,
    /// The bytes of all reasons.
    reasons: u64,
}

impl Bound<'_> {
    /// Adds a value, whose own name and path have this many bytes, and the values in it. Returns how many values they count
    /// for.
    fn add(&mut self, value: &Value, depth: usize, path: u64, name: u64) -> u64 {
        let mut weight = 1;
        let mut inside = 0_u64;
        match value {
            Value::String(text) => weight += (text.len() as u64 + name) / TEXT,
            Value::Array(items) => {
                for item in items {
                    inside += self.add(item, depth + 1, path + 8, 0);
                }
                weight += name / TEXT;
                if self.unique {
                    // Each is hashed, and an attacker can craft arrays and objects that share one hash.
                    let containers =
                        items.iter().filter(|item| item.is_array() || item.is_object()).count() as u64;
                    weight += inside / 4 + containers.saturating_mul(containers) / 2;
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let name = name.len() as u64;
                    inside += self.add(member, depth + 1, path + name + 1, name);
                }
                weight += name / TEXT;
            }
            _ => weight += name / TEXT,
        }
        if let Some(load) = self.loads.get(depth) {
            self.verdict = self.verdict.saturating_add(load.verdict.saturating_mul(weight));
            self.search = self.search.saturating_add(load.search.saturating_mul(weight));
            self.reasons = self.reasons.saturating_add(load.reasons.saturating_mul(REASON + path));
        }
        weight + inside
    }
}

#[cfg(test)]
mod tests;

//! DynamoDB's condition and update expressions, as far as Weir uses them. Any other one stops the run, so that nothing
//! is simulated that was not looked at.

use serde_json::{Map, Value};

pub(crate) type Item = Map<String, Value>;

/// An expression with what stands for names and values in it.
pub(crate) struct Expression<'a> {
    tokens: Vec<String>,
    at: usize,
    call: &'a Value,
}

/// Whether an item (empty, if it does not exist) meets the call's condition, if it has one.
pub(crate) fn meets(call: &Value, which: &str, item: &Item) -> bool {
    let Some(text) = call[which].as_str() else { return true };
    let mut expression = Expression::new(text, call);
    let met = expression.any(item);
    assert!(expression.at == expression.tokens.len(), "an unknown condition: {text}");
    met
}

/// Does what an update expression says.
pub(crate) fn update(call: &Value, item: &mut Item) {
    let text = call["UpdateExpression"].as_str().unwrap();
    let mut expression = Expression::new(text, call);
    while let Some(clause) = expression.take() {
        loop {
            let name = expression.name();
            match clause.as_str() {
                "ADD" => {
                    let by = number(&expression.operand(&Item::new()));
                    let sum = item.get(&name).map_or(0, number) + by;
                    item.insert(name, serde_json::json!({"N": sum.to_string()}));
                }
                "SET" => {
                    expression.expect("=");
                    let value = expression.operand(item);
                    item.insert(name, value);
                }
                "REMOVE" => drop(item.remove(&name)),
                _ => panic!("an unknown update: {text}"),
            }
            if expression.peek() != Some(",") {
                break;
            }
            expression.at += 1;
        }
    }
}

pub(crate) fn number(value: &Value) -> i64 {
    value["N"].as_str().unwrap().parse().unwrap()
}

impl<'a> Expression<'a> {
    fn new(text: &str, call: &'a Value) -> Self {
        let mut tokens: Vec<String> = Vec::new();
        let mut joins = false;
        for c in text.chars() {
            let word = c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '#' | '.');
            let operator = matches!(c, '<' | '>' | '=');
            let joined = joins
                && tokens.last().is_some_and(|last| {
                    let last = last.chars().last().unwrap();
                    (operator && matches!(last, '<' | '>'))
                        || (word && (last.is_ascii_alphanumeric() || matches!(last, '_' | ':' | '#' | '.')))
                });
            joins = !c.is_whitespace();
            match tokens.last_mut() {
                _ if c.is_whitespace() => {}
                Some(last) if joined => last.push(c),
                _ => tokens.push(c.to_string()),
            }
        }
        Self { tokens, at: 0, call }
    }

    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn take(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn expect(&mut self, token: &str) {
        assert_eq!(self.take().as_deref(), Some(token), "in {:?}", self.tokens);
    }

    fn any(&mut self, item: &Item) -> bool {
        let mut met = self.all(item);
        while self.peek() == Some("OR") {
            self.at += 1;
            met |= self.all(item);
        }
        met
    }

    fn all(&mut self, item: &Item) -> bool {
        let mut met = self.one(item);
        while self.peek() == Some("AND") {
            self.at += 1;
            met &= self.one(item);
        }
        met
    }

    fn one(&mut self, item: &Item) -> bool {
        match self.peek() {
            Some("NOT") => {
                self.at += 1;
                !self.one(item)
            }
            Some("(") => {
                self.at += 1;
                let met = self.any(item);
                self.expect(")");
                met
            }
            Some(function @ ("attribute_not_exists" | "attribute_exists" | "begins_with")) => {
                let function = function.to_owned();
                self.at += 1;
                self.expect("(");
                let name = self.name();
                let met = match function.as_str() {
                    "attribute_exists" => item.contains_key(&name),
                    "attribute_not_exists" => !item.contains_key(&name),
                    _ => {
                        self.expect(",");
                        let prefix = self.operand(item);
                        let text = item.get(&name).and_then(|value| value["S"].as_str()).unwrap_or_default();
                        text.starts_with(prefix["S"].as_str().unwrap())
                    }
                };
                self.expect(")");
                met
            }
            _ => self.compare(item),
        }
    }

    fn compare(&mut self, item: &Item) -> bool {
        let left = self.operand(item);
        let operator = self.take().unwrap_or_default();
        let right = self.operand(item);
        if operator == "BETWEEN" {
            self.expect("AND");
            let last = self.operand(item);
            return order(&left, &right).is_some_and(std::cmp::Ordering::is_ge)
                && order(&left, &last).is_some_and(std::cmp::Ordering::is_le);
        }
        // What is not there, or of another type, compares with nothing.
        order(&left, &right).is_some_and(|order| match operator.as_str() {
            "=" => order.is_eq(),
            "<>" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            ">=" => order.is_ge(),
            _ => panic!("an unknown operator: {:?}", self.tokens),
        })
    }

    /// An attribute's name, which `#` may stand for.
    fn name(&mut self) -> String {
        let token = self.take().unwrap();
        assert!(token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '#'), "no name: {token}");
        if token.starts_with('#') {
            self.call["ExpressionAttributeNames"][&token].as_str().unwrap().to_owned()
        } else {
            token
        }
    }

    /// A value, or an attribute's; null if it does not exist.
    fn operand(&mut self, item: &Item) -> Value {
        if self.peek().is_some_and(|token| token.starts_with(':')) {
            let value = self.take().unwrap();
            let found = self.call["ExpressionAttributeValues"][&value].clone();
            assert!(!found.is_null(), "no value for {value}");
            return found;
        }
        let name = self.name();
        item.get(&name).cloned().unwrap_or_default()
    }
}

fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left["S"].as_str(), right["S"].as_str()) {
        (Some(left), Some(right)) => Some(left.cmp(right)),
        _ if left["N"].is_string() && right["N"].is_string() => Some(number(left).cmp(&number(right))),
        _ => None,
    }
}

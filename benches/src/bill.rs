//! A bill: what a million events cost, a line for each thing that is charged for.

use serde_json::{Value, json};

use crate::{prices::Item, usage::Usage};

/// What a number of events costs.
pub(crate) struct Bill {
    pub(crate) title: String,
    lines: Vec<Line>,
    budget: Option<f64>,
    /// What lies in S3 from then on, GB.
    kept: f64,
}

struct Line {
    part: &'static str,
    item: Item,
    number: f64,
}

impl Line {
    fn dollars(&self) -> f64 {
        let price = self.item.price();
        self.number * price.dollars / price.per
    }
}

impl Bill {
    /// An empty bill, which is to be within a budget if there is one.
    pub(crate) fn new(title: String, budget: Option<f64>) -> Self {
        Self { title, lines: Vec::new(), budget, kept: 0.0 }
    }

    /// Adds what a part of Weir used, so many times.
    pub(crate) fn add(&mut self, part: &'static str, usage: &Usage, times: f64) {
        let lines = usage.items().map(|(item, number)| Line { part, item, number: number * times });
        self.lines.extend(lines);
    }

    /// Says how many GB lie in S3 from then on. They are paid by the month and are not in the sum.
    pub(crate) fn keep(&mut self, gb: f64) {
        self.kept = gb;
    }

    fn month(&self) -> f64 {
        let price = Item::StoredGb.price();
        self.kept * price.dollars / price.per
    }

    /// The sum.
    pub(crate) fn total(&self) -> f64 {
        self.lines.iter().map(Line::dollars).sum()
    }

    /// Parts, items, numbers and dollars.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&'static str, Item, f64, f64)> {
        self.lines.iter().map(|line| (line.part, line.item, line.number, line.dollars()))
    }

    /// Whether it is to be within a budget.
    #[cfg(test)]
    pub(crate) fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// The budget, if the sum is above it.
    pub(crate) fn missed(&self) -> Option<String> {
        let budget = self.budget.filter(|budget| self.total() > *budget)?;
        Some(format!("{}: ${:.4}, budget ${budget:.2}", self.title, self.total()))
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let mut part = "";
        for line in &self.lines {
            let price = line.item.price();
            let shown = if part == line.part { "" } else { line.part };
            part = line.part;
            let per = if price.per > 1.0 { " / million" } else { "" };
            let unit_price = format!("${}{per}", price.dollars);
            let (unit, number, dollars) = (price.unit, count(line.number), line.dollars());
            text += &format!("  {shown:10} {unit:32} {number:>12}  {unit_price:20} ${dollars:.5}\n");
        }
        let met = match self.budget {
            Some(budget) if self.total() <= budget => format!("  budget ${budget:.2}: met"),
            Some(budget) => format!("  budget ${budget:.2}: MISSED"),
            None => String::new(),
        };
        text += &format!("  {:10} {:32} {:>12}  {:20} ${:.5}{met}\n", "together", "", "", "", self.total());
        if self.kept > 0.0 {
            let (kept, month) = (self.kept, self.month());
            text += &format!("  and for each month that it is kept, {kept:.3} GB in S3: ${month:.5}\n");
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let line = |line: &Line| {
            let price = line.item.price();
            json!({
                "part": line.part, "unit": price.unit, "number": line.number, "dollars": line.dollars(),
                "price": price.dollars, "price_is_for": price.per, "page": price.page,
            })
        };
        json!({
            "title": self.title, "lines": self.lines.iter().map(line).collect::<Vec<_>>(),
            "together": self.total(), "a_month": self.month(), "budget": self.budget,
        })
    }
}

fn count(number: f64) -> String {
    if number < 100.0 { format!("{number:.4}") } else { format!("{number:.0}") }
}

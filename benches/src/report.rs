//! What a run measured, and which targets it met.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a command found out.
pub(crate) trait Results {
    /// For people.
    fn table(&self) -> String;

    /// For programs.
    fn json(&self) -> Value;

    /// The targets that were missed, a sentence each.
    fn missed(&self) -> Vec<String>;
}

/// A figure, its unit, and the target it has to meet.
struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    target: Option<Target>,
}

/// What a figure is to be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
        }
    }
}

/// Figures by what was measured, in the order in which they came.
#[derive(Default)]
pub(crate) struct Report {
    subjects: Vec<String>,
    figures: BTreeMap<String, Vec<Figure>>,
}

impl Report {
    /// Adds a figure; names and units are what readers see.
    pub(crate) fn add(
        &mut self,
        subject: &str,
        name: &'static str,
        value: f64,
        unit: &'static str,
        target: Option<Target>,
    ) {
        if !self.figures.contains_key(subject) {
            self.subjects.push(subject.to_owned());
        }
        self.figures.entry(subject.to_owned()).or_default().push(Figure { name, value, unit, target });
    }

    /// A figure that was added.
    pub(crate) fn value(&self, subject: &str, name: &str) -> Option<f64> {
        self.figures.get(subject)?.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

impl Results for Report {
    /// A row for each figure.
    fn table(&self) -> String {
        let mut rows = vec![["", "", "measured", "", "target", ""].map(str::to_owned)];
        for subject in &self.subjects {
            for (index, figure) in self.figures[subject].iter().enumerate() {
                let (target, met) = match figure.target {
                    Some(target) if target.is_met(figure.value) => (target.text(), "met"),
                    Some(target) => (target.text(), "MISSED"),
                    None => (String::new(), ""),
                };
                rows.push([
                    if index == 0 { subject.clone() } else { String::new() },
                    figure.name.to_owned(),
                    format!("{:.*}", digits(figure.value), figure.value),
                    figure.unit.to_owned(),
                    target,
                    met.to_owned(),
                ]);
            }
        }
        aligned(&rows)
    }

    /// Subject, then figure.
    fn json(&self) -> Value {
        let subjects = self.subjects.iter().map(|subject| {
            let figures = self.figures[subject].iter().map(|figure| {
                let mut told = json!({"value": figure.value, "unit": figure.unit});
                if let Some(target) = figure.target {
                    match target {
                        Target::AtMost(most) => told["at_most"] = json!(most),
                        Target::AtLeast(least) => told["at_least"] = json!(least),
                    }
                    told["met"] = json!(target.is_met(figure.value));
                }
                (figure.name.to_owned(), told)
            });
            (subject.clone(), Value::Object(figures.collect::<Map<_, _>>()))
        });
        Value::Object(subjects.collect())
    }

    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        for subject in &self.subjects {
            for figure in &self.figures[subject] {
                if let Some(target) = figure.target.filter(|target| !target.is_met(figure.value)) {
                    let (name, value, unit) = (figure.name, figure.value, figure.unit);
                    missed.push(format!("{subject}, {name}: {value:.3} {unit}, target {}", target.text()));
                }
            }
        }
        missed
    }
}

/// How many digits after the point say something.
fn digits(value: f64) -> usize {
    if value.fract() == 0.0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    }
}

fn aligned(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Figures end below one another.
            line += &if column == 2 { format!("{cell:>width$} ") } else { format!("{cell:width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add("collector", "calls", 2.0, "", Some(Target::AtMost(2.0)));
        report.add("collector", "start", 6.5, "ms", Some(Target::AtMost(6.0)));
        report.add("authorizer", "start", 5.25, "ms", None);
        report
    }

    #[test]
    fn a_missed_target_is_named_and_a_met_one_is_not() {
        assert_eq!(report().missed(), ["collector, start: 6.500 ms, target ≤ 6"]);
    }

    #[test]
    fn tables_keep_the_order_and_say_what_was_missed() {
        let expected = "                   measured     target
collector   calls         2     ≤ 2     met
            start      6.50 ms  ≤ 6     MISSED
authorizer  start      5.25 ms
";
        assert_eq!(report().table(), expected);
    }

    #[test]
    fn json_says_the_same() {
        let json = report().json();
        assert_eq!(
            json["collector"]["start"],
            json!({"value": 6.5, "unit": "ms", "at_most": 6.0, "met": false})
        );
        assert_eq!(json["authorizer"]["start"], json!({"value": 5.25, "unit": "ms"}));
    }
}

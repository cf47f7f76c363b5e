//! The figures, as a table for people and as JSON for comparisons.

use std::io::{Write, stdout};
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::scenario::{Figure, Name};

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    scenario: &'static str,
    unit: &'static str,
    must: &'static str,
    floor: Figure,
    fanfare: Option<Figure>,
    ratio: Option<f64>,
}

impl Report {
    /// Adds a scenario and prints its line.
    pub(crate) fn add(&mut self, name: Name, floor: &Figure, fanfare: Option<&Figure>) {
        if self.rows.is_empty() {
            line("scenario        unit                     floor    fanfare   ratio   must               p50 / p99 ms");
        }
        let ratio = fanfare.map(|fanfare| fanfare.cost / floor.cost);
        let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        let times = |figure: &Figure| format!("{} / {}", cell(figure.p50_ms), cell(figure.p99_ms));
        line(&format!(
            "{:<15} {:<20} {:>9} {:>10} {:>7}   {:<18} {}{}",
            name.title(),
            name.unit(),
            cell(Some(floor.cost)),
            cell(fanfare.map(|figure| figure.cost)),
            cell(ratio),
            name.must(),
            times(fanfare.unwrap_or(floor)),
            notes(floor, fanfare)
        ));
        self.rows.push(Row {
            scenario: name.title(),
            unit: name.unit(),
            must: name.must(),
            floor: floor.clone(),
            fanfare: fanfare.cloned(),
            ratio,
        });
    }

    /// Writes the JSON, if it is wanted.
    pub(crate) fn finish(&self, json: Option<&Path>) -> Result<()> {
        if let Some(path) = json {
            std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        }
        Ok(())
    }
}

/// What makes a figure doubtful.
fn notes(floor: &Figure, fanfare: Option<&Figure>) -> String {
    let missing = |figure: Option<&Figure>| figure.map_or(0, |figure| figure.missing);
    match (missing(Some(floor)), missing(fanfare)) {
        (0, 0) => String::new(),
        (floor, fanfare) => format!("  MISSING deliveries: floor {floor}, fanfare {fanfare}"),
    }
}

/// Prints a line.
pub(crate) fn line(text: &str) {
    let mut out = stdout().lock();
    // When nobody reads any more, there is nobody to tell.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

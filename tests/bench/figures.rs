//! What was measured, as a table for people and as JSON for machines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skerry_tests::repository_root;

/// One measured figure.
#[derive(Debug, Clone)]
pub struct Figure {
    pub id: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// The most that it may be. Absent for a figure that only informs.
    pub budget: Option<f64>,
    /// How it was measured.
    pub method: String,
}

impl Figure {
    fn holds(&self) -> bool {
        self.budget.is_none_or(|budget| self.value <= budget)
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    #[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
    pub fn add(&mut self, figure: Figure) {
        eprintln!("    {} = {:.3} {}", figure.id, figure.value, figure.unit);
        self.0.push(figure);
    }

    pub fn all_hold(&self) -> bool {
        self.0.iter().all(Figure::holds)
    }

    #[expect(clippy::print_stdout, reason = "the table is the program's output")]
    pub fn print(&self) {
        println!("{:<34} {:>10} {:<8} {:>8}  holds", "figure", "value", "unit", "budget");
        for figure in &self.0 {
            let budget = figure.budget.map_or_else(|| "-".to_owned(), |budget| budget.to_string());
            let holds = if figure.holds() { "yes" } else { "NO" };
            println!("{:<34} {:>10.3} {:<8} {budget:>8}  {holds}", figure.id, figure.value, figure.unit);
        }
    }

    /// Figures that were not measured in this run keep their last value.
    pub fn write(&self) -> Result<()> {
        let path = path();
        let mut all: BTreeMap<String, Value> = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(_) => BTreeMap::new(),
        };
        for figure in &self.0 {
            let Figure { id, value, unit, budget, method } = figure;
            let holds = figure.holds();
            all.insert(
                (*id).to_owned(),
                json!({"value": value, "unit": unit, "budget": budget, "holds": holds, "method": method}),
            );
        }
        std::fs::write(&path, serde_json::to_vec_pretty(&all)?).with_context(|| path.display().to_string())
    }
}

fn path() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| repository_root().join("target")).join("bench.json")
}

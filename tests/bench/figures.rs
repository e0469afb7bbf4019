//! What was measured, as a table for people and as JSON for machines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use skerry_tests::repository_root;

/// What a figure must keep to.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    fn limit(self) -> f64 {
        match self {
            Self::AtMost(limit) | Self::AtLeast(limit) => limit,
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// One measured figure.
#[derive(Debug, Clone)]
pub struct Figure {
    pub id: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// Absent for a figure that only informs.
    pub budget: Option<Budget>,
    /// The same of what Skerry is compared with, measured in the same run. The method says what that is.
    pub peer: Option<f64>,
    /// How it was measured.
    pub method: String,
}

impl Figure {
    fn holds(&self) -> bool {
        self.budget.is_none_or(|budget| budget.holds(self.value))
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    #[expect(clippy::print_stderr, reason = "progress of a run that takes minutes")]
    pub fn add(&mut self, figure: Figure) {
        let peer = figure.peer.map(|peer| format!("; peer: {peer:.3}")).unwrap_or_default();
        eprintln!("    {} = {:.3} {}{peer}", figure.id, figure.value, figure.unit);
        self.0.push(figure);
    }

    pub fn all_hold(&self) -> bool {
        self.0.iter().all(Figure::holds)
    }

    #[expect(clippy::print_stdout, reason = "the table is the program's output")]
    pub fn print(&self) {
        println!("{:<34} {:>10} {:<8} {:>8}  holds {:>10}", "figure", "value", "unit", "budget", "peer");
        for figure in &self.0 {
            let budget = match figure.budget {
                None => "-".to_owned(),
                Some(Budget::AtMost(limit)) => limit.to_string(),
                Some(Budget::AtLeast(limit)) => format!("≥ {limit}"),
            };
            let holds = if figure.holds() { "yes" } else { "NO" };
            let peer = figure.peer.map(|peer| format!("{peer:.3}")).unwrap_or_default();
            println!(
                "{:<34} {:>10.3} {:<8} {budget:>8}  {holds:<5} {peer:>10}",
                figure.id, figure.value, figure.unit
            );
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
            let Figure { id, value, unit, budget, peer, method } = figure;
            let (budget, holds) = (budget.map(Budget::limit), figure.holds());
            let entry = json!({"value": value, "unit": unit, "budget": budget, "holds": holds, "peer": peer, "method": method});
            all.insert((*id).to_owned(), entry);
        }
        std::fs::write(&path, serde_json::to_vec_pretty(&all)?).with_context(|| path.display().to_string())
    }
}

fn path() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| repository_root().join("target")).join("bench.json")
}

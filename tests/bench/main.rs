//! `make bench`: measures what the design has a budget for, on real components, and prints each figure beside its budget. Times are
//! ratios against the floor in the same run, so that a slow machine does not look like a slow program.

mod cycle;
mod figures;
mod offline;
mod probed;
mod rest;
mod resume;
mod serving;
mod standalone;
mod switch;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use skerry_tests::{AgentOptions, Plane, Site};

use figures::{Budget, Figure, Figures};

/// Measures the budgets, prints a table and writes target/bench.json.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only these figures, by id.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    only: Vec<String>,
    /// Pairs of runs behind each ratio.
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Seconds that the idle figures are watched for.
    #[arg(long, default_value_t = 120)]
    idle_seconds: u64,
}

/// Every figure, in the order of the table.
const IDS: &[&str] = &[
    "apply_to_serving_hostnet_ratio",
    "apply_to_serving_bridge_ratio",
    "delete_to_gone_ms",
    "api_writes_per_app_cycle",
    "agent_pss_mib",
    "agent_idle_cpu_percent",
    "agent_binary_mib",
    "resume_p99_s",
    "controller_pss_mib",
    "api_writes_per_node_per_minute",
    "idle_uplink_bytes_per_s",
    "agent_idle_write_bytes",
    "agent_pss_probed_mib",
    "agent_probed_cpu_percent",
    "switch_failed_requests",
    "offline_boot_ratio",
    "offline_boot_s",
    "standalone_pss_mib",
    "standalone_list_ms",
    "standalone_watch_ms",
    "standalone_writes_per_s",
    "standalone_start_ms",
];

/// How the ids of the standalone API's figures begin.
const STANDALONE: &str = "standalone_";
/// And of those of a box without a link.
const OFFLINE: &str = "offline_";

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(unknown) = arguments.only.iter().find(|id| !IDS.contains(&id.as_str())) {
        bail!("there is no figure {unknown:?}; there are: {}", IDS.join(", "));
    }
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    let runtime = tokio::runtime::Runtime::new()?;
    let figures = runtime.block_on(measure(&arguments))?;
    figures.print();
    figures.write()?;
    Ok(if figures.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(arguments: &Arguments) -> Result<Figures> {
    let wanted = |id: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == id);
    let mut figures = Figures::default();
    if wanted("agent_binary_mib") {
        figures.add(rest::agent_binary()?);
    }
    if wanted("resume_p99_s") {
        figures.add(resume::p99().await?);
    }
    if IDS.iter().any(|id| id.starts_with(STANDALONE) && wanted(id)) {
        let all = standalone::measure().await?;
        all.into_iter().filter(|figure| wanted(figure.id)).for_each(|figure| figures.add(figure));
    }
    if IDS.iter().any(|id| id.starts_with(OFFLINE) && wanted(id)) {
        let all = offline::boot(arguments.pairs).await?;
        all.into_iter().filter(|figure| wanted(figure.id)).for_each(|figure| figures.add(figure));
    }
    let needs_no_site = |id: &str| {
        ["agent_binary_mib", "resume_p99_s"].contains(&id)
            || id.starts_with(STANDALONE)
            || id.starts_with(OFFLINE)
    };
    if IDS.iter().filter(|id| wanted(id)).all(|id| needs_no_site(id)) {
        return Ok(figures);
    }
    let site = Site::start(Plane::Kube).await?;
    let options =
        AgentOptions { config: "[policy]\nhost-network = true\n".to_owned(), ..AgentOptions::default() };
    let node = site.node_with(options)?;
    node.ready().await?;
    for (id, network, budget) in [
        ("apply_to_serving_hostnet_ratio", serving::Network::Host, 1.25),
        ("apply_to_serving_bridge_ratio", serving::Network::Bridge, 1.15),
    ] {
        if wanted(id) {
            figures.add(serving::ratio(&site, &node, id, network, budget, arguments.pairs).await?);
        }
    }
    if wanted("delete_to_gone_ms") {
        figures.add(cycle::delete_to_gone(&site, &node).await?);
    }
    if wanted("api_writes_per_app_cycle") {
        figures.add(cycle::api_writes(&site, &node).await?);
    }
    let at_rest = [
        "agent_pss_mib",
        "agent_idle_cpu_percent",
        "controller_pss_mib",
        "api_writes_per_node_per_minute",
        "idle_uplink_bytes_per_s",
        "agent_idle_write_bytes",
    ];
    if at_rest.iter().any(|id| wanted(id)) {
        let all = rest::measure(&site, node, arguments.idle_seconds).await?;
        all.into_iter().filter(|figure| wanted(figure.id)).for_each(|figure| figures.add(figure));
    }
    if wanted("switch_failed_requests") {
        figures.add(switch::failed_requests(&site, &site.node().await?).await?);
    }
    if ["agent_pss_probed_mib", "agent_probed_cpu_percent"].iter().any(|id| wanted(id)) {
        let all = probed::measure(&site, site.node().await?, arguments.idle_seconds).await?;
        all.into_iter().filter(|figure| wanted(figure.id)).for_each(|figure| figures.add(figure));
    }
    Ok(figures)
}

/// The middle of a list of measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// A figure that must not be above its budget.
fn at_most(id: &'static str, value: f64, unit: &'static str, budget: f64, method: String) -> Figure {
    Figure { id, value, unit, budget: Some(Budget::AtMost(budget)), peer: None, method }
}

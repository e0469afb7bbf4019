//! Reads the corpus: text files of scenarios, each a list of requests.
//!
//! ```text
//! @let name text              for the rest of this file, and of all files when in common.http: {{name}} stands for the text
//!
//! === a scenario, as a sentence
//! --- a step
//! POST {{cms}}?dryRun=All     or MERGE, JSONPATCH, STRATEGIC, APPLY: PATCH with that content type
//! Accept: application/json    headers
//! @capture rv /metadata/resourceVersion
//!
//! {"metadata":{"name":"a"}}   the body, up to the next step; JSON unless Content-Type says another
//! ```
//!
//! Names in braces: `ns` is the scenario's own namespace, which exists; captured values are known to later steps. Directives of a step:
//!
//! * `@capture NAME POINTER`: takes a value from the answer, for the steps that follow.
//! * `@only POINTER`: compares that part of the body alone. A segment `[key=value]` picks from a list.
//! * `@ignore POINTER`: does not compare that part.
//! * `@as stranger` or `@as nobody`: who asks.
//! * `@times N`: N requests at once, with `{{i}}` from 0; their answers are compared as a set.
//! * `@background NAME` and, in a later step without a request, `@join NAME`: a watch that is open meanwhile.
//! * `@size N`: a body of N bytes, a ConfigMap that large.
//! * `@refused TEXT`: the first server must refuse the request, with this text in its message.
//! * `@until POINTER VALUE`: asks again until the answer has it, for a bounded time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::repository_root;

/// One scenario.
#[derive(Debug, Default)]
pub struct Scenario {
    /// The file's name and the sentence.
    pub name: String,
    pub steps: Vec<Step>,
}

/// One request, or several at once.
#[derive(Debug, Default, Clone)]
pub struct Step {
    pub name: String,
    /// Empty for a `@join`.
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub captures: Vec<(String, String)>,
    pub only: Option<String>,
    pub ignore: Vec<String>,
    pub who: Option<String>,
    pub times: Option<usize>,
    pub background: Option<String>,
    pub join: Option<String>,
    pub size: Option<usize>,
    pub until: Option<(String, String)>,
    pub refused: Option<String>,
}

/// Every scenario of `corpus/`.
pub fn corpus() -> Result<Vec<Scenario>> {
    let folder = repository_root().join("tests/differential/corpus");
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        paths.push(entry?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    paths.sort();
    let mut common = BTreeMap::new();
    read(&folder.join("common.http"), &mut common)?;
    let mut scenarios = Vec::new();
    for path in paths {
        scenarios.extend(read(&path, &mut common.clone())?);
    }
    Ok(scenarios)
}

fn read(path: &Path, texts: &mut BTreeMap<String, String>) -> Result<Vec<Scenario>> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a file name")?;
    let content = std::fs::read_to_string(path)?;
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut lines = content.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let here = || format!("{}:{}", path.display(), number + 1);
        if let Some(rest) = line.strip_prefix("@let ") {
            let (name, text) = rest.trim().split_once(' ').with_context(here)?;
            let text = substitute(text.trim(), texts);
            texts.insert(name.to_owned(), text);
        } else if let Some(sentence) = line.strip_prefix("=== ") {
            scenarios
                .push(Scenario { name: format!("{stem}::{sentence}").replace(' ', "_"), steps: Vec::new() });
        } else if let Some(name) = line.strip_prefix("--- ") {
            let mut text = Vec::new();
            while let Some((_, line)) =
                lines.next_if(|(_, line)| !line.starts_with("--- ") && !line.starts_with("=== "))
            {
                text.push(substitute(line, texts));
            }
            let step = step(name, &text).with_context(here)?;
            scenarios.last_mut().with_context(here)?.steps.push(step);
        } else {
            ensure!(line.is_empty() || line.starts_with('#'), "{}: what is this? {line}", here());
        }
    }
    Ok(scenarios)
}

fn step(name: &str, lines: &[String]) -> Result<Step> {
    let mut step = Step { name: name.to_owned(), ..Step::default() };
    let mut lines = lines.iter();
    for line in lines.by_ref() {
        if line.is_empty() {
            break;
        }
        if let Some(directive) = line.strip_prefix('@') {
            let (word, rest) =
                directive.split_once(' ').with_context(|| format!("{line}: a directive needs a value"))?;
            let pair =
                || rest.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).context("two words");
            match word {
                "capture" => step.captures.push(pair()?),
                "only" => step.only = Some(rest.to_owned()),
                "ignore" => step.ignore.push(rest.to_owned()),
                "as" => step.who = Some(rest.to_owned()),
                "times" => step.times = Some(rest.parse()?),
                "background" => step.background = Some(rest.to_owned()),
                "join" => step.join = Some(rest.to_owned()),
                "refused" => step.refused = Some(rest.to_owned()),
                "size" => step.size = Some(rest.parse()?),
                "until" => step.until = Some(pair()?),
                _ => bail!("no such directive: {line}"),
            }
        } else if step.method.is_empty() {
            let (method, path) =
                line.split_once(' ').with_context(|| format!("not a request line: {line}"))?;
            (step.method, step.path) = (method.to_owned(), path.trim().to_owned());
        } else {
            let (name, value) = line.split_once(':').with_context(|| format!("not a header: {line}"))?;
            step.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    ensure!(step.method.is_empty() == step.join.is_some(), "either a request or a @join");
    let body: Vec<&str> = lines.map(String::as_str).collect();
    body.join("\n").trim_end().clone_into(&mut step.body);
    let patch = match step.method.as_str() {
        "MERGE" => Some("application/merge-patch+json"),
        "JSONPATCH" => Some("application/json-patch+json"),
        "STRATEGIC" => Some("application/strategic-merge-patch+json"),
        "APPLY" => Some("application/apply-patch+yaml"),
        _ => None,
    };
    let said = step.headers.iter().any(|(name, _)| name == "content-type");
    if let Some(kind) = patch {
        step.method = "PATCH".into();
        step.headers.push(("content-type".into(), kind.into()));
    } else if !said && (!step.body.is_empty() || step.size.is_some()) {
        step.headers.push(("content-type".into(), "application/json".into()));
    }
    Ok(step)
}

/// Replaces `{{name}}` by its text, and leaves names that are not known as they are.
pub fn substitute(text: &str, texts: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        result.push_str(before);
        if after.starts_with('{') {
            // A brace of JSON before a name.
            result.push('{');
            rest = &rest[before.len() + 1..];
            continue;
        }
        match after.split_once("}}").and_then(|(name, tail)| Some((texts.get(name)?, tail))) {
            Some((value, tail)) => {
                result.push_str(value);
                rest = tail;
            }
            None => {
                result.push_str("{{");
                rest = after;
            }
        }
    }
    result + rest
}

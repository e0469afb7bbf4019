//! Plays a scenario on one server.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use http::Request;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::answer::{self, Answer, Names};
use crate::script::{Scenario, Step, substitute};
use crate::servers::Server;

/// No request of the corpus takes longer; a watch says itself when it ends.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long `@until` asks again.
const UNTIL_MAX: Duration = Duration::from_secs(20);

/// What one step led to: the answer in comparable form, and the request as it was sent.
#[derive(Debug)]
pub struct Outcome {
    pub request: String,
    pub answer: Value,
}

/// Plays every step in order, in a namespace that is made first.
pub async fn play(server: &Server, namespace: &str, scenario: &Scenario) -> Result<Vec<Outcome>> {
    let mut texts = BTreeMap::from([("ns".to_owned(), namespace.to_owned())]);
    let mut names = Names::default();
    let mut watches: HashMap<String, JoinHandle<Result<Answer>>> = HashMap::new();
    let make = Step {
        method: "POST".into(),
        path: "/api/v1/namespaces".into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: json!({"metadata": {"name": namespace}}).to_string(),
        ..Step::default()
    };
    let made = ask(server, &make, &texts).await?;
    ensure!(made.status == 201, "the scenario's namespace: {made:?}");
    let mut outcomes = Vec::new();
    for step in &scenario.steps {
        let request = format!("{} {}", step.method, substitute(&step.path, &texts));
        let answers = match (&step.join, &step.background) {
            (Some(name), _) => vec![watches.remove(name).context("no such watch")?.await??],
            (None, Some(name)) => {
                let opened = open(server, step, &texts).await.with_context(|| request.clone())?;
                watches.insert(name.clone(), tokio::spawn(within(opened)));
                continue;
            }
            (None, None) => {
                all(server, step, &texts).await.with_context(|| format!("{}: {request}", step.name))?
            }
        };
        for (name, pointer) in &step.captures {
            let body = &answers.first().context("an answer")?.body;
            let value = answer::find(body, pointer);
            let text = match value {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                // The difference is seen in the answers; the steps that follow still say something.
                None => "nothing-captured".to_owned(),
            };
            texts.insert(name.clone(), text);
        }
        let mut comparable: Vec<Value> =
            answers.into_iter().map(|answer| answer.comparable(step, &mut names)).collect();
        let answer = if step.times.is_some() {
            comparable.sort_by_key(Value::to_string);
            Value::Array(comparable)
        } else {
            comparable.pop().unwrap_or_default()
        };
        outcomes.push(Outcome { request, answer });
    }
    Ok(outcomes)
}

/// The answers of a step: one, or as many as `@times` says.
async fn all(server: &Server, step: &Step, texts: &BTreeMap<String, String>) -> Result<Vec<Answer>> {
    if let Some((pointer, wanted)) = &step.until {
        let start = Instant::now();
        loop {
            let answer = ask(server, step, texts).await?;
            if answer::find(&answer.body, pointer).is_some_and(|value| value.as_str() == Some(wanted))
                || start.elapsed() > UNTIL_MAX
            {
                return Ok(vec![answer]);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let copies = (0..step.times.unwrap_or(1)).map(|i| {
        let mut texts = texts.clone();
        texts.insert("i".into(), i.to_string());
        async move { ask(server, step, &texts).await }
    });
    try_join_all(copies).await
}

async fn ask(server: &Server, step: &Step, texts: &BTreeMap<String, String>) -> Result<Answer> {
    let exchange = async {
        let opened = open(server, step, texts).await?;
        within(opened).await
    };
    tokio::time::timeout(ANSWER_MAX, exchange).await.context("no answer in time")?
}

async fn within(response: http::Response<Body>) -> Result<Answer> {
    tokio::time::timeout(ANSWER_MAX, Answer::read(response)).await.context("an answer without end")?
}

/// Sends the request; returns when the head of the answer is there.
async fn open(
    server: &Server,
    step: &Step,
    texts: &BTreeMap<String, String>,
) -> Result<http::Response<Body>> {
    let path = substitute(&step.path, texts);
    ensure!(path.starts_with('/'), "not a path: {path}");
    let mut request =
        Request::builder().method(step.method.as_str()).uri(&path).header("user-agent", "differential/1");
    for (name, value) in &step.headers {
        request = request.header(name, substitute(value, texts));
    }
    let body = match step.size {
        Some(size) => sized(size)?,
        None => substitute(&step.body, texts).into_bytes(),
    };
    let client = server.client(step.who.as_deref().unwrap_or("admin"))?;
    match client.send(request.body(Body::from(body))?).await {
        Ok(response) => Ok(response),
        // kube turns nothing but transport errors into these; both servers must at least answer.
        Err(error) => bail!("no answer: {error:?}"),
    }
}

/// A ConfigMap of exactly so many bytes.
fn sized(size: usize) -> Result<Vec<u8>> {
    let (head, tail) = (r#"{"metadata":{"name":"big"},"data":{"k":""#, r#""}}"#);
    let filling = size.checked_sub(head.len() + tail.len()).context("too small for a ConfigMap")?;
    Ok(format!("{head}{}{tail}", "x".repeat(filling)).into_bytes())
}

//! A new version on trial, on the fake engine: held to what the version before it had brought to rest.

use skerry_agent::store::Store;
use skerry_agent::upgrade::{Left, Terms};
use skerry_agent_core::at_rest;
use skerry_terms::AppKey;

use crate::scenario::held;
use crate::supervision::{Node, web};

/// What an agent hands on when it ends with its app at rest.
async fn terms(node: &Node) -> Terms {
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    node.rest().await;
    let standings = agent.standings.borrow().clone();
    let left = at_rest(standings.values().map(|standing| &standing.status));
    agent.stop().await;
    node.fake.take_calls();
    let at_rest = left.into_iter().map(|(app, left)| (app.to_string(), Left::from(left))).collect();
    Terms { docker: true, at_rest, ..Terms::default() }
}

#[tokio::test(start_paused = true)]
async fn a_version_that_sees_the_specs_as_the_one_before_is_let_in() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let (inquiry, told) = terms(&node).await.inquiry();
    let agent = node.start_on_trial(Some(inquiry));
    assert_eq!(told.await.expect("told"), []);
    node.rest().await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_would_replace_what_is_well_takes_no_step() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let terms = terms(&node).await;
    let before = node.fake.running();
    // As a version sees it that makes another container of the same revision.
    let mut other = web("2");
    other.wire.revision = web("1").wire.revision;
    let stored = held(1, &[other]).into();
    Store::open(node.dir.path()).and_then(|store| store.save(&stored)).expect("saved");

    let (inquiry, told) = terms.inquiry();
    let agent = node.start_on_trial(Some(inquiry));
    let web: AppKey = "test/web".parse().expect("a key");
    assert_eq!(told.await.expect("told"), [web]);
    node.rest().await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    assert_eq!(node.fake.running(), before);
    agent.stop().await;

    // Nobody holds an agent back that is trusted: a changed spec is another matter.
    let agent = node.start();
    node.until("it is replaced", |fake| fake.running() != before).await;
    agent.stop().await;
}

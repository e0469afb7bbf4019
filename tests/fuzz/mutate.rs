//! Makes requests that nobody would: those of the corpus, changed at random, but so that most of them get past the first check.

mod json;
mod protobuf;
mod words;

use std::collections::BTreeMap;

use fastrand::Rng;

use self::words::{ACCEPTS, CONTENT_TYPES, METHODS, QUERIES, SEGMENTS, TEXTS};
use crate::request::{Exchange, Outcome, Request};
use crate::script::{Scenario, substitute};
use crate::target::NAMESPACES;

/// Continue tokens and revisions of real answers that are kept, to be used and broken.
const TOKENS_MAX: usize = 64;
/// A body beyond this is not made longer still.
const BODY_MAX: usize = 4 << 20;

/// An endless source of requests. The same seed gives the same requests while the answers are the same.
#[derive(Debug)]
pub struct Mutator {
    rng: Rng,
    templates: Vec<Request>,
    tokens: Vec<String>,
}

impl Mutator {
    pub fn new(rng: Rng, corpus: Vec<Scenario>) -> Self {
        let mut templates = Vec::new();
        for (index, scenario) in corpus.iter().enumerate() {
            let namespace = NAMESPACES[index % NAMESPACES.len()];
            let texts =
                BTreeMap::from([("ns".to_owned(), namespace.to_owned()), ("i".to_owned(), "1".to_owned())]);
            for step in scenario.steps.iter().filter(|step| !step.method.is_empty()) {
                let uri = substitute(&step.path, &texts);
                let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
                let mut headers: Vec<(String, Vec<u8>)> = step
                    .headers
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
                    .collect();
                headers.push(("user-agent".to_owned(), b"fuzz/1".to_vec()));
                templates.push(Request {
                    method: step.method.clone(),
                    path: path.to_owned(),
                    query: query.to_owned(),
                    headers,
                    body: substitute(&step.body, &texts).into_bytes(),
                });
            }
        }
        Self { rng, templates, tokens: vec!["1".to_owned()] }
    }

    /// Remembers what only a server can make.
    pub fn learn(&mut self, exchange: &Exchange) {
        let Outcome::Answered(answer) = &exchange.outcome else { return };
        let Ok(text) = std::str::from_utf8(&answer.body) else { return };
        for mark in ["\"continue\":\"", "\"resourceVersion\":\"", "\"uid\":\""] {
            let found = text
                .split(mark)
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .filter(|found| !found.is_empty());
            let Some(found) = found else { continue };
            if self.tokens.len() < TOKENS_MAX {
                self.tokens.push(found.to_owned());
            } else {
                let index = self.rng.usize(..TOKENS_MAX);
                self.tokens[index] = found.to_owned();
            }
        }
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        let mut request = self.templates[self.rng.usize(..self.templates.len())].clone();
        self.fill(&mut request);
        // Some go as they are, so that there is something for the others to work on.
        for _ in 0..self.rng.usize(..5) {
            match self.rng.u8(..21) {
                20 => self.speak_protobuf(&mut request),
                0 => request.method = self.pick(&METHODS),
                1..=2 => self.change_path(&mut request),
                3..=7 => self.change_query(&mut request),
                8..=9 => self.change_headers(&mut request),
                10 => self.change_bytes(&mut request.body),
                11 => self.swap_body(&mut request),
                _ => self.change_body(&mut request),
            }
        }
        request
    }

    /// Captured values of the corpus become values of other answers.
    fn fill(&mut self, request: &mut Request) {
        for text in [&mut request.path, &mut request.query] {
            while let Some((before, after)) = text.split_once("{{")
                && let Some((_, rest)) = after.split_once("}}")
            {
                *text =
                    format!("{before}{}{rest}", encoded(&self.tokens[self.rng.usize(..self.tokens.len())]));
            }
        }
        let Ok(mut body) = String::from_utf8(std::mem::take(&mut request.body)) else { return };
        let mut at = 0;
        while let Some(start) = body[at..].find("{{").map(|found| at + found) {
            let rest = &body[start + 2..];
            let name = rest.split("}}").next().unwrap_or_default();
            if name.len() < rest.len()
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
            {
                let end = start + name.len() + 4;
                let token = self.tokens[self.rng.usize(..self.tokens.len())].clone();
                body.replace_range(start..end, &token);
            }
            at = (start + 1).min(body.len());
            while !body.is_char_boundary(at) {
                at += 1;
            }
        }
        request.body = body.into_bytes();
    }

    fn pick(&mut self, words: &[&str]) -> String {
        words[self.rng.usize(..words.len())].to_owned()
    }

    /// A text that somebody may have trouble with.
    fn text(&mut self) -> String {
        match self.rng.u8(..10) {
            0 => self.pick(&["a", "0", "é", "-", "/", "\u{1F980}"]).repeat(1 << self.rng.usize(..15)),
            1 => self.tokens[self.rng.usize(..self.tokens.len())].clone(),
            _ => self.pick(&TEXTS),
        }
    }

    fn change_path(&mut self, request: &mut Request) {
        let mut segments: Vec<String> = request.path.split('/').map(str::to_owned).collect();
        let index = self.rng.usize(..segments.len());
        match self.rng.u8(..7) {
            0 => segments.push(self.pick(&SEGMENTS)),
            1 if segments.len() > 1 => drop(segments.remove(index)),
            2 => segments.insert(index, self.pick(&SEGMENTS)),
            3 => segments[index] = encoded(&self.text()),
            4 => segments[index]
                .push_str(&self.pick(&["%00", "%2F", "%ff", "%", "%zz", "..", "é", " ", ":", "%25"])),
            5 => segments[index] = segments[index].to_uppercase(),
            _ => segments[index] = self.pick(&SEGMENTS),
        }
        request.path = segments.join("/");
        if !request.path.starts_with('/') && self.rng.bool() {
            request.path.insert(0, '/');
        }
    }

    fn change_query(&mut self, request: &mut Request) {
        let name = QUERIES[self.rng.usize(..QUERIES.len())];
        let (name, values) = name;
        let value = match self.rng.u8(..4) {
            0 => encoded(&self.text()),
            1 if !request.query.is_empty() => {
                let mut bytes = std::mem::take(&mut request.query).into_bytes();
                self.change_bytes(&mut bytes);
                request.query = String::from_utf8_lossy(&bytes).into_owned();
                return;
            }
            2 if name == "continue" || name == "resourceVersion" => {
                let index = self.rng.usize(..self.tokens.len());
                let mut bytes = self.tokens[index].clone().into_bytes();
                if self.rng.bool() {
                    self.change_bytes(&mut bytes);
                }
                encoded(&String::from_utf8_lossy(&bytes))
            }
            _ => encoded(&self.pick(values)),
        };
        if !request.query.is_empty() {
            request.query.push('&');
        }
        request.query.push_str(&format!("{name}={value}"));
    }

    fn change_headers(&mut self, request: &mut Request) {
        let (name, value) = match self.rng.u8(..6) {
            0..=1 => ("accept", self.pick(&ACCEPTS)),
            2..=3 => ("content-type", self.pick(&CONTENT_TYPES)),
            4 => (
                [
                    "user-agent",
                    "accept-encoding",
                    "range",
                    "if-match",
                    "if-none-match",
                    "content-length",
                    "expect",
                ][self.rng.usize(..7)],
                self.text(),
            ),
            _ => {
                if !request.headers.is_empty() {
                    let index = self.rng.usize(..request.headers.len());
                    let mut value = std::mem::take(&mut request.headers[index].1);
                    self.change_bytes(&mut value);
                    request.headers[index].1 = value;
                }
                return;
            }
        };
        request.headers.retain(|(own, _)| own != name);
        request.headers.push((name.to_owned(), value.into_bytes()));
    }

    fn change_body(&mut self, request: &mut Request) {
        if request.body.len() > BODY_MAX {
            return;
        }
        match serde_json::from_slice(&request.body) {
            Ok(value) => request.body = json::changed(&mut self.rng, value, &self.tokens),
            Err(_) => self.change_text(&mut request.body),
        }
    }

    /// Another request's body, which is of another kind as often as not.
    fn swap_body(&mut self, request: &mut Request) {
        let mut other = self.templates[self.rng.usize(..self.templates.len())].clone();
        self.fill(&mut other);
        request.body = other.body;
    }

    /// The same to the same place, or to where most of it is understood.
    fn speak_protobuf(&mut self, request: &mut Request) {
        const PLACES: [&str; 5] = [
            "/api/v1/namespaces",
            "/api/v1/namespaces/fuzz-a/configmaps",
            "/api/v1/namespaces/fuzz-a/secrets",
            "/api/v1/namespaces/fuzz-a/events",
            "/apis/coordination.k8s.io/v1/namespaces/fuzz-a/leases",
        ];
        request.body = protobuf::body(&mut self.rng);
        if self.rng.u8(..4) == 0 {
            self.change_bytes(&mut request.body);
        }
        request.headers.retain(|(name, _)| name != "content-type");
        request.headers.push(("content-type".to_owned(), b"application/vnd.kubernetes.protobuf".to_vec()));
        if self.rng.bool() {
            (request.method, request.path) = ("POST".to_owned(), self.pick(&PLACES));
        }
    }

    /// YAML, or JSON that is none any more.
    fn change_text(&mut self, body: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(body).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let index = self.rng.usize(..lines.len().max(1));
        let odd = self.pick(&words::YAML);
        match self.rng.u8(..4) {
            0 if !lines.is_empty() => lines.insert(index, odd),
            1 if !lines.is_empty() => lines[index].push_str(&odd),
            2 if !lines.is_empty() => {
                let copy = lines[index].clone();
                lines.insert(index, copy);
            }
            _ => return self.change_bytes(body),
        }
        *body = lines.join("\n").into_bytes();
    }

    fn change_bytes(&mut self, bytes: &mut Vec<u8>) {
        let index = self.rng.usize(..bytes.len().max(1));
        match self.rng.u8(..6) {
            0 => bytes.truncate(index),
            1 if !bytes.is_empty() => bytes[index] ^= 1 << self.rng.u8(..8),
            2 if !bytes.is_empty() => bytes[index] = self.rng.u8(..),
            3 if !bytes.is_empty() => drop(bytes.remove(index)),
            4 if bytes.len() < BODY_MAX => {
                let copy = bytes[index..].to_vec();
                bytes.extend(copy);
            }
            _ => {
                let odd = self.text();
                let at = index.min(bytes.len());
                bytes.splice(at..at, odd.into_bytes());
            }
        }
    }
}

/// As it stands in a URL.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~:,=!()".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

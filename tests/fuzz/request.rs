//! A request as it is sent, and what came of it.

use std::fmt;
use std::time::Duration;

/// One request. Printed, it can be sent again by hand.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Before the `?`.
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What the API did with a request.
#[derive(Debug)]
pub struct Exchange {
    pub request: Request,
    pub time: Duration,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// No HTTP library would send or take this.
    NotHttp,
    Answered(Answer),
    /// The task that answered has panicked, or the body broke off.
    Broken(String),
    Late,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
    /// A watch that goes on: only its first lines were read.
    pub is_open: bool,
}

impl Request {
    pub fn uri(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4000;
        writeln!(f, "{} {}", self.method, self.uri())?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {}", value.escape_ascii())?;
        }
        let shown = &self.body[..self.body.len().min(SHOWN)];
        match std::str::from_utf8(shown) {
            Ok(text) => writeln!(f, "\n{text}")?,
            Err(_) => writeln!(f, "\nb\"{}\"", shown.escape_ascii())?,
        }
        if self.body.len() > SHOWN {
            writeln!(f, "… {} bytes in all", self.body.len())?;
        }
        Ok(())
    }
}

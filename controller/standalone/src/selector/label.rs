//! Label selectors: `a=b,c!=d,e in (x,y),!f,g notin (z),h,i>3`. The kube crate has a type for them but no reader of the text, and
//! this crate does not depend on it; the grammar and its odd corners are those of `k8s.io/apimachinery/pkg/labels`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::meta::cause::quote;
use crate::meta::names;
use crate::status::ApiError;

use super::MAX_LENGTH;

/// What an object's labels must satisfy: all of the requirements.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(BTreeSet<String>),
    /// Also satisfied when the label is absent.
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Reads a selector; the empty text selects everything. 400 with the real server's words when it cannot be read.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if text.len() > MAX_LENGTH {
            return Err(ApiError::bad_request(format!(
                "the label selector is longer than {MAX_LENGTH} bytes"
            )));
        }
        let mut parser = Parser { items: scan(text.as_bytes()), next: 0 };
        let requirements = parser.selector().map_err(ApiError::bad_request)?;
        Ok(Self { requirements })
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these `metadata.labels` is selected.
    pub fn matches_map(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.requirements.iter().all(|requirement| {
            let label = labels.and_then(|labels| labels.get(&requirement.key)).and_then(Value::as_str);
            requirement.test.holds(label)
        })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Greater(bound) => number().is_some_and(|number| number > *bound),
            Self::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    End,
    Close,
    Comma,
    Not,
    Equal,
    Greater,
    Word,
    In,
    Less,
    NotEqual,
    NotIn,
    Open,
}

fn symbol(text: &[u8]) -> Option<Token> {
    Some(match text {
        b")" => Token::Close,
        b"," => Token::Comma,
        b"!" => Token::Not,
        b"=" | b"==" => Token::Equal,
        b">" => Token::Greater,
        b"<" => Token::Less,
        b"!=" => Token::NotEqual,
        b"(" => Token::Open,
        _ => return None,
    })
}

fn is_symbol(byte: u8) -> bool {
    b"=!(),><".contains(&byte)
}

fn is_space(byte: u8) -> bool {
    b" \t\r\n".contains(&byte)
}

/// Cuts the text into words and symbols. A NUL ends a word, and ends everything where a word would begin, as in the real one.
fn scan(text: &[u8]) -> Vec<(Token, String)> {
    let mut items = Vec::new();
    let mut rest = text;
    loop {
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = rest.get(spaces..).unwrap_or_default();
        let (token, length, skip) = match rest.first() {
            None | Some(0) => break,
            Some(byte) if is_symbol(*byte) => {
                let run = rest.iter().take_while(|byte| is_symbol(**byte)).count();
                let longest =
                    (1..=run.min(2)).rev().find_map(|length| Some((symbol(rest.get(..length)?)?, length)));
                // Each symbol is a token alone.
                let (token, length) = longest.unwrap_or((Token::Comma, 1));
                (token, length, length)
            }
            Some(_) => {
                let length = rest
                    .iter()
                    .take_while(|byte| !is_symbol(**byte) && !is_space(**byte) && **byte != 0)
                    .count();
                let token = match rest.get(..length) {
                    Some(b"in") => Token::In,
                    Some(b"notin") => Token::NotIn,
                    _ => Token::Word,
                };
                (token, length, length + usize::from(rest.get(length) == Some(&0)))
            }
        };
        items.push((token, String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned()));
        rest = rest.get(skip..).unwrap_or_default();
    }
    items
}

struct Parser {
    items: Vec<(Token, String)>,
    next: usize,
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a grammar names what it takes and refuses every other token"
)]
impl Parser {
    /// The next item, left where it is; `in` and `notin` are words here.
    fn peek(&self) -> (Token, String) {
        match self.items.get(self.next).cloned() {
            Some((Token::In | Token::NotIn, text)) => (Token::Word, text),
            Some(item) => item,
            None => (Token::End, String::new()),
        }
    }

    fn take(&mut self) -> (Token, String) {
        let item = self.peek();
        self.next = self.next.saturating_add(1);
        item
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            let (token, text) = self.peek();
            match token {
                Token::Word | Token::Not => {}
                Token::End => return Ok(requirements),
                _ => return Err(format!("found '{text}', expected: !, identifier, or 'end of string'")),
            }
            let requirement =
                self.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
            requirements.push(requirement);
            match self.take() {
                (Token::End, _) => return Ok(requirements),
                (Token::Comma, _) => {
                    let (token, text) = self.peek();
                    if !matches!(token, Token::Word | Token::Not) {
                        return Err(format!("found '{text}', expected: identifier after ','"));
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut key) = self.take();
        let absent = token == Token::Not;
        if absent {
            (token, key) = self.take();
        }
        if token != Token::Word {
            return Err(format!("found '{key}', expected: identifier"));
        }
        check("<nil>", &key, names::qualified(&key))?;
        if absent {
            return Ok(Requirement { key, test: Test::Absent });
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(Requirement { key, test: Test::Exists });
        }
        let (operator, text) = self.items.get(self.next).cloned().unwrap_or((Token::End, String::new()));
        self.next = self.next.saturating_add(1);
        let values = match operator {
            Token::In | Token::NotIn => self.values()?,
            Token::Equal | Token::NotEqual | Token::Greater | Token::Less => BTreeSet::from([self.value()?]),
            _ => return Err(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let test = match operator {
            Token::Greater => Test::Greater(bound(&values)?),
            Token::Less => Test::Less(bound(&values)?),
            Token::NotIn | Token::NotEqual => Test::NotIn(values),
            _ => Test::In(values),
        };
        if let Test::In(values) | Test::NotIn(values) = &test {
            let faults = values.iter().enumerate();
            let faults = faults.filter_map(|(at, value)| {
                check(&format!("values[{at}][{key}]"), value, names::label_value(value)).err()
            });
            match faults.collect::<Vec<_>>().as_slice() {
                [] => {}
                [one] => return Err(one.clone()),
                many => return Err(format!("[{}]", many.join(", "))),
            }
        }
        Ok(Requirement { key, test })
    }

    /// The one value after `=`; nothing stands for the empty one.
    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take() {
            (Token::Word, text) => Ok(text),
            (_, text) => Err(format!("found '{text}', expected: identifier")),
        }
    }

    /// The values between parentheses.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let (token, text) = self.take();
        if token != Token::Open {
            return Err(format!("found '{text}' expected: '('"));
        }
        match self.peek() {
            (Token::Word | Token::Comma, _) => {}
            (Token::Close, _) => {
                self.take();
                return Ok(BTreeSet::from([String::new()]));
            }
            (_, text) => return Err(format!("found '{text}', expected: ',', ')' or identifier")),
        }
        let mut values = BTreeSet::new();
        loop {
            match self.take() {
                (Token::Word, text) => {
                    values.insert(text);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, text) => return Err(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    let next = self.peek().0;
                    if values.is_empty() || matches!(next, Token::Comma | Token::Close) {
                        values.insert(String::new());
                    }
                    if next == Token::Close {
                        break;
                    }
                }
                (_, text) => return Err(format!("found '{text}', expected: ',', or identifier")),
            }
        }
        self.take();
        Ok(values)
    }
}

fn bound(values: &BTreeSet<String>) -> Result<i64, String> {
    let text = values.first().map(String::as_str).unwrap_or_default();
    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
    text.parse().map_err(|_| format!("values[0]: Invalid value: {}: {detail}", quote(text)))
}

fn check(path: &str, value: &str, faults: Vec<String>) -> Result<(), String> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("{path}: Invalid value: {}: {}", quote(value), faults.join("; ")))
}

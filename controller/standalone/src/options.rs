//! The options of a request: its query and, for a delete, its body. Read and checked once, before anything else is done; what a
//! verb does not know it ignores, as the real server does.

mod delete;

use serde_json::Value;

use crate::meta::cause::{forbidden, not_supported, quote, refusal, required};
use crate::meta::field_manager;
use crate::selector::{FieldSelector, LabelSelector, SelectableFields};
use crate::status::{ApiError, Cause};

pub use delete::{Delete, Propagation};

/// The most pairs of a query that are looked at: a request has a dozen.
const MAX_PAIRS: usize = 1_000;

/// What happens to fields that the kind does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    Ignore,
    /// They are dropped, and the answer has a warning for each.
    #[default]
    Warn,
    Strict,
}

/// Options of a get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Get {
    /// Not older than this, a number; empty: the newest.
    pub resource_version: String,
}

/// Options of a list or a watch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    pub watch: bool,
    pub allow_bookmarks: bool,
    /// A number; empty: the newest.
    pub resource_version: String,
    pub resource_version_match: Option<VersionMatch>,
    /// How long a watch lasts. None, or not above 0: as long as the server likes.
    pub timeout_seconds: Option<i64>,
    /// The most items of one page. None: all of them.
    pub limit: Option<u64>,
    /// The token of the page before; empty: the first page.
    pub continue_token: String,
    pub send_initial_events: Option<bool>,
}

/// `resourceVersionMatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// Options of a create or an update.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Create {
    pub dry_run: bool,
    /// Empty: not given.
    pub field_manager: String,
    pub field_validation: FieldValidation,
}

/// Options of a patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    pub dry_run: bool,
    /// Empty: not given, which no apply is.
    pub field_manager: String,
    pub field_validation: FieldValidation,
    /// An apply takes fields from other managers.
    pub force: bool,
}

/// Whether a list is to be a watch, which has to be known before anything else is.
pub fn asks_for_watch(query: &str) -> bool {
    Query::read(query).flag("watch").unwrap_or(false)
}

impl Get {
    /// Reads the query of a get.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let query = Query::read(query);
        let version = query.text("resourceVersion");
        check_revision(version).map_err(|fault| ApiError::new(500, "", fault))?;
        Ok(Self { resource_version: version.to_owned() })
    }
}

impl List {
    /// Reads the query of a list or a watch of a kind that can be selected by `fields`.
    pub fn parse(query: &str, fields: &SelectableFields) -> Result<Self, ApiError> {
        let query = Query::read(query);
        let timeout_seconds = query.integer("timeoutSeconds")?;
        let limit = query.integer("limit")?.and_then(|limit| u64::try_from(limit).ok());
        let labels = LabelSelector::parse(query.text("labelSelector"))?;
        FieldSelector::check_form(query.text("fieldSelector"))?;
        let watch = query.flag("watch").unwrap_or(false);
        refuse("ListOptions", if watch { watch_faults(&query) } else { list_faults(&query) })?;
        let fields = FieldSelector::parse(query.text("fieldSelector"), fields)?;
        let version = query.text("resourceVersion");
        check_revision(version).map_err(|fault| {
            if watch {
                ApiError::new(500, "", fault)
            } else {
                ApiError::bad_request(format!("invalid resource version: {fault}"))
            }
        })?;
        Ok(Self {
            labels,
            fields,
            watch,
            allow_bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            resource_version: version.to_owned(),
            resource_version_match: match query.text("resourceVersionMatch") {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            timeout_seconds,
            limit: limit.filter(|limit| *limit > 0),
            continue_token: query.text("continue").to_owned(),
            send_initial_events: query.flag("sendInitialEvents"),
        })
    }
}

const MATCH: &str = "resourceVersionMatch";
const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

fn watch_faults(query: &Query) -> Vec<Cause> {
    let version_match = query.text(MATCH);
    let initial_events = query.first("sendInitialEvents").is_some();
    let not_older = version_match == "NotOlderThan";
    let mut causes = Vec::new();
    if initial_events && !not_older {
        causes.push(forbidden(
            MATCH,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if version_match.is_empty() {
        return causes;
    }
    if !initial_events {
        let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(forbidden(MATCH, detail));
    }
    if !not_older {
        causes.push(not_supported(MATCH, quote(version_match), &["NotOlderThan"]));
    }
    if !query.text("continue").is_empty() {
        causes.push(forbidden(MATCH, WITH_CONTINUE));
    }
    causes
}

fn list_faults(query: &Query) -> Vec<Cause> {
    let (version_match, version) = (query.text(MATCH), query.text("resourceVersion"));
    let mut causes = Vec::new();
    if !version_match.is_empty() {
        if version.is_empty() {
            causes.push(forbidden(
                MATCH,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !query.text("continue").is_empty() {
            causes.push(forbidden(MATCH, WITH_CONTINUE));
        }
        if !matches!(version_match, "Exact" | "NotOlderThan") {
            causes.push(not_supported(MATCH, quote(version_match), &["Exact", "NotOlderThan", ""]));
        }
        if version_match == "Exact" && version == "0" {
            let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            causes.push(forbidden(MATCH, detail));
        }
    }
    if query.first("sendInitialEvents").is_some() {
        causes.push(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"));
    }
    causes
}

impl Create {
    /// Reads the query of a create.
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        Self::parse_as(query, "CreateOptions")
    }

    /// Reads the query of an update.
    pub fn parse_update(query: &str) -> Result<Self, ApiError> {
        Self::parse_as(query, "UpdateOptions")
    }

    fn parse_as(query: &str, kind: &str) -> Result<Self, ApiError> {
        let query = Query::read(query);
        refuse(kind, query.write_faults())?;
        Ok(Self {
            dry_run: query.dry_run(),
            field_manager: query.text("fieldManager").to_owned(),
            field_validation: query.field_validation(),
        })
    }
}

impl Patch {
    /// Reads the query of a patch; `apply`: of a server-side apply.
    pub fn parse(query: &str, apply: bool) -> Result<Self, ApiError> {
        let query = Query::read(query);
        let force = query.flag("force");
        let mut causes = Vec::new();
        if apply && query.text("fieldManager").is_empty() {
            causes.push(required("fieldManager", "is required for apply patch"));
        }
        if !apply && force.is_some() {
            causes.push(forbidden("force", "may not be specified for non-apply patch"));
        }
        causes.extend(query.write_faults());
        refuse("PatchOptions", causes)?;
        Ok(Self {
            dry_run: query.dry_run(),
            field_manager: query.text("fieldManager").to_owned(),
            field_validation: query.field_validation(),
            force: force.unwrap_or(false),
        })
    }
}

fn refuse(kind: &str, causes: Vec<Cause>) -> Result<(), ApiError> {
    if causes.is_empty() { Ok(()) } else { Err(refusal("meta.k8s.io", kind, "", causes)) }
}

fn dry_run_faults(values: &[String]) -> Option<Cause> {
    let known = values.iter().all(|value| value == "All");
    (!known).then(|| not_supported("dryRun", Value::from(values), &["All"]))
}

/// The decoded pairs of a query.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| is_decodable(pair)).take(MAX_PAIRS);
        let pairs = pairs.flat_map(|pair| form_urlencoded::parse(pair.as_bytes()));
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// The first value of that name.
    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn text(&self, name: &str) -> &str {
        self.first(name).unwrap_or_default()
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
    }

    /// Everything but `0` and `false` is true, also nothing.
    fn flag(&self, name: &str) -> Option<bool> {
        self.first(name).map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.first(name).map(integer).transpose()
    }

    fn dry_run(&self) -> bool {
        self.first("dryRun").is_some()
    }

    fn field_validation(&self) -> FieldValidation {
        match self.text("fieldValidation") {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            _ => FieldValidation::Warn,
        }
    }

    /// What is wrong with the options that every write has.
    fn write_faults(&self) -> Vec<Cause> {
        let mut causes = field_manager(self.text("fieldManager"), "fieldManager");
        causes.extend(dry_run_faults(&self.all("dryRun")));
        let validation = self.text("fieldValidation");
        if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
            causes.push(not_supported(
                "fieldValidation",
                quote(validation),
                &["", "Ignore", "Strict", "Warn"],
            ));
        }
        causes
    }
}

/// Go drops a pair with a broken escape or a semicolon.
fn is_decodable(pair: &str) -> bool {
    let mut parts = pair.split('%');
    parts.next();
    !pair.contains(';') && parts.all(|part| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
}

fn integer(text: &str) -> Result<i64, ApiError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    text.parse().map_err(|_| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let why = if is_number { "value out of range" } else { "invalid syntax" };
        ApiError::bad_request(format!("strconv.ParseInt: parsing {}: {why}", quote(text)))
    })
}

/// A resourceVersion is a number, or empty.
fn check_revision(text: &str) -> Result<(), String> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || (is_number && text.parse::<u64>().is_ok()) {
        return Ok(());
    }
    let text = quote(text);
    let why = if is_number { "value out of range" } else { "invalid syntax" };
    Err(format!("resourceVersion: Invalid value: {text}: strconv.ParseUint: parsing {text}: {why}"))
}

#[cfg(test)]
mod tests;

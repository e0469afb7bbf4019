//! Which app is meant, as people say it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use skerry_terms::AppKey;

/// The namespace of an app that is named without one, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

/// `APP` or `NAMESPACE/APP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AppName {
    namespace: Option<String>,
    name: String,
}

impl FromStr for AppName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        // The namespace is checked with the name.
        AppKey::new(namespace.unwrap_or(DEFAULT_NAMESPACE), name).map_err(|error| error.to_string())?;
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl AppName {
    /// The key among these `namespace/name`s: as it is said, else in the default namespace, else the only one of the name.
    pub fn among<'a>(&self, keys: impl Iterator<Item = &'a str> + Clone) -> Result<String, String> {
        let exact = format!("{}/{}", self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE), self.name);
        if keys.clone().any(|key| key == exact) {
            return Ok(exact);
        }
        let of_name = |key: &&str| key.split_once('/').is_some_and(|(_, name)| name == self.name);
        let alike: Vec<&str> = keys.clone().filter(of_name).collect();
        match (&self.namespace, alike.as_slice()) {
            (None, [one]) => Ok((*one).to_owned()),
            (None, [_, _, ..]) => {
                Err(format!("several namespaces have an app {}: say {}", self.name, alike.join(" or ")))
            }
            (Some(_), _) | (None, []) => {
                let all: Vec<&str> = keys.collect();
                let there = match all.is_empty() {
                    true => "there are none".to_owned(),
                    false => format!("there are {}", all.join(", ")),
                };
                Err(format!("no app {self} on this box; {there}"))
            }
        }
    }
}

/// `90s`, `10m`, `1h30m`, `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write it such as 90s, 10m, 1h30m, 2d");
    let mut seconds = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(at);
        let unit = match after.as_bytes()[0] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 24 * 3600,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        seconds = number.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
        rest = &after[1..];
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_found_as_people_name_it() {
        let keys = ["default/web", "plant/db", "plant/web", "site/cam", "test/cam"];
        let find = |name: &str| name.parse::<AppName>().expect("a name").among(keys.into_iter());
        assert_eq!(find("web"), Ok("default/web".to_owned()));
        assert_eq!(find("plant/web"), Ok("plant/web".to_owned()));
        assert_eq!(find("db"), Ok("plant/db".to_owned()));
        assert_eq!(
            find("cam").expect_err("two"),
            "several namespaces have an app cam: say site/cam or test/cam"
        );
        assert!(
            find("site/db").expect_err("none").contains("no app site/db on this box; there are default/web")
        );
        assert!("A_b".parse::<AppName>().is_err());
    }

    #[test]
    fn durations_are_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "m", "1x", "-1m", "99999999999999999999s", "9999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}

//! The formats that a real server knows in a CRD, as kube-openapi's `strfmt` reads them. All others are ignored, as there.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

/// A format that is enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    /// As the schema writes it, which is how errors name it.
    pub(super) name: String,
    text: Option<TextFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextFormat {
    DateTime,
    Date,
    Duration,
    Byte,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    Uuid,
    Uri,
    Email,
    Hostname,
    HexColor,
    ShortName,
    LongName,
    Password,
}

impl Format {
    /// None: not a format of these types.
    pub(super) fn of(name: &str, types: &[String]) -> Option<Self> {
        let own = match types {
            [] => "string",
            [one] => one.as_str(),
            // An int-or-string has no single type, and so its format is read as that of a string.
            _ => "string",
        };
        let text = match own {
            "integer" => {
                return matches!(name, "int32" | "int64").then(|| Self { name: name.to_owned(), text: None });
            }
            "number" => {
                return matches!(name, "float" | "double")
                    .then(|| Self { name: name.to_owned(), text: None });
            }
            "string" => match name.replace('-', "").as_str() {
                "datetime" => TextFormat::DateTime,
                "date" => TextFormat::Date,
                "duration" => TextFormat::Duration,
                "byte" => TextFormat::Byte,
                "ipv4" => TextFormat::Ipv4,
                "ipv6" => TextFormat::Ipv6,
                "cidr" => TextFormat::Cidr,
                "mac" => TextFormat::Mac,
                "uuid" => TextFormat::Uuid,
                "uri" => TextFormat::Uri,
                "email" => TextFormat::Email,
                "hostname" => TextFormat::Hostname,
                "hexcolor" => TextFormat::HexColor,
                "k8sshortname" => TextFormat::ShortName,
                "k8slongname" => TextFormat::LongName,
                "password" => TextFormat::Password,
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { name: name.to_owned(), text: Some(text) })
    }

    pub(super) fn is_of_strings(&self) -> bool {
        self.text.is_some()
    }

    pub(super) fn accepts(&self, text: &str) -> bool {
        let Some(format) = self.text else { return true };
        match format {
            TextFormat::DateTime => is_date_time(text),
            TextFormat::Date => is_date(text),
            TextFormat::Duration => is_duration(text),
            TextFormat::Byte => is_base64(text),
            TextFormat::Ipv4 => {
                matches!(text.parse(), Ok(IpAddr::V4(_)))
                    || (text.contains('.') && text.parse::<Ipv6Addr>().is_ok())
            }
            TextFormat::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            TextFormat::Cidr => is_cidr(text),
            TextFormat::Mac => MAC.is_match(text),
            TextFormat::Uuid => UUID.is_match(text),
            TextFormat::Uri => is_uri(text),
            TextFormat::Email => EMAIL.is_match(text),
            TextFormat::Hostname => {
                text.len() <= 255 && HOSTNAME.is_match(text) && text.split('.').all(|part| part.len() <= 63)
            }
            TextFormat::HexColor => HEX_COLOR.is_match(text),
            TextFormat::ShortName => text.len() <= 63 && is_name(text),
            TextFormat::LongName => text.len() <= 253 && text.split('.').all(is_name),
            TextFormat::Password => true,
        }
    }
}

#[expect(clippy::expect_used, reason = "the pattern is a constant and a test compiles it")]
fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern compiles")
}

static TIME: LazyLock<Regex> =
    LazyLock::new(|| constant(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$"));
static DURATION: LazyLock<Regex> =
    LazyLock::new(|| constant(r"^[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"));
static LONG_DURATION: LazyLock<Regex> = LazyLock::new(|| {
    constant(r"(?i)([0-9]+)\s*(ns|nano|us|µs|micro|ms|milli|s|sec|m|min|h|hr|hour|d|day|w|wk|week)")
});
static MAC: LazyLock<Regex> = LazyLock::new(|| {
    constant(
        r"(?i)^(([0-9a-f]{2}([:-][0-9a-f]{2}){5}([:-][0-9a-f]{2}){0,2})|([0-9a-f]{4}(\.[0-9a-f]{4}){2,3}))$",
    )
});
static UUID: LazyLock<Regex> =
    LazyLock::new(|| constant(r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$"));
static EMAIL: LazyLock<Regex> = LazyLock::new(|| constant(r"^([^<>@]*<)?[^\s<>@,;]+@[^\s<>@,;]+>?$"));
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    constant(
        r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$",
    )
});
static HEX_COLOR: LazyLock<Regex> = LazyLock::new(|| constant(r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$"));
static NAME: LazyLock<Regex> = LazyLock::new(|| constant(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"));

fn is_name(text: &str) -> bool {
    NAME.is_match(text)
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.as_bytes().get(4) == Some(&b'-') && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    let Some(found) = TIME.captures(time) else { return false };
    let part = |at: usize| found.get(at).map_or("", |part| part.as_str());
    is_date(date) && part(1) <= "23" && part(2) <= "59" && part(3) <= "59"
}

fn is_duration(text: &str) -> bool {
    text == "0" || DURATION.is_match(text) || LONG_DURATION.is_match(text)
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|digit| digit.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// What Go's `url.ParseRequestURI` takes, as far as it matters: an absolute path or a scheme, without white space or control letters.
fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    });
    (text.starts_with('/') || scheme) && !text.chars().any(|letter| letter.is_control() || letter == ' ')
}

//! Kubernetes' quantities, such as `500m` and `128Mi`. The published crate for them brings a parser framework and a
//! decimal library along; the grammar is one number and one suffix.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Digits before the point of an amount in units or less: those of 2^64 - 1, more than Kubernetes counts to.
const WHOLE_MAX: usize = 20;
/// Digits before the point of thousands to billions and before an exponent of one digit: no more than 10^20 units.
const WHOLE_OF_MANY_MAX: usize = 11;
/// Digits before the point of anything larger: no more than 10^20 units.
const WHOLE_OF_MOST_MAX: usize = 2;
/// Digits after the point: an amount's smallest part is a billionth of a billionth.
const FRACTION_MAX: usize = 9;

macro_rules! number {
    ($whole:literal) => {
        concat!("([0-9]{1,", $whole, "}([.][0-9]{0,9})?|[.][0-9]{1,9})")
    };
}

/// Kubernetes' grammar without a sign, since no quantity of ours can be negative, and with bounds: two amounts of at most 10^20 units in
/// parts of 10^-18 compare in 128 bits, which is what the rules of the schema have. It stands in those rules as well, which run
/// on what the schema refuses, and so has neither quotes nor backslashes.
pub(crate) const PATTERN: &str = concat!(
    "^(",
    number!(20),
    "[num]?|",
    number!(11),
    "([kMG]|[KMG]i|[eE][+-]?0?[0-9])|",
    number!(2),
    "([TPE]i?|[eE][+]?1[0-8]))$"
);
/// Longest text of a quantity.
const LENGTH_MAX: usize = 32;

/// An amount, as the user wrote it: a number with an optional suffix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

/// A text that is not a quantity, or one that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is not a quantity, such as 500m, 2 or 128Mi")]
    Shape(String),
    #[error("{0} is too large")]
    TooLarge(String),
    #[error("{0} is too fine: it may have 9 digits after the point, and no exponent below -9")]
    TooFine(String),
}

impl Quantity {
    /// The amount in whole units, such as bytes; fractions are rounded up as Kubernetes does.
    pub fn units(&self) -> Result<u64, QuantityError> {
        self.scaled(0)
    }

    /// The amount in thousandths, such as millicores; smaller fractions are rounded up.
    pub fn millis(&self) -> Result<u64, QuantityError> {
        self.scaled(3)
    }

    /// The amount times 10^`digits`, rounded up.
    fn scaled(&self, digits: i32) -> Result<u64, QuantityError> {
        let (mantissa, ten, two) = self.parse()?;
        let too_large = || QuantityError::TooLarge(self.0.clone());
        let power = |base: u128, exponent: i32| {
            u32::try_from(exponent).ok().and_then(|e| base.checked_pow(e)).ok_or_else(too_large)
        };
        let value = mantissa.checked_mul(power(2, two)?).ok_or_else(too_large)?;
        let ten = ten.saturating_add(digits);
        let value = if ten >= 0 {
            value.checked_mul(power(10, if value == 0 { 0 } else { ten })?).ok_or_else(too_large)?
        } else if ten < -38 {
            u128::from(value > 0)
        } else {
            value.div_ceil(power(10, -ten)?)
        };
        u64::try_from(value).map_err(|_| too_large())
    }

    /// Mantissa, power of ten and power of two.
    fn parse(&self) -> Result<(u128, i32, i32), QuantityError> {
        let text = self.0.as_str();
        let shape = || QuantityError::Shape(text.chars().take(LENGTH_MAX).collect());
        if text.len() > LENGTH_MAX {
            return Err(shape());
        }
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(shape());
        }
        let (ten, two) = match suffix {
            "n" => (-9, 0),
            "u" => (-6, 0),
            "m" => (-3, 0),
            "" => (0, 0),
            "k" => (3, 0),
            "M" => (6, 0),
            "G" => (9, 0),
            "T" => (12, 0),
            "P" => (15, 0),
            "E" => (18, 0),
            "Ki" => (0, 10),
            "Mi" => (0, 20),
            "Gi" => (0, 30),
            "Ti" => (0, 40),
            "Pi" => (0, 50),
            "Ei" => (0, 60),
            exponent => {
                let exponent = exponent.strip_prefix(['e', 'E']).ok_or_else(shape)?;
                let exponent: i16 = exponent.parse().map_err(|_| shape())?;
                (exponent.into(), 0)
            }
        };
        let whole_max = match (suffix, ten, two) {
            ("" | "n" | "u" | "m", _, _) => WHOLE_MAX,
            (_, ..=9, ..=30) => WHOLE_OF_MANY_MAX,
            (_, ..=18, _) => WHOLE_OF_MOST_MAX,
            _ => return Err(QuantityError::TooLarge(text.to_owned())),
        };
        if whole.len() > whole_max {
            return Err(QuantityError::TooLarge(text.to_owned()));
        }
        if fraction.len() > FRACTION_MAX || ten < -9 {
            return Err(QuantityError::TooFine(text.to_owned()));
        }
        let mantissa = format!("{whole}{fraction}").parse().map_err(|_| shape())?;
        let fraction_digits = i32::try_from(fraction.len()).map_err(|_| shape())?;
        Ok((mantissa, ten - fraction_digits, two))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// Users write `cpu: 2` as often as `cpu: "2"`; the API server hands both on as they were.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a quantity is a whole number or a text, such as 2, 500m, \"0.5\" or 128Mi"
        )]
        enum Written {
            Int(u64),
            Text(String),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Int(number) => number.to_string(),
            Written::Text(text) => text,
        }))
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": LENGTH_MAX,
            "pattern": PATTERN,
            "x-kubernetes-int-or-string": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Result<u64, QuantityError> {
        Quantity(text.into()).millis()
    }

    fn units(text: &str) -> Result<u64, QuantityError> {
        Quantity(text.into()).units()
    }

    #[test]
    fn quantities_mean_what_they_mean_in_kubernetes() {
        assert_eq!(millis("500m"), Ok(500));
        assert_eq!(millis("2"), Ok(2000));
        assert_eq!(millis("0.1"), Ok(100));
        assert_eq!(millis(".5"), Ok(500));
        assert_eq!(millis("1u"), Ok(1));
        assert_eq!(units("128Mi"), Ok(128 << 20));
        assert_eq!(units("1.5Gi"), Ok(3 << 29));
        assert_eq!(units("1M"), Ok(1_000_000));
        assert_eq!(units("1e3"), Ok(1000));
        assert_eq!(units("100m"), Ok(1));
        assert_eq!(units("0"), Ok(0));
        assert_eq!(units("8Ei"), Ok(8 << 60));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "x", "-1", "1 Mi", "1mi", "1KI", "..", ".", "1e", "1e99999", "Mi", "1.2.3"] {
            assert!(matches!(units(text), Err(QuantityError::Shape(_))), "{text:?}");
        }
        for text in [
            "16Ei",
            "1e19",
            "1e30",
            "1e300",
            "100E",
            "100Ti",
            "99999999999999999999999999999",
            "99999999999999999999999Ei",
        ] {
            assert!(matches!(units(text), Err(QuantityError::TooLarge(_))), "{text:?}");
        }
        for text in ["1e-10", "0.0000000001", "1e-9999"] {
            assert!(matches!(units(text), Err(QuantityError::TooFine(_))), "{text:?}");
        }
    }

    #[test]
    fn what_the_schema_takes_is_what_can_be_read() {
        let pattern = regex::Regex::new(PATTERN).expect("a pattern");
        let numbers =
            ["0", "1", "100", "0.5", ".5", "5.", "1.123456789", "1.1234567891", ".", "", "-1", "+1"];
        let long = [1, 2, 3, 11, 12, 20, 21].map(|digits| "9".repeat(digits));
        let suffixes = [
            "",
            "n",
            "u",
            "m",
            "k",
            "M",
            "G",
            "T",
            "P",
            "E",
            "Ki",
            "Mi",
            "Gi",
            "Ti",
            "Pi",
            "Ei",
            "K",
            "i",
            "e",
            "e3",
            "E3",
            "e+9",
            "e-9",
            "e-10",
            "e09",
            "e10",
            "e18",
            "e19",
            "e300",
            "e2000000000",
            "e-2000000000",
        ];
        for number in numbers.into_iter().chain(long.iter().map(String::as_str)) {
            for suffix in suffixes {
                let text = format!("{number}{suffix}");
                let fits = text.len() <= LENGTH_MAX && pattern.is_match(&text);
                assert_eq!(fits, Quantity(text.clone()).parse().is_ok(), "{text:?}");
            }
        }
        for text in ["100m", "0.5", "1.5Gi", "128Mi", "1e3", "2E", "2", "1n", "9223372036854775807"] {
            assert!(pattern.is_match(text), "{text}");
        }
    }

    #[test]
    fn numbers_and_texts_are_read_alike() {
        let read = |json: &str| serde_json::from_str::<Quantity>(json).map(|q| q.0).ok();
        assert_eq!(read("2").as_deref(), Some("2"));
        assert_eq!(read("\"2\"").as_deref(), Some("2"));
        assert_eq!(read("-2"), None);
    }
}

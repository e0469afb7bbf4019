//! `metav1.Time` and `metav1.MicroTime`.

use jiff::Timestamp;
use prost::Message;
use serde::{Serialize, Serializer, ser::Error as _};

/// Go's zero time, which a message without fields stands for as well.
const ZERO: i64 = -62_135_596_800;

/// To the second; what is finer is dropped, as in Go.
#[derive(Clone, PartialEq, Message)]
pub struct Time {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    #[prost(int32, optional, tag = "2")]
    nanos: Option<i32>,
}

/// To the microsecond.
#[derive(Clone, PartialEq, Message)]
pub struct MicroTime {
    #[prost(int64, optional, tag = "1")]
    seconds: Option<i64>,
    #[prost(int32, optional, tag = "2")]
    nanos: Option<i32>,
}

impl Time {
    /// What `omitzero` leaves out.
    pub fn is_zero(&self) -> bool {
        (self.seconds.is_none() && self.nanos.is_none()) || self.seconds == Some(ZERO)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if self.is_zero() {
            return out.serialize_none();
        }
        let time = Timestamp::from_second(self.seconds.unwrap_or_default()).map_err(S::Error::custom)?;
        out.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let (seconds, nanos) = (self.seconds.unwrap_or_default(), self.nanos.unwrap_or_default());
        if (self.seconds.is_none() && self.nanos.is_none()) || (seconds, nanos) == (ZERO, 0) {
            return out.serialize_none();
        }
        let time = Timestamp::new(seconds, nanos / 1000 * 1000).map_err(S::Error::custom)?;
        out.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    }
}

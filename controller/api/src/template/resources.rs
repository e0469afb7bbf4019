//! What a container may use and what is kept free for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Quantity;
use crate::quantity::PATTERN;

/// Processor time, in cores.
pub const CPU: &str = "cpu";
/// Memory, in bytes.
pub const MEMORY: &str = "memory";
/// Devices that the box's owner lists in agent.toml: `skerry.dev/<name>`, in whole numbers.
pub const DEVICE_PREFIX: &str = "skerry.dev/";
/// Most resources in one list: cpu, memory and far more kinds of devices than a box has.
const RESOURCES_MAX: usize = 32;

/// What an amount may be, where one is not.
const QUANTITIES: &str = "an amount must be a quantity, such as 500m, 2, 0.5 or 128Mi: not negative, with at most 20 digits before the point (11 with k to Gi or an exponent, 2 with T to Ei or an exponent over 9) and 9 after it, and an exponent of -9 to 18";

/// What a container may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": within_limit(CPU),
        "message": "the cpu request must be less than or equal to the cpu limit",
        "fieldPath": ".requests"
    },
    {
        "rule": within_limit(MEMORY),
        "message": "the memory request must be less than or equal to the memory limit",
        "fieldPath": ".requests"
    }
]))]
pub struct ResourceRequirements {
    /// The most that it may use: cpu in cores (500m, 2), memory in bytes (128Mi; a container that needs more is killed,
    /// OOMKilled), and skerry.dev/NAME for devices that the box's owner lists in agent.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "self.all(k, k == 'cpu' || k == 'memory' || k.startsWith('skerry.dev/'))",
            "message": "resources are cpu, memory and skerry.dev/<device>; Docker cannot limit others, such as ephemeral-storage"
        },
        {
            "rule": each_is_quantity(),
            "message": QUANTITIES
        },
        {
            "rule": at_least(MEMORY, "6Mi"),
            "message": "memory must be at least 6Mi, the smallest limit that Docker accepts"
        },
        {
            "rule": at_least(CPU, "10m"),
            "message": "cpu must be at least 10m, the smallest limit that the kernel accepts"
        }
    ]))]
    pub limits: Option<ResourceList>,
    /// What is kept free for it on the node: an app that does not fit is not placed there. Default: the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "self.all(k, k == 'cpu' || k == 'memory' || k.startsWith('skerry.dev/'))",
            "message": "resources are cpu, memory and skerry.dev/<device>; Docker cannot limit others, such as ephemeral-storage"
        },
        {
            "rule": each_is_quantity(),
            "message": QUANTITIES
        }
    ]))]
    pub requests: Option<ResourceList>,
}

/// CEL: an amount is one that `quantity` takes and compares. A server runs rules on what the pattern of the schema refuses, too.
fn is_quantity(amount: &str) -> String {
    format!("string({amount}).matches('{PATTERN}')")
}

/// The rule of a list that its amounts are quantities.
fn each_is_quantity() -> String {
    format!("self.all(k, {})", is_quantity("self[k]"))
}

/// The rule of a list that an amount, if it is given, is not below another.
fn at_least(resource: &str, least: &str) -> String {
    let own = format!("self['{resource}']");
    format!(
        "!('{resource}' in self) || !{} || quantity(string({own})).compareTo(quantity('{least}')) >= 0",
        is_quantity(&own)
    )
}

/// The rule that the request of a resource is not above its limit, if both are given.
fn within_limit(resource: &str) -> String {
    let (request, limit) = (format!("self.requests['{resource}']"), format!("self.limits['{resource}']"));
    format!(
        "!has(self.requests) || !has(self.limits) || !('{resource}' in self.requests) || !('{resource}' in self.limits) || !{} || !{} || quantity(string({request})).compareTo(quantity(string({limit}))) <= 0",
        is_quantity(&request),
        is_quantity(&limit)
    )
}

/// Amounts by resource: cpu, memory and `skerry.dev/<name>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceList(pub BTreeMap<String, Quantity>);

impl JsonSchema for ResourceList {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResourceList".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "maxProperties": RESOURCES_MAX,
            "additionalProperties": generator.subschema_for::<Quantity>(),
        })
    }
}

impl ResourceList {
    pub fn cpu(&self) -> Option<&Quantity> {
        self.0.get(CPU)
    }

    pub fn memory(&self) -> Option<&Quantity> {
        self.0.get(MEMORY)
    }

    /// The devices by their name in agent.toml, without the prefix.
    pub fn devices(&self) -> impl Iterator<Item = (&str, &Quantity)> {
        self.0.iter().filter_map(|(name, amount)| Some((name.strip_prefix(DEVICE_PREFIX)?, amount)))
    }
}

impl ResourceRequirements {
    pub fn limit(&self, resource: &str) -> Option<&Quantity> {
        self.limits.as_ref().and_then(|limits| limits.0.get(resource))
    }

    /// Kubernetes' default for a request is the limit.
    pub fn effective_request(&self, resource: &str) -> Option<&Quantity> {
        let own = self.requests.as_ref().and_then(|requests| requests.0.get(resource));
        own.or_else(|| self.limit(resource))
    }
}

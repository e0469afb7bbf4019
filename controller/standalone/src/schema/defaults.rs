//! Structural defaulting, as apiextensions-apiserver does it: nulls that may not be go, then what is left out comes in, in every
//! object that is there. Called once for each body, after pruning and before validation.

use serde_json::Value;

use super::Schema;

/// Completes an object in place. A default that has defaults inside is completed too.
pub fn apply(schema: &Schema, value: &mut Value) {
    drop_nulls(schema, value);
    fill(schema, value);
}

/// A null that may not be and for which no default stands is an absent field.
fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, field| {
                !field.is_null() || schema.field(name).is_none_or(|own| own.nullable || own.default.is_some())
            });
            for (name, field) in fields {
                if let Some(own) = schema.field(name) {
                    drop_nulls(own, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(own) = &schema.items {
                items.iter_mut().for_each(|item| drop_nulls(own, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is left out comes in, and nulls stay, for a rule to refuse: as on a real server after the merge of an apply. The recursion
/// follows the schema, whose depth is bounded.
pub fn fill(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, own) in &schema.properties {
                let Some(default) = &own.default else { continue };
                let absent = fields.get(name).is_none_or(|field| field.is_null() && !own.nullable);
                if absent {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, field) in fields {
                let Some(own) = schema.field(name) else { continue };
                replace_null(own, field);
                fill(own, field);
            }
        }
        Value::Array(items) => {
            let Some(own) = &schema.items else { return };
            for item in items {
                replace_null(own, item);
                fill(own, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn replace_null(schema: &Schema, value: &mut Value) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}

//! Puts what is said of the fields beside the fields, and finds what does not fit. What is said is in `table`.

use std::collections::BTreeMap;

use crate::walk::{Type, by_name};

/// What is said of some fields of one type.
#[derive(Debug, Clone, Copy)]
pub struct Reason {
    pub kind: &'static str,
    pub fields: &'static [&'static str],
    pub said: Said,
}

/// What is said of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is supported, but not in all that Kubernetes makes of it.
    Differs(&'static str),
    /// It is not in our schema, and why.
    Refused(&'static str),
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Supported(String),
    Differs(&'static str),
    Refused(&'static str),
}

/// A type with what becomes of each of its fields.
#[derive(Debug)]
pub struct Judged {
    pub kind: Type,
    pub verdicts: Vec<(String, Verdict)>,
}

/// Puts types and reasons together. What does not fit is a problem: a reason without its field, a refused field without its reason, a
/// reason that the schema contradicts.
pub fn judge(types: Vec<Type>, reasons: &[Reason]) -> Result<Vec<Judged>, Vec<String>> {
    let mut problems = Vec::new();
    let mut said = BTreeMap::new();
    let known = by_name(&types);
    for reason in reasons {
        for field in reason.fields {
            let name = format!("{}.{field}", reason.kind);
            match (known.get(&name), reason.said) {
                (None, _) => {
                    problems.push(format!("{name}: Kubernetes has no such field, remove its reason"))
                }
                (Some(field), Said::Refused(_)) if field.ours.is_some() => {
                    problems.push(format!("{name}: is supported now, remove its reason"));
                }
                (Some(field), Said::Differs(_)) if field.ours.is_none() => {
                    problems.push(format!("{name}: is not in our schema, it cannot differ"));
                }
                (Some(_), Said::Refused(_) | Said::Differs(_)) => {}
            }
            if said.insert(name.clone(), reason.said).is_some() {
                problems.push(format!("{name}: has two reasons"));
            }
        }
    }
    let unexplained = known.iter().filter(|(name, field)| field.ours.is_none() && !said.contains_key(*name));
    problems.extend(unexplained.map(|(name, _)| format!("{name}: is refused, and no reason says why")));
    if !problems.is_empty() {
        return Err(problems);
    }
    let judged = types.into_iter().map(|kind| {
        let verdict =
            |name: &str, ours: &Option<String>| match (said.get(&format!("{}.{name}", kind.name)), ours) {
                (Some(Said::Differs(text)), _) => Verdict::Differs(text),
                (Some(Said::Refused(text)), _) => Verdict::Refused(text),
                (None, ours) => Verdict::Supported(ours.clone().unwrap_or_default()),
            };
        let verdicts =
            kind.fields.iter().map(|field| (field.name.clone(), verdict(&field.name, &field.ours))).collect();
        Judged { kind, verdicts }
    });
    Ok(judged.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::Field;

    fn types() -> Vec<Type> {
        let field = |name: &str, ours: Option<&str>| Field { name: name.into(), ours: ours.map(Into::into) };
        let fields = vec![field("image", Some("Image reference.")), field("claims", None)];
        vec![Type { name: "Container".into(), path: "containers[]".into(), fields, added: Vec::new() }]
    }

    fn problems(reasons: &[(&'static str, &'static [&'static str], Said)]) -> Vec<String> {
        let reasons: Vec<_> =
            reasons.iter().map(|(kind, fields, said)| Reason { kind, fields, said: *said }).collect();
        judge(types(), &reasons).err().unwrap_or_default()
    }

    #[test]
    fn every_field_has_its_verdict() {
        let refused = Reason { kind: "Container", fields: &["claims"], said: Said::Refused("why") };
        let judged = judge(types(), &[refused]).expect("no problems");
        let expected = [
            ("image".to_owned(), Verdict::Supported("Image reference.".into())),
            ("claims".to_owned(), Verdict::Refused("why")),
        ];
        assert_eq!(judged[0].verdicts, expected);
    }

    #[test]
    fn a_refused_field_needs_a_reason_and_a_reason_needs_its_field() {
        assert_eq!(problems(&[]), ["Container.claims: is refused, and no reason says why"]);
        let refused = Said::Refused("why");
        assert_eq!(
            problems(&[("Container", &["claims", "gone"], refused)]),
            ["Container.gone: Kubernetes has no such field, remove its reason"]
        );
        assert_eq!(
            problems(&[("Container", &["claims", "image"], refused)]),
            ["Container.image: is supported now, remove its reason"]
        );
        assert_eq!(
            problems(&[("Container", &["claims"], Said::Differs("how"))]),
            ["Container.claims: is not in our schema, it cannot differ"]
        );
        assert_eq!(
            problems(&[("Container", &["claims"], refused), ("Container", &["claims"], refused)]),
            ["Container.claims: has two reasons"]
        );
    }

    #[test]
    fn the_table_fits_the_schemas() {
        let ours = crate::walk::ours().expect("our schema");
        let types = crate::walk::types(&crate::walk::kubernetes(), &ours).expect("types");
        let judged = judge(types, crate::table::REASONS).expect("no problems");
        assert!(judged.iter().any(|judged| judged.kind.name == "Probe"), "probes are met on the way");
    }
}

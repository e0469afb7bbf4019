//! The app: where it runs, its variants, how a change is brought in.

use super::report::{Path, Report};
use super::{image, pod, text};
use crate::{
    EdgeAppSpec, LabelSelector, Operator, Placement, PodTemplate, References, Requirement, Strategy, Switch,
    TemplateMeta, Toleration, TolerationOperator, Variant, VariantMatch, bounds, references,
};

/// Labels of ours on the containers: adoption relies on them.
const RESERVED: &str = "skerry.dev/";

pub(super) fn check(spec: &EdgeAppSpec, path: &Path, report: &mut Report) {
    let EdgeAppSpec { placement, template, variants, strategy } = spec;
    if let Some(placement) = placement {
        check_placement(placement, &path.field("placement"), report);
    }
    let PodTemplate { metadata, spec: pod_spec } = template;
    let template_path = path.field("template");
    if let Some(metadata) = metadata {
        check_metadata(metadata, &template_path.field("metadata"), report);
    }
    pod::check(pod_spec, &template_path.field("spec"), report);
    let References { config_maps, secrets } = references(spec);
    let objects = config_maps.len() + secrets.len();
    report.require(
        objects <= bounds::REFERENCES,
        &template_path.field("spec"),
        format!(
            "refers to {objects} ConfigMaps and Secrets; at most {} travel with an app",
            bounds::REFERENCES
        ),
    );
    let variants_path = path.field("variants");
    if report.fits(variants.len(), bounds::VARIANTS, &variants_path) {
        for (i, variant) in variants.iter().enumerate() {
            check_variant(variant, spec, &variants_path.index(i), report);
        }
    }
    if let Some(strategy) = strategy {
        check_strategy(strategy, spec, &path.field("strategy"), report);
    }
}

fn check_metadata(metadata: &TemplateMeta, path: &Path, report: &mut Report) {
    let TemplateMeta { labels, annotations } = metadata;
    let labels_path = path.field("labels");
    if report.fits(labels.len(), bounds::LIST, &labels_path) {
        for (key, value) in labels {
            let path = labels_path.key(key);
            text::qualified_name(key, &path, report);
            report.require(!key.starts_with(RESERVED), &path, "labels under skerry.dev/ are reserved");
            text::label_value(value, &path, report);
        }
    }
    let annotations_path = path.field("annotations");
    if report.fits(annotations.len(), bounds::LIST, &annotations_path) {
        for key in annotations.keys() {
            text::qualified_name(key, &annotations_path.key(key), report);
        }
        let total: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        let message =
            format!("must have at most {} bytes together; they have {total}", bounds::ANNOTATIONS_TOTAL);
        report.require(total <= bounds::ANNOTATIONS_TOTAL, &annotations_path, message);
    }
}

fn check_placement(placement: &Placement, path: &Path, report: &mut Report) {
    let Placement { node_selector, tolerations, replicas } = placement;
    if let Some(selector) = node_selector {
        check_selector(selector, &path.field("nodeSelector"), report);
    }
    let tolerations_path = path.field("tolerations");
    if report.fits(tolerations.len(), bounds::SHORT_LIST, &tolerations_path) {
        for (i, toleration) in tolerations.iter().enumerate() {
            check_toleration(toleration, &tolerations_path.index(i), report);
        }
    }
    report.range(*replicas, 0, bounds::REPLICAS, &path.field("replicas"));
}

fn check_toleration(toleration: &Toleration, path: &Path, report: &mut Report) {
    let Toleration { key, operator: _, value, effect: _ } = toleration;
    let operator = toleration.effective_operator();
    match key.as_deref() {
        None | Some("") => report.require(
            operator == TolerationOperator::Exists,
            &path.field("operator"),
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        Some(key) => text::qualified_name(key, &path.field("key"), report),
    }
    let value = value.as_deref().unwrap_or_default();
    match operator {
        TolerationOperator::Exists => report.require(
            value.is_empty(),
            &path.field("value"),
            "value must be empty when `operator` is 'Exists'",
        ),
        TolerationOperator::Equal => text::label_value(value, &path.field("value"), report),
    }
}

fn check_selector(selector: &LabelSelector, path: &Path, report: &mut Report) {
    let LabelSelector { match_labels, match_expressions } = selector;
    let labels_path = path.field("matchLabels");
    if report.fits(match_labels.len(), bounds::LIST, &labels_path) {
        for (key, value) in match_labels {
            text::qualified_name(key, &labels_path.key(key), report);
            text::label_value(value, &labels_path.key(key), report);
        }
    }
    let expressions_path = path.field("matchExpressions");
    if !report.fits(match_expressions.len(), bounds::LIST, &expressions_path) {
        return;
    }
    for (i, Requirement { key, operator, values }) in match_expressions.iter().enumerate() {
        let path = expressions_path.index(i);
        text::qualified_name(key, &path.field("key"), report);
        let values_path = path.field("values");
        match operator {
            Operator::In | Operator::NotIn => report.require(
                !values.is_empty(),
                &values_path,
                "must be specified when `operator` is 'In' or 'NotIn'",
            ),
            Operator::Exists | Operator::DoesNotExist => report.require(
                values.is_empty(),
                &values_path,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
        }
        if report.fits(values.len(), bounds::LIST, &values_path) {
            for (j, value) in values.iter().enumerate() {
                text::label_value(value, &values_path.index(j), report);
            }
        }
    }
}

fn check_variant(variant: &Variant, spec: &EdgeAppSpec, path: &Path, report: &mut Report) {
    let Variant { matches, images } = variant;
    if let Some(VariantMatch { architectures, operating_systems, node_selector }) = matches {
        let path = path.field("match");
        for (field, words) in [("architectures", architectures), ("operatingSystems", operating_systems)] {
            let path = path.field(field);
            if report.fits(words.len(), bounds::KINDS, &path) {
                for (i, word) in words.iter().enumerate() {
                    let good = (1..=bounds::KIND).contains(&word.len()) && text::is_label(word);
                    report.require(
                        good,
                        &path.index(i),
                        "must be a word as in EdgeNode.status.nodeInfo, such as arm64 or linux",
                    );
                }
            }
        }
        if let Some(selector) = node_selector {
            check_selector(selector, &path.field("nodeSelector"), report);
        }
    }
    let images_path = path.field("images");
    if report.fits(images.len(), bounds::LIST, &images_path) {
        for (container, reference) in images {
            let path = images_path.key(container);
            let known = spec.template.spec.all_containers().any(|(_, own)| own.name == *container);
            report.require(known, &path, "no container of the template has this name");
            report.require(image::is_reference(reference), &path, image::RULE);
        }
    }
}

fn check_strategy(strategy: &Strategy, spec: &EdgeAppSpec, path: &Path, report: &mut Report) {
    let Strategy { switch, progress_deadline_seconds } = strategy;
    report.range(*progress_deadline_seconds, 1, bounds::SECONDS, &path.field("progressDeadlineSeconds"));
    match switch {
        None | Some(Switch::StopFirst) => {}
        Some(Switch::StartFirst) => {
            let pod = &spec.template.spec;
            let holder = pod
                .all_containers()
                .find(|(_, container)| container.ports.iter().any(|port| port.host_port.is_some()));
            let path = path.field("switch");
            if let Some((_, container)) = holder {
                let name = &container.name;
                report.add(
                    &path,
                    format!(
                        "StartFirst is not possible with the hostPort of container {name:?}: old and new cannot hold one port; use StopFirst or remove the hostPort"
                    ),
                );
            } else if pod.uses_host_network() {
                report.add(
                    &path,
                    "StartFirst is not possible with hostNetwork: old and new would listen on the same ports; use StopFirst",
                );
            }
        }
    }
}

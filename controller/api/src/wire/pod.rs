//! What the containers of an app have in common.

use std::collections::BTreeMap;

use skerry_proto::wire;

use super::{At, container, volume};
use crate::FieldError;
use crate::template::{
    DnsConfig, DnsOption, DnsPolicy, HostAlias, PodSecurityContext, PodSpec, PodTemplate, PullSecretRef,
    RestartPolicy, SeccompProfile, SeccompProfileType, Sysctl, TemplateMeta,
};

pub(super) fn template(
    template: &PodTemplate,
    images: &BTreeMap<String, String>,
) -> Result<wire::PodTemplate, FieldError> {
    let at = At("spec.template.spec".to_owned());
    let PodTemplate { metadata, spec } = template;
    let TemplateMeta { labels, annotations } = metadata.clone().unwrap_or_default();
    let PodSpec {
        containers,
        restart_policy: _,
        termination_grace_period_seconds: _,
        host_network: _,
        init_containers,
        volumes,
        host_pid: _,
        host_ipc: _,
        share_process_namespace: _,
        hostname,
        dns_policy: _,
        dns_config,
        host_aliases,
        image_pull_secrets,
        security_context,
        scheduler_name: _,
    } = spec;
    let encoded = |list: &str, containers: &[crate::Container]| {
        let containers = containers.iter().enumerate();
        containers
            .map(|(i, one)| container::container(one, images, &at.item(list, i)))
            .collect::<Result<_, _>>()
    };
    let volumes = volumes.iter().enumerate().map(|(i, one)| volume::volume(one, &at.item("volumes", i)));
    Ok(wire::PodTemplate {
        labels,
        annotations,
        restart_policy: match spec.effective_restart_policy() {
            RestartPolicy::Always => wire::RestartPolicy::Always,
            RestartPolicy::OnFailure => wire::RestartPolicy::OnFailure,
            RestartPolicy::Never => wire::RestartPolicy::Never,
        }
        .into(),
        termination_grace_period_seconds: spec.effective_grace_period_seconds(),
        host_network: spec.uses_host_network(),
        containers: encoded("containers", containers)?,
        init_containers: encoded("initContainers", init_containers)?,
        volumes: volumes.collect::<Result<_, _>>()?,
        security_context: security_context.as_ref().map(security),
        host_pid: spec.uses_host_pid(),
        host_ipc: spec.uses_host_ipc(),
        share_process_namespace: spec.shares_process_namespace(),
        hostname: hostname.clone().unwrap_or_default(),
        dns_policy: match spec.effective_dns_policy() {
            DnsPolicy::ClusterFirst => wire::DnsPolicy::ClusterFirst,
            DnsPolicy::ClusterFirstWithHostNet => wire::DnsPolicy::ClusterFirstWithHostNet,
            DnsPolicy::Default => wire::DnsPolicy::Default,
            DnsPolicy::None => wire::DnsPolicy::None,
        }
        .into(),
        dns_config: dns_config.as_ref().map(dns),
        host_aliases: host_aliases.iter().map(host_alias).collect(),
        image_pull_secrets: image_pull_secrets.iter().map(|PullSecretRef { name }| name.clone()).collect(),
    })
}

fn security(context: &PodSecurityContext) -> wire::PodSecurityContext {
    let PodSecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        fs_group,
        supplemental_groups,
        seccomp_profile,
        sysctls,
    } = context;
    let sysctl = |Sysctl { name, value }: &Sysctl| wire::Sysctl { name: name.clone(), value: value.clone() };
    wire::PodSecurityContext {
        run_as_user: *run_as_user,
        run_as_group: *run_as_group,
        run_as_non_root: *run_as_non_root,
        fs_group: *fs_group,
        supplemental_groups: supplemental_groups.clone(),
        seccomp_profile: seccomp_profile.as_ref().map(seccomp),
        sysctls: sysctls.iter().map(sysctl).collect(),
    }
}

pub(super) fn seccomp(profile: &SeccompProfile) -> wire::SeccompProfile {
    let SeccompProfile { kind, localhost_profile } = profile;
    let kind = match kind {
        SeccompProfileType::RuntimeDefault => wire::SeccompType::RuntimeDefault,
        SeccompProfileType::Unconfined => wire::SeccompType::Unconfined,
        SeccompProfileType::Localhost => wire::SeccompType::Localhost,
    };
    wire::SeccompProfile {
        r#type: kind.into(),
        localhost_profile: localhost_profile.clone().unwrap_or_default(),
    }
}

fn dns(config: &DnsConfig) -> wire::DnsConfig {
    let DnsConfig { nameservers, searches, options } = config;
    let option =
        |DnsOption { name, value }: &DnsOption| wire::DnsOption { name: name.clone(), value: value.clone() };
    wire::DnsConfig {
        nameservers: nameservers.clone(),
        searches: searches.clone(),
        options: options.iter().map(option).collect(),
    }
}

fn host_alias(alias: &HostAlias) -> wire::HostAlias {
    let HostAlias { ip, hostnames } = alias;
    wire::HostAlias { ip: ip.clone(), hostnames: hostnames.clone() }
}

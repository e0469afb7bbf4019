//! The shapes of texts that end up in files, headers and kernel interfaces of the box: the schema checked them once, and is not the
//! only one who may write a payload.

use std::net::IpAddr;
use std::num::NonZeroU16;

use skerry_proto::caps;

use super::wrong::Wrong;

/// Longest text that an error shows.
const SHOWN_MAX: usize = 64;

/// For an error: quoted and cut.
pub(super) fn shown(text: &str) -> String {
    format!("{:?}", caps::truncate(text, SHOWN_MAX))
}

/// The parts of a path in a volume, joined: relative, not leaving it, no empty steps. Empty for the volume itself.
pub(super) fn sub_path(path: &str) -> Result<String, Wrong> {
    let wrong = |why: &str| Wrong::new(format_args!("{} {why}", shown(path)));
    if path.len() > caps::PATH_MAX || path.contains('\0') {
        return Err(wrong("is no path"));
    }
    if path.starts_with('/') {
        return Err(wrong("must be relative"));
    }
    if path.split('/').any(|step| step == "..") {
        return Err(wrong("must not contain '..'"));
    }
    let steps: Vec<_> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    Ok(steps.join("/"))
}

/// The same, of something in the volume.
pub(super) fn relative_path(path: &str) -> Result<String, Wrong> {
    match sub_path(path)? {
        clean if clean.is_empty() => Err(Wrong::new(format_args!("{} names no file", shown(path)))),
        clean => Ok(clean),
    }
}

/// The path of a file that kubelet would write into a volume: names that begin with `..` are those of its own.
pub(super) fn file_path(path: &str) -> Result<String, Wrong> {
    let clean = relative_path(path)?;
    if clean.starts_with("..") {
        return Err(Wrong::new(format_args!("{} must not start with '..'", shown(path))));
    }
    Ok(clean)
}

/// An absolute path, in a container or on the box.
pub(super) fn absolute_path(path: String) -> Result<String, Wrong> {
    let wrong = |why: &str| Err(Wrong::new(format_args!("{} {why}", shown(&path))));
    if path.len() > caps::PATH_MAX || path.contains('\0') {
        return wrong("is no path");
    }
    if !path.starts_with('/') {
        return wrong("must be absolute");
    }
    if path.split('/').any(|step| step == "..") {
        return wrong("must not contain '..'");
    }
    Ok(path)
}

/// A DNS label, as names of hosts and volumes are.
pub(super) fn label(text: String) -> Result<String, Wrong> {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner) {
        Ok(text)
    } else {
        Err(Wrong::new(format_args!(
            "{} must have 1 to 63 lower case letters, digits and '-', and begin and end with a letter or digit",
            shown(&text)
        )))
    }
}

/// A host name for /etc/hosts and resolv.conf: nothing in it can begin another entry.
pub(super) fn host_name(text: String) -> Result<String, Wrong> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if (1..=253).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text)
    } else {
        Err(Wrong::new(format_args!("{} is no host name", shown(&text))))
    }
}

pub(super) fn address(text: &str) -> Result<IpAddr, Wrong> {
    text.parse().map_err(|_| Wrong::new(format_args!("{} is no address", shown(text))))
}

/// A text for one line of a protocol or file.
pub(super) fn line(text: String, max: usize) -> Result<String, Wrong> {
    if text.len() > max {
        return Err(Wrong::new(format_args!("{} bytes, at most {max}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new(format_args!("{} has control characters", shown(&text))));
    }
    Ok(text)
}

/// A port's number; none is 0.
pub(super) fn port(number: u32) -> Result<Option<NonZeroU16>, Wrong> {
    let number = u16::try_from(number).map_err(|_| Wrong::new(format_args!("{number} is no port")))?;
    Ok(NonZeroU16::new(number))
}

pub(super) fn needed_port(number: u32) -> Result<NonZeroU16, Wrong> {
    port(number)?.ok_or_else(Wrong::missing)
}

/// The id of a user or a group. Kubernetes' range is that of a positive i32.
pub(super) fn id(number: i64) -> Result<u32, Wrong> {
    i32::try_from(number)
        .ok()
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| Wrong::new(format_args!("{number} must be between 0 and {}", i32::MAX)))
}

/// Permission bits of a file.
pub(super) fn mode(bits: u32) -> Result<u32, Wrong> {
    const ALL: u32 = 0o777;
    if bits <= ALL { Ok(bits) } else { Err(Wrong::new(format_args!("{bits:#o} must be between 0 and 0777"))) }
}

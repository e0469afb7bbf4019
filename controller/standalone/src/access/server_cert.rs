//! The certificate that the API is served with. It lives in memory alone: clients trust the authority, so that every start may
//! make a new one with the names of that start, and no key lies on the disk.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rcgen::SanType;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use super::authority::{Authority, AuthorityError};

/// A certificate with more names is slow for every handshake, and no host has so many.
const MAX_NAMES: usize = 64;
/// The longest name in DNS.
const MAX_NAME: usize = 253;

/// A name that cannot be in a certificate.
#[derive(Debug, thiserror::Error)]
pub enum SanError {
    #[error("--tls-san {0:?} is neither an IP address nor a host name")]
    NoName(String),
    #[error("more than {MAX_NAMES} names for --tls-san")]
    TooMany,
}

/// The names under which clients reach the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNames(Vec<SanType>);

impl ServerNames {
    /// This machine's own names, the address that is listened on, and what `--tls-san` adds.
    pub fn new(listen: SocketAddr, extra: &[String]) -> Result<Self, SanError> {
        if extra.len() > MAX_NAMES {
            return Err(SanError::TooMany);
        }
        let mut names = Vec::new();
        let mut add = |name: SanType| {
            if !names.contains(&name) {
                names.push(name);
            }
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for own in ["localhost", &host] {
            // A host may be called what no certificate can hold; then it is not reached by that name.
            if let Some(name) = host_name(own) {
                add(name);
            }
        }
        for own in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into(), listen.ip().to_canonical()] {
            if !IpAddr::is_unspecified(&own) {
                add(SanType::IpAddress(own));
            }
        }
        for name in extra {
            let name = match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => host_name(name).ok_or_else(|| SanError::NoName(name.clone()))?,
            };
            add(name);
        }
        Ok(Self(names))
    }
}

/// A DNS name; its first label may be `*`.
fn host_name(name: &str) -> Option<SanType> {
    let is_label = |label: &str| {
        let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        inside && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let rest = name.strip_prefix("*.").unwrap_or(name);
    if name.len() > MAX_NAME || !rest.split('.').all(is_label) {
        return None;
    }
    name.to_owned().try_into().ok().map(SanType::DnsName)
}

/// The certificate in use. The first handshake in the last third of its life replaces it: nobody sees it but in a handshake, so
/// that no timer is needed, and neither a suspended machine nor a clock that is set ever serves an expired one.
#[derive(Debug)]
pub struct ServerCert {
    authority: Arc<Authority>,
    names: ServerNames,
    current: Mutex<Current>,
    /// Told at each renewal. The admin's certificate is as old, so it is looked after then.
    pub(super) renewed: Notify,
}

#[derive(Debug, Clone)]
struct Current {
    key: Arc<CertifiedKey>,
    made_at: SystemTime,
    renew_at: SystemTime,
}

impl ServerCert {
    /// Makes the first one.
    pub fn new(
        authority: Arc<Authority>,
        names: ServerNames,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let current = Mutex::new(make(&authority, &names, now)?);
        Ok(Self { authority, names, current, renewed: Notify::new() })
    }

    /// The certificate to show now.
    fn at(&self, now: SystemTime) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        // Not valid yet, if the clock was set back by more than the leeway.
        let is_early = current.made_at.duration_since(now).is_ok_and(|early| early > super::authority::SKEW);
        if now >= current.renew_at || is_early {
            match make(&self.authority, &self.names, now) {
                Ok(made) => {
                    tracing::info!("renewed the API's serving certificate");
                    *current = made;
                    self.renewed.notify_one();
                }
                Err(error) => tracing::error!(%error, "failed to renew the API's serving certificate"),
            }
        }
        current.key.clone()
    }
}

impl ResolvesServerCert for ServerCert {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.at(SystemTime::now()))
    }
}

fn make(authority: &Authority, names: &ServerNames, now: SystemTime) -> Result<Current, AuthorityError> {
    let leaf = authority.sign_server(names.0.clone(), now)?;
    let der = PrivatePkcs8KeyDer::from(leaf.key.serialize_der());
    let key = ring::sign::any_ecdsa_type(&der.into()).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let chain = vec![leaf.certificate.der().clone()];
    Ok(Current { key: Arc::new(CertifiedKey::new(chain, key)), made_at: now, renew_at: leaf.renew_at })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::authority::tests::Shelf;
    use super::*;

    fn names(listen: &str, extra: &[&str]) -> Result<Vec<String>, SanError> {
        let extra: Vec<String> = extra.iter().map(|&name| name.to_owned()).collect();
        let ServerNames(names) = ServerNames::new(listen.parse().expect("an address"), &extra)?;
        let text = names.iter().map(|name| {
            if let SanType::IpAddress(address) = name {
                return address.to_string();
            }
            if let SanType::DnsName(name) = name {
                return name.as_str().to_owned();
            }
            panic!("no such name is made: {name:?}")
        });
        Ok(text.collect())
    }

    #[test]
    fn the_names_are_ours_and_those_asked_for_each_once() {
        let found =
            names("10.0.0.7:6443", &["skerry.plant.example", "10.0.0.7", "*.plant.example", "fd00::1"])
                .expect("names");
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        for name in [
            "localhost",
            "127.0.0.1",
            "::1",
            "10.0.0.7",
            "skerry.plant.example",
            "*.plant.example",
            "fd00::1",
            &host,
        ] {
            assert_eq!(found.iter().filter(|own| *own == name).count(), 1, "{name} in {found:?}");
        }
        let found = names("0.0.0.0:6443", &[]).expect("names");
        assert!(!found.contains(&"0.0.0.0".to_owned()), "{found:?}");
    }

    #[test]
    fn what_is_no_name_is_refused_by_name() {
        for bad in [
            "",
            "a b",
            "https://x",
            "host:6443",
            "-a",
            "a..b",
            "bücher.example",
            "10.0.0.1/8",
            &"a".repeat(64),
        ] {
            let error = names("127.0.0.1:1", &[bad]).expect_err(bad);
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
        assert!(matches!(names("127.0.0.1:1", &["a"; 65]), Err(SanError::TooMany)));
    }

    #[test]
    fn the_certificate_is_replaced_in_its_last_third_alone() {
        let now = SystemTime::now();
        let authority = Arc::new(Authority::load_or_make(&Shelf::default(), now).expect("an authority"));
        let names = ServerNames::new("127.0.0.1:1".parse().expect("an address"), &[]).expect("names");
        let served = ServerCert::new(authority, names, now).expect("a certificate");
        let day = Duration::from_secs(86_400);
        let first = served.at(now);
        assert!(Arc::ptr_eq(&first, &served.at(now + day * 240)));
        let second = served.at(now + day * 250);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &served.at(now + day * 251)));
        assert!(!Arc::ptr_eq(&second, &served.at(now)), "a clock set back gets one that holds already");
    }
}

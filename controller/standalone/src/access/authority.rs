//! The certificate authority of the API: made at the first start, kept sealed in the store with all other secrets, and known to
//! clients from their kubeconfig alone. It signs what is served with and what the admin logs in with, and nothing else.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As long as kubeadm's: replacing it means a new kubeconfig for every user.
const AUTHORITY_LIFE: Duration = DAY.saturating_mul(3650);
/// A year, as kubeadm's. What leaks is of no use some day, and the third of it in which it is renewed outlasts any holiday.
const LEAF_LIFE: Duration = DAY.saturating_mul(365);
/// From here on an authority's end is worth a line in the log.
const LAST_YEAR: Duration = LEAF_LIFE;
/// Clients whose clock is behind ours by less than this see a valid certificate.
pub(super) const SKEW: Duration = Duration::from_secs(60 * 60);
/// 2026-01-01, before any release. A box without a battery starts in 1970: what it signs then must hold when it learns the time.
const RELEASED: Duration = Duration::from_secs(1_767_225_600);
/// Under this name the vault keeps key and certificate, together so that neither is ever there alone.
pub const KEPT_AS: &str = "api-authority";

/// Where the authority is kept; the store seals what it is given.
pub trait Vault {
    /// What was saved under a name; None if nothing was.
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>>;
    /// Keeps it durably before it returns.
    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Why there is no authority or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("failed to read the API's certificate authority from the store")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("failed to keep the API's certificate authority in the store")]
    Save(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It is never replaced on its own: all who trust it would be locked out.
    #[error("the API's certificate authority in the store cannot be used ({why}); restore it from a backup")]
    Damaged { why: String },
    #[error("failed to sign a certificate")]
    Sign(#[from] rcgen::Error),
}

/// The authority, ready to sign.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
    not_after: SystemTime,
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) certificate: rcgen::Certificate,
    pub(super) key: KeyPair,
    /// From here on it is to be replaced: the last third of its life.
    pub(super) renew_at: SystemTime,
}

impl Authority {
    /// The authority that the vault keeps. One is made if there is none, and anew if the last has expired: nobody can use that one
    /// any more.
    pub fn load_or_make(vault: &dyn Vault, now: SystemTime) -> Result<Self, AuthorityError> {
        if let Some(kept) = vault.load(KEPT_AS).map_err(AuthorityError::Load)? {
            let authority = Self::read(kept)?;
            if now < authority.not_after {
                if authority.not_after < now + LAST_YEAR {
                    tracing::warn!(
                        expires = %for_log(authority.not_after),
                        "the API's certificate authority expires within a year; the first start after that makes a new one, \
                         and every user needs a new kubeconfig"
                    );
                }
                return Ok(authority);
            }
            tracing::warn!(
                "the API's certificate authority has expired and is replaced; every user needs a new kubeconfig"
            );
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(&format!("skerry-api-ca@{}", seconds(now)), now, AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        // No name constraints: no trust store ever holds this authority, only a kubeconfig for this one server, and the names
        // may change with the next --tls-san.
        let certificate = params.self_signed(&key)?;
        let kept = format!("{}{}", certificate.pem(), key.serialize_pem());
        vault.save(KEPT_AS, kept.as_bytes()).map_err(AuthorityError::Save)?;
        Self::read(kept.into_bytes())
    }

    fn read(kept: Vec<u8>) -> Result<Self, AuthorityError> {
        fn damaged(why: impl std::fmt::Display) -> AuthorityError {
            AuthorityError::Damaged { why: why.to_string() }
        }
        let der = CertificateDer::from_pem_slice(&kept).map_err(damaged)?;
        let key = PrivateKeyDer::from_pem_slice(&kept).map_err(damaged)?;
        let key = KeyPair::try_from(&key).map_err(damaged)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(damaged)?;
        if !is_key_of(&key, &parsed) {
            return Err(damaged("the key is not the certificate's"));
        }
        let not_after = not_after(&parsed).ok_or_else(|| damaged("it has no end"))?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(damaged)?;
        let text = String::from_utf8_lossy(&kept);
        // The certificate as it was written, so that kubeconfig files compare equal.
        const END: &str = "-----END CERTIFICATE-----";
        let pem = text
            .find(END)
            .and_then(|at| text.get(..at + END.len()))
            .ok_or_else(|| damaged("it has no end"))?;
        let pem = format!("{pem}\n");
        Ok(Self { issuer, der, pem, not_after })
    }

    /// The certificate, as clients trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate, as TLS verifies by it.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn sign_server(&self, names: Vec<SanType>, now: SystemTime) -> Result<Leaf, AuthorityError> {
        let mut params = params("skerry-api", now, LEAF_LIFE);
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    pub(super) fn sign_client(
        &self,
        user: &str,
        group: &str,
        now: SystemTime,
    ) -> Result<Leaf, AuthorityError> {
        let mut params = params(user, now, LEAF_LIFE);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// From when on a certificate that ends then is to be replaced. One that ends with the authority is the last.
    fn renew_at(&self, not_after: SystemTime) -> SystemTime {
        if not_after >= self.not_after { not_after } else { not_after - LEAF_LIFE / 3 }
    }

    /// The same for a certificate of before; None if it is to be replaced now, or is not valid yet as the clock was set back.
    pub(super) fn fresh_until(
        &self,
        certificate: &X509Certificate<'_>,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let began = moment(certificate.validity().not_before.timestamp())?;
        let until = self.renew_at(not_after(certificate)?);
        (began <= now && now < until).then_some(until)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Leaf, AuthorityError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.not_after = params.not_after.min(self.not_after.into());
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let end = SystemTime::from(params.not_after);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Leaf { certificate, key, renew_at: self.renew_at(end) })
    }
}

fn params(name: &str, now: SystemTime, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = (now - SKEW).into();
    params.not_after = (now.max(SystemTime::UNIX_EPOCH + RELEASED) + life).into();
    params
}

pub(super) fn is_key_of(key: &KeyPair, certificate: &X509Certificate<'_>) -> bool {
    certificate.public_key().subject_public_key.data.as_ref() == key.public_key_raw()
}

/// The end of a certificate's life.
pub(super) fn not_after(certificate: &X509Certificate<'_>) -> Option<SystemTime> {
    moment(certificate.validity().not_after.timestamp())
}

fn moment(seconds: i64) -> Option<SystemTime> {
    let span = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(span)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(span)
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time for the log.
fn for_log(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| format!("{at:?}"), |at| at.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    /// A vault that forgets everything at the end of the test.
    #[derive(Debug, Default)]
    pub(crate) struct Shelf(pub(crate) Mutex<HashMap<String, Vec<u8>>>);

    impl Vault for Shelf {
        fn load(&self, name: &str) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(self.0.lock().expect("nobody panics with it").get(name).cloned())
        }

        fn save(&self, name: &str, bytes: &[u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            self.0.lock().expect("nobody panics with it").insert(name.to_owned(), bytes.to_vec());
            Ok(())
        }
    }

    fn made(shelf: &Shelf, now: SystemTime) -> Authority {
        Authority::load_or_make(shelf, now).expect("an authority")
    }

    #[test]
    fn the_authority_is_made_once_and_found_again() {
        let (shelf, now) = (Shelf::default(), SystemTime::now());
        assert_eq!(made(&shelf, now).pem(), made(&shelf, now + LEAF_LIFE * 9).pem());
    }

    #[test]
    fn an_expired_authority_is_replaced() {
        let (shelf, now) = (Shelf::default(), SystemTime::now());
        assert_ne!(made(&shelf, now).pem(), made(&shelf, now + AUTHORITY_LIFE + DAY).pem());
    }

    #[test]
    fn a_damaged_authority_is_refused_and_kept() {
        let (shelf, now) = (Shelf::default(), SystemTime::now());
        let other = made(&Shelf::default(), now);
        let first = made(&shelf, now);
        let swapped = format!("{}{}", other.pem(), first.issuer.key().serialize_pem());
        for bytes in [b"".to_vec(), b"\xff\x00 no PEM".to_vec(), first.pem().into(), swapped.into_bytes()] {
            shelf.save(KEPT_AS, &bytes).expect("a shelf takes anything");
            let refused = Authority::load_or_make(&shelf, now);
            assert!(matches!(refused, Err(AuthorityError::Damaged { .. })), "{refused:?}");
            assert_eq!(shelf.load(KEPT_AS).expect("a shelf gives back"), Some(bytes));
        }
    }

    #[test]
    fn what_is_signed_never_outlives_the_authority() {
        let now = SystemTime::now();
        let authority = made(&Shelf::default(), now);
        let late = now + AUTHORITY_LIFE - DAY * 10;
        let leaf = authority.sign_client("a", "b", late).expect("signed");
        let (_, parsed) = X509Certificate::from_der(leaf.certificate.der()).expect("a certificate");
        assert_eq!(not_after(&parsed), Some(authority.not_after));
        assert_eq!(leaf.renew_at, authority.not_after, "a newer one would not be better");
        assert_eq!(authority.fresh_until(&parsed, late), Some(authority.not_after));
    }

    #[test]
    fn what_is_signed_with_the_clock_in_1970_holds_in_2026() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(40);
        let authority = made(&Shelf::default(), start);
        let leaf = authority.sign_client("a", "b", start).expect("signed");
        let (_, parsed) = X509Certificate::from_der(leaf.certificate.der()).expect("a certificate");
        assert!(authority.fresh_until(&parsed, start).is_some());
        assert!(authority.fresh_until(&parsed, SystemTime::UNIX_EPOCH + RELEASED + DAY * 200).is_some());
        assert!(authority.fresh_until(&parsed, SystemTime::UNIX_EPOCH + RELEASED + DAY * 250).is_none());
    }
}

//! The two PEM texts in a CertificateSigningRequest, parsed far enough to know that others can use them. What is wrong with DER is
//! told in the words of our parser, not of Go's.

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509CertificationRequest};

/// What is wrong with a request, which must be signed with its own key.
pub fn request_fault(text: &[u8]) -> Option<String> {
    let Some(block) = blocks(text).next().filter(|block| block.label == "CERTIFICATE REQUEST") else {
        return Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    match X509CertificationRequest::from_der(&block.contents) {
        Err(error) => Some(format!("x509: malformed certificate request: {error}")),
        Ok((rest, _)) if !rest.is_empty() => Some("asn1: syntax error: trailing data".to_owned()),
        Ok((_, request)) => request
            .verify_signature()
            .err()
            .map(|error| format!("x509: cannot verify the request's signature: {error}")),
    }
}

/// What is wrong with a chain of certificates.
pub fn certificates_fault(text: &[u8]) -> Option<String> {
    let mut found = false;
    for block in blocks(text) {
        if block.label != "CERTIFICATE" {
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        match X509Certificate::from_der(&block.contents) {
            Err(error) => return Some(format!("x509: malformed certificate: {error}")),
            Ok((rest, _)) if !rest.is_empty() => return Some("x509: trailing data".to_owned()),
            Ok(_) => found = true,
        }
    }
    (!found).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

/// The blocks of a text; what is no block, or is damaged, counts as nothing.
fn blocks(text: &[u8]) -> impl Iterator<Item = Pem> {
    Pem::iter_from_buffer(text).filter_map(Result::ok)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn requests_are_told_from_what_is_none() {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::default();
        let request = params.serialize_request(&key).expect("a request").pem().expect("text");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        assert_eq!(request_fault(request.as_bytes()), None);
        assert_eq!(certificates_fault(format!("of a node\n{certificate}{certificate}").as_bytes()), None);

        let no_request = Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
        assert_eq!(request_fault(certificate.as_bytes()), no_request);
        assert_eq!(request_fault(b"-----BEGIN \n\xff"), no_request);
        let renamed = certificate.replace("CERTIFICATE", "CERTIFICATE REQUEST");
        assert!(request_fault(renamed.as_bytes()).is_some_and(|why| why.starts_with("x509: malformed")));
        assert_eq!(
            certificates_fault(format!("{certificate}{request}").as_bytes()),
            Some("only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"".to_owned())
        );
        assert_eq!(
            certificates_fault(b"x"),
            Some("must contain at least one CERTIFICATE PEM block".to_owned())
        );
    }

    #[test]
    fn a_request_signed_with_another_key_is_refused() {
        let key = KeyPair::generate().expect("a key");
        let request = CertificateParams::default().serialize_request(&key).expect("a request");
        let mut der = request.der().to_vec();
        // The last byte is of the signature.
        *der.last_mut().expect("a byte") ^= 1;
        let body = STANDARD.encode(&der);
        let text =
            format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        assert!(request_fault(text.as_bytes()).is_some_and(|why| why.contains("signature")));
    }
}

//! From an EdgeApp's spec to the bytes that travel: the one place where the CRD's form becomes the wire's.

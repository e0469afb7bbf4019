//! Prints an error with everything that caused it, once, where it is handled.

use std::error::Error;
use std::fmt;

/// `failed to list edgeapps: ServiceError: …: connection refused`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printed = self.0.to_string();
        f.write_str(&printed)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Libraries repeat their source in their own text; saying it once is enough.
            if !printed.contains(&text) {
                write!(f, ": {text}")?;
                printed.push_str(&text);
            }
            source = error.source();
        }
        Ok(())
    }
}

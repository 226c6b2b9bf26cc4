//! A server that the harness did not start: it is there, here or on another machine, and is asked as it is.

use std::str::FromStr;

use fcgi_load::{Address, AddressError};
use thiserror::Error;

/// Where it answers, and what reports call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    name: String,
    address: Address,
}

/// What is wrong with the text of a [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nothing that a table could hold.
    #[error("{0:?} is no name: write ADDRESS=NAME, such as tcp:10.0.0.2:9000=other")]
    Name(String),
}

impl Target {
    /// One that is known by this name.
    pub fn new(name: &str, address: Address) -> Result<Self, TargetError> {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err(TargetError::Name(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), address })
    }

    /// What tests and charts call it: as it was told, or by its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it answers.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// `tcp:HOST:PORT` or `unix:PATH`, and `=NAME` behind it. What follows the last `=` is the name, unless it has a slash: then
/// it belongs to a path.
impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text.rsplit_once('=').filter(|(_, name)| !name.contains('/')) {
            Some((address, name)) => Self::new(name, address.parse()?),
            None => Self::new(text, text.parse()?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_and_may_have_a_name() {
        let parsed = |text: &str| {
            let target: Target = text.parse().unwrap();
            (target.name().to_owned(), target.address().to_string())
        };
        for (text, name, address) in [
            ("tcp:10.0.0.2:9000", "tcp:10.0.0.2:9000", "tcp:10.0.0.2:9000"),
            ("tcp:[::1]:9000=other", "other", "tcp:[::1]:9000"),
            ("unix:/run/app.sock", "unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:/run/a=b/app.sock", "unix:/run/a=b/app.sock", "unix:/run/a=b/app.sock"),
            ("unix:/run/a=b=the app", "the app", "unix:/run/a=b"),
            ("unix:@app=php", "php", "unix:@app"),
        ] {
            assert_eq!(parsed(text), (name.to_owned(), address.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_in_one_line() {
        for (text, words) in [
            ("", "write unix:PATH"),
            ("10.0.0.2:9000", "write unix:PATH"),
            ("tcp:10.0.0.2", "lacks a host or a port"),
            ("tcp:10.0.0.2:9000=", "is no name"),
            ("tcp:10.0.0.2:9000=a\nb", "is no name"),
            ("=name", "write unix:PATH"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}

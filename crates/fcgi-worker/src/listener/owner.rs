//! `--socket-owner`: whose the socket file is.

use std::fmt;
use std::str::FromStr;

use nix::unistd::{Group, User};

/// `USER`, `USER:GROUP` or `:GROUP`, looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    text: String,
    /// None leaves it to whom it is.
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (Some(user).filter(|user| !user.is_empty()), Some(group)),
            None => (Some(text), None),
        };
        if user == Some("") || group == Some("") {
            return Err("an owner looks like www-data, www-data:www-data or :www-data".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            user: user.map(user_id).transpose()?,
            group: group.map(group_id).transpose()?,
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn user_id(name: &str) -> Result<u32, String> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => number(name).ok_or_else(|| format!("there is no user {name:?}")),
        Err(error) => Err(format!("the user {name:?} cannot be looked up: {error}")),
    }
}

fn group_id(name: &str) -> Result<u32, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => number(name).ok_or_else(|| format!("there is no group {name:?}")),
        Err(error) => Err(format!("the group {name:?} cannot be looked up: {error}")),
    }
}

/// An id. The largest number is none: chown(2) takes it for "leave as it is".
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
        text.parse::<Owner>().map(|owner| (owner.user, owner.group))
    }

    #[test]
    fn an_owner_is_a_user_a_group_or_both_by_name_or_number() {
        assert_eq!(ids("root"), Ok((Some(0), None)));
        assert_eq!(ids("root:root"), Ok((Some(0), Some(0))));
        assert_eq!(ids(":root"), Ok((None, Some(0))));
        assert_eq!(ids("4711:4712"), Ok((Some(4711), Some(4712))));
    }

    #[test]
    fn who_is_unknown_is_named() {
        assert!(ids("no-such-user").unwrap_err().contains("no user \"no-such-user\""));
        assert!(ids("root:no-such-group").unwrap_err().contains("no group \"no-such-group\""));
        for malformed in ["", ":", "root:", "4294967295", "-1", "root:root:root"] {
            assert!(ids(malformed).is_err(), "{malformed:?}");
        }
    }
}

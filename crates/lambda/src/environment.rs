//! Settings from environment variables. They are read once, at the start: a missing setting is an error then, and not in the
//! middle of a request.

use std::{error::Error, fmt, str::FromStr, sync::Arc};

/// The source of the settings.
#[derive(Clone)]
pub struct Environment(Arc<Lookup>);

/// Looks up the value of a name.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A setting that is missing or not valid.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// The setting is needed and not set, or empty.
    #[error("the environment variable {name} is not set")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// The setting cannot be read.
    #[error("the environment variable {name} is not valid: {source}")]
    Invalid {
        /// Its name.
        name: &'static str,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Environment {
    /// Returns the environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// Makes an environment from a function.
    pub fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(lookup))
    }

    /// Returns a required setting.
    pub fn text(&self, name: &'static str) -> Result<String, SettingError> {
        self.found(name).ok_or(SettingError::Missing { name })
    }

    /// Returns an optional setting, or its default.
    pub fn or<T>(&self, name: &'static str, default: T) -> Result<T, SettingError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        let Some(text) = self.found(name) else { return Ok(default) };
        text.parse().map_err(|error: T::Err| SettingError::Invalid { name, source: error.into() })
    }

    /// Returns a required setting that is not plain text.
    pub fn required<T>(&self, name: &'static str) -> Result<T, SettingError>
    where
        T: FromStr,
        T::Err: Error + Send + Sync + 'static,
    {
        let text = self.text(name)?;
        text.parse().map_err(|error: T::Err| SettingError::Invalid { name, source: error.into() })
    }

    /// Returns how many invocations there may be at once: more than one if Lambda says so (Managed Instances), and one
    /// otherwise. It is read as the runtime reads it.
    #[must_use]
    pub fn invocations_at_once(&self) -> u32 {
        self.found("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
    }

    /// Returns a variable that is set. An empty one counts as not set, as CloudFormation has no way to leave a variable out.
    pub(crate) fn found(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|text| !text.is_empty())
    }
}

/// Leaves out the settings.
impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Environment")
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn environment() -> Environment {
        Environment::new(|name| match name {
            "TABLE" => Some("users".to_owned()),
            "SHARDS" => Some("4".to_owned()),
            "ZERO" => Some("0".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn what_is_set_is_read() {
        assert_eq!(environment().text("TABLE").unwrap(), "users");
        assert_eq!(environment().or("SHARDS", NonZeroU16::MIN).unwrap().get(), 4);
    }

    #[test]
    fn one_invocation_at_a_time_is_usual() {
        let at_once = |text: &'static str| {
            let set = move |name: &str| (name == "AWS_LAMBDA_MAX_CONCURRENCY").then(|| text.to_owned());
            Environment::new(set).invocations_at_once()
        };
        assert_eq!(["", "0", "1", "16", "many", "-1"].map(at_once), [1, 1, 1, 16, 1, 1]);
    }

    #[test]
    fn what_is_not_set_is_named_or_has_its_default() {
        for name in ["NONE", "EMPTY"] {
            let error = environment().text(name).unwrap_err();
            assert_eq!(error.to_string(), format!("the environment variable {name} is not set"));
            assert!(environment().or(name, true).unwrap());
        }
    }

    #[test]
    fn what_is_not_valid_is_named_with_the_reason() {
        let error = environment().or("ZERO", NonZeroU16::MIN).unwrap_err().to_string();
        assert!(error.starts_with("the environment variable ZERO is not valid: "), "{error}");
        assert!(environment().or("TABLE", false).is_err());
    }
}

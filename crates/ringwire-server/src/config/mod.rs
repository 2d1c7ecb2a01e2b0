//! What the user wrote: a TOML file, and flags on top of it, as one table.
//!
//! A [`Config`] may be wrong in any way that TOML allows: [`Options::check`](crate::options::Options::check) reads it
//! through `Section`s and reports all faults at once. A flag takes the place of the key that it names, and faults
//! of its value are reported under the flag's name.

mod section;

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

pub(crate) use self::section::Section;

use crate::failure::Failure;

/// What the user wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    table: Table,
    names: Names,
}

/// Which flag set which key, by the key's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names(BTreeMap<String, &'static str>);

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or is not TOML: with the line, and what was expected there.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        let cannot = |what: &dyn std::fmt::Display| Failure::usage(format!("--config {}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| cannot(&error))?;
        Self::parse(&text).map_err(|error| cannot(&error))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// That it is not TOML, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let table = text.parse::<Table>().map_err(|error| error.to_string().trim_end().to_owned())?;
        Ok(Self { table, names: Names::default() })
    }

    /// Sets the key at `path` (`section.key`) to what `flag` says, in place of what the file says.
    pub(crate) fn set(&mut self, flag: &'static str, path: &str, value: impl Into<Value>) {
        self.names.0.insert(path.to_owned(), flag);
        let mut table = &mut self.table;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            if keys.peek().is_none() {
                table.insert(key.to_owned(), value.into());
                return;
            }
            // What is no section in the file stays: it will be reported as such.
            let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(inner) = inner else { return };
            table = inner;
        }
    }

    /// Replaces the listeners by some at these addresses, each with all else by default.
    pub(crate) fn set_listeners(&mut self, flag: &'static str, addresses: &[String]) {
        let listener =
            |address: &String| Value::Table(Table::from_iter([("address".to_owned(), address.as_str().into())]));
        self.set(flag, "listen", addresses.iter().map(listener).collect::<Vec<_>>());
        let names = (0..addresses.len()).map(|index| (format!("listen[{index}].address"), flag));
        self.names.0.extend(names);
    }

    /// The whole of it, to be read.
    pub(crate) fn root(&self) -> Section<'_> {
        Section::root(self.table.clone(), &self.names)
    }
}

impl Names {
    /// What a fault of the value at `path` begins with; `value` is left out where it is a secret.
    fn describe(&self, path: &str, value: Option<&Value>) -> String {
        match (self.0.get(path), value) {
            (Some(flag), Some(Value::String(text))) => format!("{flag} {text}"),
            (Some(flag), Some(value)) => format!("{flag} {value}"),
            (Some(flag), None) => (*flag).to_owned(),
            (None, Some(Value::Table(_) | Value::Array(_)) | None) => path.to_owned(),
            (None, Some(value)) => format!("{path} = {value}"),
        }
    }
}

/// A flag's text as a number, if it is one; else as text, which will be reported where a number is needed.
pub(crate) fn number(text: &str) -> Value {
    let whole = text.parse().map(Value::Integer);
    whole.or_else(|_| text.parse().map(Value::Float)).unwrap_or_else(|_| Value::String(text.to_owned()))
}

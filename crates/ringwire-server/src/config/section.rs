//! Reading a table key by key, with every fault kept and every effective value noted.
//!
//! Each method names a key, its default and what is allowed; the value comes back, or after a fault the default, so
//! that reading goes on and finds all that is wrong. Keys that nobody asked for are faults at the section's end.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::{Table, Value};

use super::Names;

/// A table of the file that is being read.
#[derive(Debug)]
pub(crate) struct Section<'c> {
    names: &'c Names,
    /// Its path with a `.` behind it; empty for the whole file.
    prefix: String,
    /// What has not been read yet.
    written: Table,
    effective: Table,
    known: Vec<String>,
    faults: Vec<String>,
}

/// What reading came to.
#[derive(Debug)]
pub(crate) struct Reading {
    /// All keys that have a value, with the values in force.
    pub(crate) effective: Table,
    /// The paths of all keys there are.
    pub(crate) known: Vec<String>,
    /// All that is wrong.
    pub(crate) faults: Vec<String>,
}

impl<'c> Section<'c> {
    pub(super) fn root(written: Table, names: &'c Names) -> Self {
        Self::new(String::new(), written, names)
    }

    fn new(prefix: String, written: Table, names: &'c Names) -> Self {
        let (effective, known, faults) = (Table::new(), Vec::new(), Vec::new());
        Self { names, prefix, written, effective, known, faults }
    }

    /// A whole number within `range`.
    pub(crate) fn number<T>(&mut self, key: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: TryFrom<i64> + TryInto<i64> + Copy + Display + PartialOrd,
    {
        self.value(
            key,
            Some(default),
            |value| {
                let number = value.as_integer().and_then(|number| T::try_from(number).ok());
                number
                    .filter(|number| range.contains(number))
                    .ok_or_else(|| format!("a whole number from {} to {} is needed", range.start(), range.end()))
            },
            |number| Value::Integer((*number).try_into().unwrap_or(i64::MAX)),
        )
        .unwrap_or(default)
    }

    /// A time in whole milliseconds, up to 365 days.
    pub(crate) fn millis(&mut self, key: &str, default: Duration, least: Duration) -> Duration {
        const DAYS_365_MS: u64 = 365 * 24 * 3600 * 1000;
        let whole = |duration: Duration| u64::try_from(duration.as_millis()).expect("defaults are below 365 days");
        Duration::from_millis(self.number(key, whole(default), whole(least)..=DAYS_365_MS))
    }

    /// A time in whole milliseconds, up to 365 days, or 0 for none.
    pub(crate) fn millis_or_none(&mut self, key: &str, default: Option<Duration>) -> Option<Duration> {
        let duration = self.millis(key, default.unwrap_or_default(), Duration::ZERO);
        (!duration.is_zero()).then_some(duration)
    }

    /// A yes or no.
    pub(crate) fn switch(&mut self, key: &str, default: bool) -> bool {
        let read = |value: &Value| value.as_bool().ok_or_else(|| "true or false is needed".to_owned());
        self.value(key, Some(default), read, |switch| Value::Boolean(*switch)).unwrap_or(default)
    }

    /// A text that `check` takes.
    pub(crate) fn text<T>(&mut self, key: &str, default: &str, check: impl Fn(&str) -> Result<T, String>) -> T {
        let by_default = || (default.to_owned(), check(default).expect("a default is allowed"));
        let read = self.value(
            key,
            Some(by_default()),
            |value| as_text(value, &check),
            |(text, _)| Value::String(text.clone()),
        );
        read.unwrap_or_else(by_default).1
    }

    /// A text that `check` takes, if there is one; it is shown nowhere.
    pub(crate) fn secret<T>(&mut self, key: &str, check: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let written = self.take(key)?;
        match as_text(&written, &check) {
            Ok((_, checked)) => Some(checked),
            Err(words) => {
                self.fault(key, &words);
                None
            }
        }
    }

    /// Has `text` printed as the value of `key`, in the place of what is not to be seen.
    pub(crate) fn shown(&mut self, key: &str, text: String) {
        self.effective.insert(key.to_owned(), Value::String(text));
    }

    /// A list of texts, which are shown nowhere.
    pub(crate) fn secret_texts(&mut self, key: &str) -> Vec<String> {
        let Some(written) = self.take(key) else { return Vec::new() };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = written.as_array().and_then(|texts| texts.iter().map(text).collect());
        texts.unwrap_or_else(|| {
            self.fault(key, "a list of texts is needed, each in quotes");
            Vec::new()
        })
    }

    /// A text that `check` takes, if there is one.
    pub(crate) fn optional_text<T>(&mut self, key: &str, check: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let read = |value: &Value| as_text(value, &check);
        self.value(key, None, read, |(text, _)| Value::String(text.clone())).map(|(_, checked)| checked)
    }

    /// A value that `check` takes, if there is one.
    pub(crate) fn optional<T>(&mut self, key: &str, check: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let read = |value: &Value| check(value).map(|checked| (value.clone(), checked));
        self.value(key, None, read, |(value, _)| value.clone()).map(|(_, checked)| checked)
    }

    /// Any value that `check` takes.
    pub(crate) fn any<T>(&mut self, key: &str, default: Value, check: impl Fn(&Value) -> Result<T, String>) -> T {
        let by_default = || (default.clone(), check(&default).expect("a default is allowed"));
        let read = |value: &Value| check(value).map(|checked| (value.clone(), checked));
        self.value(key, Some(by_default()), read, |(value, _)| value.clone()).unwrap_or_else(by_default).1
    }

    /// A section of this section, all of whose keys have defaults.
    pub(crate) fn section<T>(&mut self, key: &str, read: impl FnOnce(&mut Section<'c>) -> T) -> T {
        let written = self.take(key);
        let path = self.path(key);
        let (value, effective) = self.inner(path, written, read);
        self.effective.insert(key.to_owned(), Value::Table(effective));
        value
    }

    /// The sections of an array (`[[key]]`); one with defaults if there is no array. None is a fault.
    pub(crate) fn sections<T>(&mut self, key: &str, mut read: impl FnMut(&mut Section<'c>) -> T) -> Vec<T> {
        let written = self.tables(key).unwrap_or_else(|| vec![Value::Table(Table::new())]);
        if written.is_empty() {
            self.fault(key, "at least one is needed");
        }
        self.each(key, written, &mut read)
    }

    /// The sections of an array (`[[key]]`), of which there may be none. `read` is also asked once which keys one has.
    pub(crate) fn optional_sections<T>(&mut self, key: &str, mut read: impl FnMut(&mut Section<'c>) -> T) -> Vec<T> {
        let written = self.tables(key).unwrap_or_default();
        if written.is_empty() {
            let mut nothing = Section::new(format!("{}[].", self.path(key)), Table::new(), self.names);
            read(&mut nothing);
            self.known.extend(nothing.finish().known);
            return Vec::new();
        }
        self.each(key, written, &mut read)
    }

    /// What is written of an array of tables.
    fn tables(&mut self, key: &str) -> Option<Vec<Value>> {
        match self.take(key)? {
            Value::Array(written) => Some(written),
            other => {
                self.fault_of(key, Some(&other), &format!("tables are needed, each under [[{key}]]"));
                Some(Vec::new())
            }
        }
    }

    fn each<T>(&mut self, key: &str, written: Vec<Value>, read: &mut impl FnMut(&mut Section<'c>) -> T) -> Vec<T> {
        let path = self.path(key);
        let all = written.into_iter().enumerate();
        let (values, effective): (Vec<T>, Vec<Table>) =
            all.map(|(index, written)| self.inner(format!("{path}[{index}]"), Some(written), &mut *read)).unzip();
        self.effective.insert(key.to_owned(), Value::Array(effective.into_iter().map(Value::Table).collect()));
        values
    }

    /// Whether the file or a flag has this key, and it has not been read.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }

    /// Notes what is wrong with the key, where its value says nothing or must not be shown.
    pub(crate) fn fault(&mut self, key: &str, words: &str) {
        self.fault_of(key, None, words);
    }

    /// Reports what was not read, and ends.
    pub(crate) fn finish(mut self) -> Reading {
        let strange: Vec<String> = self.written.keys().cloned().collect();
        let here = self.known.iter().filter_map(|path| {
            let key = path.strip_prefix(&self.prefix)?;
            (!key.contains(['.', '['])).then_some(key)
        });
        let mut here: Vec<&str> = here.collect();
        here.dedup();
        let words = format!("there is no such key; there are {}", here.join(", "));
        for key in strange {
            self.fault(&key, &words);
        }
        let Self { effective, known, faults, .. } = self;
        Reading { effective, known, faults }
    }

    fn inner<T>(
        &mut self,
        path: String,
        written: Option<Value>,
        read: impl FnOnce(&mut Section<'c>) -> T,
    ) -> (T, Table) {
        let table = match written {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                let what = self.names.describe(&path, Some(&other));
                self.faults.push(format!("{what}: a table is needed, with keys of its own"));
                Table::new()
            }
        };
        let mut section = Section::new(format!("{path}."), table, self.names);
        let value = read(&mut section);
        let reading = section.finish();
        self.known.extend(reading.known);
        self.faults.extend(reading.faults);
        (value, reading.effective)
    }

    /// The value that was written, checked, or else the default; `show` is its form in a file.
    fn value<T>(
        &mut self,
        key: &str,
        default: Option<T>,
        check: impl FnOnce(&Value) -> Result<T, String>,
        show: impl FnOnce(&T) -> Value,
    ) -> Option<T> {
        let value = match self.take(key) {
            None => default,
            Some(written) => match check(&written) {
                Ok(value) => Some(value),
                Err(words) => {
                    self.fault_of(key, Some(&written), &words);
                    default
                }
            },
        };
        if let Some(value) = &value {
            self.effective.insert(key.to_owned(), show(value));
        }
        value
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let path = self.path(key);
        self.known.push(path);
        self.written.remove(key)
    }

    fn fault_of(&mut self, key: &str, value: Option<&Value>, words: &str) {
        let what = self.names.describe(&self.path(key), value);
        self.faults.push(format!("{what}: {words}"));
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

fn as_text<T>(value: &Value, check: impl Fn(&str) -> Result<T, String>) -> Result<(String, T), String> {
    let text = value.as_str().ok_or("a text in quotes is needed")?;
    check(text).map(|checked| (text.to_owned(), checked))
}

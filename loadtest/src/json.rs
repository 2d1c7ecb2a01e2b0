//! JSON, as far as results are written in it (RFC 8259).

use std::fmt::{self, Write as _};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// What is not known.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(u64),
    /// A number; one that is not finite is written as `null`.
    Number(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Json>),
    /// Named values in order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// An object of these members.
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        Json::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Json::Integer(value)
    }
}

impl From<usize> for Json {
    fn from(value: usize) -> Self {
        Json::Integer(value as u64)
    }
}

impl From<f64> for Json {
    fn from(value: f64) -> Self {
        Json::Number(value)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Json::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Self {
        Json::Text(value.to_owned())
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Self {
        Json::List(values.into_iter().map(Into::into).collect())
    }
}

impl fmt::Display for Json {
    /// Objects two spaces deep per level, lists in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, 0, f)
    }
}

fn write(value: &Json, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Json::Null => f.write_str("null"),
        Json::Bool(value) => write!(f, "{value}"),
        Json::Integer(value) => write!(f, "{value}"),
        // Four digits behind the point are more than any measurement here means.
        Json::Number(value) if value.is_finite() => write!(f, "{}", (value * 1e4).round() / 1e4),
        Json::Number(_) => f.write_str("null"),
        Json::Text(text) => write_text(text, f),
        Json::List(values) => {
            for (index, value) in values.iter().enumerate() {
                f.write_str(if index == 0 { "[" } else { ", " })?;
                write(value, depth + 1, f)?;
            }
            f.write_str(if values.is_empty() { "[]" } else { "]" })
        }
        Json::Object(members) => {
            for (index, (name, value)) in members.iter().enumerate() {
                f.write_str(if index == 0 { "{\n" } else { ",\n" })?;
                write!(f, "{:1$}", "", 2 * (depth + 1))?;
                write_text(name, f)?;
                f.write_str(": ")?;
                write(value, depth + 1, f)?;
            }
            if members.is_empty() { f.write_str("{}") } else { write!(f, "\n{:1$}}}", "", 2 * depth) }
        }
    }
}

fn write_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_json() {
        let value = Json::object([
            ("text", "a\"b\\c\n\u{1}ж".into()),
            ("numbers", Json::List(vec![7u64.into(), 0.25.into(), f64::NAN.into(), 2.0.into(), 1.23456.into()])),
            ("none", Json::from(None::<u64>)),
            ("empty", Json::List(vec![])),
            ("inner", Json::object([("yes", true.into())])),
        ]);
        let want = "{\n  \"text\": \"a\\\"b\\\\c\\n\\u0001ж\",\n  \"numbers\": [7, 0.25, null, 2, 1.2346],\n  \
                    \"none\": null,\n  \"empty\": [],\n  \"inner\": {\n    \"yes\": true\n  }\n}";
        assert_eq!(value.to_string(), want);
    }
}

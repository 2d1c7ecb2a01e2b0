//! JSON as records are written in it, and how it is read: members in their order, lists in one line each.

use std::fmt::Write as _;

use serde_json::Value;

/// Something that can be written.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    /// A number, a text, a list: written in one line.
    Line(Value),
    /// Members in this order, one a line.
    Members(Vec<(String, Json)>),
}

impl<T: Into<Value>> From<T> for Json {
    fn from(value: T) -> Self {
        Self::Line(value.into())
    }
}

impl Json {
    /// Members of these names.
    pub(crate) fn members<const N: usize>(members: [(&str, Json); N]) -> Self {
        Self::Members(members.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The text of a file.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(0, &mut text);
        text + "\n"
    }

    fn write(&self, depth: usize, text: &mut String) {
        match self {
            Self::Line(Value::Array(values)) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                let _ = write!(text, "[{}]", values.join(", "));
            }
            Self::Line(value) => *text += &value.to_string(),
            Self::Members(members) if members.is_empty() => *text += "{}",
            Self::Members(members) => {
                for (index, (name, value)) in members.iter().enumerate() {
                    let _ = write!(text, "{}\n{:2$}", if index == 0 { "{" } else { "," }, "", 2 * (depth + 1));
                    let _ = write!(text, "{}: ", Value::from(name.as_str()));
                    value.write(depth + 1, text);
                }
                let _ = write!(text, "\n{:1$}}}", "", 2 * depth);
            }
        }
    }
}

/// A member of an object, by its path: `machine.kernel`.
pub(crate) fn member<'a>(value: &'a Value, path: &str) -> Result<&'a Value, String> {
    let found = path.split('.').try_fold(value, |value, name| value.get(name));
    found.ok_or_else(|| format!("it has no `{path}`"))
}

pub(crate) fn text(value: &Value, path: &str) -> Result<String, String> {
    let found = member(value, path)?.as_str();
    found.map(str::to_owned).ok_or_else(|| format!("`{path}` is no text"))
}

pub(crate) fn number(value: &Value, path: &str) -> Result<f64, String> {
    member(value, path)?.as_f64().ok_or_else(|| format!("`{path}` is no number"))
}

pub(crate) fn whole(value: &Value, path: &str) -> Result<u64, String> {
    member(value, path)?.as_u64().ok_or_else(|| format!("`{path}` is no whole number"))
}

pub(crate) fn list<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], String> {
    let found = member(value, path)?.as_array();
    found.map(Vec::as_slice).ok_or_else(|| format!("`{path}` is no list"))
}

pub(crate) fn texts(value: &Value, path: &str) -> Result<Vec<String>, String> {
    let texts = list(value, path)?.iter().map(|text| text.as_str().map(str::to_owned));
    texts.collect::<Option<_>>().ok_or_else(|| format!("`{path}` holds what is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_their_order_and_lists_in_one_line() {
        let inner = Json::members([("list", vec![Some(1.5), None].into()), ("none", Json::Members(Vec::new()))]);
        let json = Json::members([("z", "a \"b\"".into()), ("a", inner)]);
        let text = "{\n  \"z\": \"a \\\"b\\\"\",\n  \"a\": {\n    \"list\": [1.5, null],\n    \"none\": {}\n  }\n}\n";
        assert_eq!(json.to_text(), text);
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_named() {
        let value: Value = serde_json::from_str("{\"a\": {\"b\": 1.5, \"c\": [\"x\", 1]}}").unwrap();
        assert_eq!(number(&value, "a.b"), Ok(1.5));
        assert_eq!(number(&value, "a.d"), Err("it has no `a.d`".to_owned()));
        assert_eq!(whole(&value, "a.b"), Err("`a.b` is no whole number".to_owned()));
        assert_eq!(texts(&value, "a.c"), Err("`a.c` holds what is no text".to_owned()));
        assert!(text(&value, "a.b").is_err() && list(&value, "a.b").is_err());
    }
}

//! What a message of an upstream server is: which topic, key, data and number, by JSON pointers (RFC 6901).
//!
//! What a pointer finds is a slice of the message as it came: data is passed on byte for byte. A member whose name is
//! written with escapes in the message is not found.

use std::borrow::Cow;
use std::fmt;

use ringwire_hub::TopicName;

use crate::json::JsonCheck;
use crate::lanes::{Payload, Publication};
use crate::native::scan;

/// A place in a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<String>,
}

/// A topic's name with places for what a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    At(Pointer),
}

/// What the messages of a server are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The topic.
    pub topic: Template,
    /// The key, if entries have one.
    pub key: Option<Pointer>,
    /// What is published; without it, the whole message.
    pub data: Option<Pointer>,
    /// The server's own number, where there is one.
    pub seq: Option<Pointer>,
}

/// Why a message is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmapped {
    /// It is not JSON, and a pointer is to find something in it.
    NotJson,
    /// A pointer finds nothing, or no text or number where one is needed.
    Nothing(String),
    /// What was found is no topic; why.
    NoTopic(String),
}

impl Pointer {
    /// Reads `/a/b~1c/0`.
    ///
    /// # Errors
    /// That it is no pointer, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || "a JSON pointer is needed, as in /data/price (in a name, ~0 stands for ~ and ~1 for /)".to_owned();
        let rest = text.strip_prefix('/').ok_or_else(wrong)?;
        let step = |step: &str| {
            let is_escaped = step.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
            if is_escaped { Ok(step.replace("~1", "/").replace("~0", "~")) } else { Err(wrong()) }
        };
        let steps = rest.split('/').map(step).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), steps })
    }

    /// What it finds in `json`, which is one valid JSON text.
    fn find<'j>(&self, json: &'j str) -> Option<&'j str> {
        self.steps.iter().try_fold(json.trim_ascii(), |json, step| {
            if json.starts_with('{') {
                return scan::member(json, step);
            }
            let is_index = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
            let index = step.parse::<usize>().ok().filter(|_| is_index)?;
            scan::elements(json)?.get(index).copied()
        })
    }

    /// The text, or the number's digits, that it finds.
    fn text<'j>(&self, json: &'j str) -> Result<Cow<'j, str>, Unmapped> {
        let nothing = || Unmapped::Nothing(self.text.clone());
        let found = self.find(json).ok_or_else(nothing)?;
        match found.as_bytes().first() {
            Some(b'"') if !found.contains('\\') => Ok(found[1..found.len() - 1].into()),
            Some(b'"') => {
                let mut copy = found.as_bytes().to_vec();
                simd_json::from_slice::<String>(&mut copy).map(Cow::Owned).map_err(|_| nothing())
            }
            Some(b'-' | b'0'..=b'9') => Ok(found.into()),
            _ => Err(nothing()),
        }
    }
}

impl Template {
    /// Reads `quotes.{/s}`: what is in braces is a pointer.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (pointer, behind) = after.split_once('}').ok_or("a brace is opened and not closed")?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::At(Pointer::parse(pointer)?));
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        let sample: String = parts.iter().map(|part| if let Part::Text(text) = part { text } else { "x" }).collect();
        TopicName::new(&sample).map_err(|error| error.to_string())?;
        Ok(Self(parts))
    }

    fn is_constant(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    fn name(&self, json: &str) -> Result<TopicName, Unmapped> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::At(pointer) => name.push_str(&pointer.text(json)?),
            }
        }
        TopicName::new(&name).map_err(|error| Unmapped::NoTopic(error.to_string()))
    }
}

impl From<Pointer> for Template {
    fn from(pointer: Pointer) -> Self {
        Self(vec![Part::At(pointer)])
    }
}

impl Mapping {
    /// Calls `publish` with what a message publishes, and where.
    ///
    /// # Errors
    /// Why it publishes nothing.
    pub fn map<T>(
        &self,
        json: &mut JsonCheck,
        message: Payload<'_>,
        publish: impl FnOnce(&TopicName, Publication<'_>) -> T,
    ) -> Result<T, Unmapped> {
        if self.topic.is_constant() && self.key.is_none() && self.data.is_none() && self.seq.is_none() {
            return Ok(publish(&self.topic.name("")?, message.into()));
        }
        let text = match message {
            Payload::Text(text) | Payload::Json(text) if json.is_json(text.as_bytes()) => text,
            _ => return Err(Unmapped::NotJson),
        };
        let name = self.topic.name(text)?;
        let data = match &self.data {
            None => text,
            Some(pointer) => pointer.find(text).ok_or_else(|| Unmapped::Nothing(pointer.text.clone()))?,
        };
        let key = self.key.as_ref().map(|pointer| pointer.text(text)).transpose()?;
        let source_seq = self.seq.as_ref().and_then(|pointer| pointer.text(text).ok()?.parse().ok());
        let subject = key.as_deref().map_or(ringwire_hub::Subject::Message, ringwire_hub::Subject::Update);
        Ok(publish(&name, Publication { source_seq, subject, ..Payload::Json(data).into() }))
    }
}

impl fmt::Display for Unmapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("it is not JSON"),
            Self::Nothing(pointer) => write!(f, "there is no {pointer} in it that could be used"),
            Self::NoTopic(why) => write!(f, "what it says is no topic: {why}"),
        }
    }
}

impl std::error::Error for Unmapped {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6901 §5.
    const EXAMPLE: &str = "{\"foo\": [\"bar\", \"baz\"],\"\": 0,\"a/b\": 1,\"c%d\": 2,\"e^f\": 3,\"g|h\": 4,\"k'l\": 6,\" \": 7,\"m~n\": 8}";

    #[test]
    fn pointers_find_what_the_rfc_says() {
        for (pointer, want) in [
            ("/foo", Some("[\"bar\", \"baz\"]")),
            ("/foo/0", Some("\"bar\"")),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/m~0n", Some("8")),
            ("/ ", Some("7")),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/0/x", None),
            ("/nothing", None),
        ] {
            assert_eq!(Pointer::parse(pointer).unwrap().find(EXAMPLE), want, "{pointer}");
        }
        for other in ["", "foo", "/a~", "/a~2"] {
            assert!(Pointer::parse(other).is_err(), "{other}");
        }
    }

    fn mapping(topic: &str) -> Mapping {
        Mapping { topic: Template::parse(topic).unwrap(), key: None, data: None, seq: None }
    }

    fn mapped(mapping: &Mapping, message: &str) -> Result<String, Unmapped> {
        mapping.map(&mut JsonCheck::default(), Payload::Text(message), |name, publication| {
            let Publication { payload, subject, source_seq, .. } = publication;
            format!("{name} {subject:?} {source_seq:?} {}", String::from_utf8_lossy(payload.bytes()))
        })
    }

    #[test]
    fn a_message_is_mapped_by_pointers_and_its_data_stays_as_it_was_written() {
        let all = Mapping {
            key: Some(Pointer::parse("/d/p").unwrap()),
            data: Some(Pointer::parse("/d").unwrap()),
            seq: Some(Pointer::parse("/u").unwrap()),
            ..mapping("book.{/s}.{/n}")
        };
        let message = " {\"s\":\"BTC\\u002dUSD\",\"n\":5,\"u\":7,\"d\":{ \"p\":\"1.50\" }} ";
        assert_eq!(mapped(&all, message).unwrap(), "book.BTC-USD.5 Update(\"1.50\") Some(7) { \"p\":\"1.50\" }");
        let nothing = |pointer: &str| Err(Unmapped::Nothing(pointer.to_owned()));
        assert_eq!(mapped(&all, "{\"s\":\"a\",\"n\":null}"), nothing("/n"));
        assert_eq!(mapped(&all, "{\"s\":\"a\",\"n\":1}"), nothing("/d"));
        assert_eq!(mapped(&all, "{\"s\":\"a\",\"n\":1,\"d\":{}}"), nothing("/d/p"));
        assert_eq!(mapped(&all, "hello"), Err(Unmapped::NotJson));
        assert!(matches!(mapped(&all, "{\"s\":\"a b\",\"n\":1}"), Err(Unmapped::NoTopic(_))));
        let without = "{\"s\":\"a\",\"n\":1,\"d\":{\"p\":2}}";
        assert_eq!(
            mapped(&all, without).unwrap(),
            "book.a.1 Update(\"2\") None {\"p\":2}",
            "a number need not be there"
        );
    }

    #[test]
    fn without_pointers_any_message_is_published_as_it_is() {
        assert_eq!(mapped(&mapping("all"), "hello").unwrap(), "all Message None hello");
    }

    #[test]
    fn faulty_templates_say_what_is_wrong() {
        for (text, words) in [("a.{/s", "not closed"), ("a.{s}", "a JSON pointer is needed"), ("a b", ""), ("", "")] {
            let fault = Template::parse(text).unwrap_err();
            assert!(fault.contains(words), "{text}: {fault}");
        }
    }
}

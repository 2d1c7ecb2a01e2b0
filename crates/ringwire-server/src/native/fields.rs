//! Members of JSON objects as typed fields: what a parser's tape holds, and a fault that names the field if it is
//! something else.

use simd_json::{Node, StaticNode};

use super::fault::{Fault, wants};
use super::request::Method;

/// A value: its node, and those of what is in it.
pub(super) type Value<'t, 'i> = &'t [Node<'i>];

/// The members of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Members<'t, 'i>(&'t [Node<'i>]);

impl<'t, 'i> Iterator for Members<'t, 'i> {
    type Item = (&'i str, Value<'t, 'i>);

    fn next(&mut self) -> Option<Self::Item> {
        let (Node::String(name), rest) = self.0.split_first()? else { return None };
        let (value, behind) = rest.split_at(nodes(rest.first()?).min(rest.len()));
        self.0 = behind;
        Some((name, value))
    }
}

/// The members of `value`, if it is an object.
pub(super) fn members<'t, 'i>(value: Value<'t, 'i>) -> Option<Members<'t, 'i>> {
    match value.split_first()? {
        (Node::Object { .. }, inside) => Some(Members(inside)),
        _ => None,
    }
}

/// The same; if it is another, `field` is at fault.
pub(super) fn object<'t, 'i>(
    field: &'static str,
    value: Value<'t, 'i>,
    wants: &'static str,
) -> Result<Members<'t, 'i>, Fault> {
    members(value).ok_or(Fault::Wrong(field, wants))
}

/// A string.
pub(super) fn text<'i>(field: &'static str, value: Value<'_, 'i>) -> Result<&'i str, Fault> {
    text_of(field, value, 0..=usize::MAX, wants::TEXT)
}

/// A string of so many bytes.
pub(super) fn text_of<'i>(
    field: &'static str,
    value: Value<'_, 'i>,
    bytes: std::ops::RangeInclusive<usize>,
    wants: &'static str,
) -> Result<&'i str, Fault> {
    match value.first() {
        Some(Node::String(text)) if bytes.contains(&text.len()) => Ok(text),
        _ => Err(Fault::Wrong(field, wants)),
    }
}

/// `true` or `false`.
pub(super) fn flag(field: &'static str, value: Value<'_, '_>) -> Result<bool, Fault> {
    match value.first() {
        Some(Node::Static(StaticNode::Bool(flag))) => Ok(*flag),
        _ => Err(Fault::Wrong(field, wants::FLAG)),
    }
}

/// A whole number in `range`.
pub(super) fn number<N: TryFrom<u64> + PartialOrd>(
    field: &'static str,
    value: Value<'_, '_>,
    range: std::ops::RangeInclusive<N>,
    wants: &'static str,
) -> Result<N, Fault> {
    let number = whole(value).and_then(|number| N::try_from(number).ok());
    number.filter(|number| range.contains(number)).ok_or(Fault::Wrong(field, wants))
}

/// A whole number that is not negative.
pub(super) fn whole(value: Value<'_, '_>) -> Option<u64> {
    match value.first() {
        Some(Node::Static(StaticNode::U64(number))) => Some(*number),
        Some(Node::Static(StaticNode::I64(number))) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// A string, or an array of strings.
pub(super) fn texts<'i>(field: &'static str, value: Value<'_, 'i>) -> Result<Vec<&'i str>, Fault> {
    let wrong = Fault::Wrong(field, wants::TOPICS);
    match value.split_first() {
        Some((Node::String(one), _)) => Ok(vec![one]),
        // An array of strings alone has as many nodes in it as elements.
        Some((Node::Array { len, .. }, inside)) if *len > 0 && *len == inside.len() => {
            let one = |node: &Node<'i>| if let Node::String(text) = node { Some(*text) } else { None };
            inside.iter().map(one).collect::<Option<_>>().ok_or(wrong)
        }
        _ => Err(wrong),
    }
}

/// Puts a field's value where it belongs, unless there is one.
pub(super) fn put<T>(field: &'static str, slot: &mut Option<T>, value: Result<T, Fault>) -> Result<(), Fault> {
    match slot.replace(value?) {
        None => Ok(()),
        Some(_) => Err(Fault::Twice(field)),
    }
}

/// A field that `method` cannot do without.
pub(super) fn needed<T>(method: Method, field: &'static str, slot: Option<T>) -> Result<T, Fault> {
    slot.ok_or(Fault::Missing(method, field))
}

/// How many nodes a value has that begins with `first`.
fn nodes(first: &Node<'_>) -> usize {
    match first {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        Node::String(_) | Node::Static(_) => 1,
    }
}

//! `[[topics]]`: what holds for topics, by pattern of their names.
//!
//! Rules are asked in their order, and the first whose pattern matches decides alone: a rule takes what it does not say
//! from the defaults, not from other rules. Names that no rule matches have the built-in rule, whose values are those
//! defaults; names that begin with `$`, the server's own, have one by which nobody else publishes.

use std::time::Duration;

use ringwire_hub::{LaneId, Pattern, Retention, SlowPolicy, TopicKind, TopicName, Wanted};

use super::rate::RateLimit;
use crate::config::Section;
use crate::lanes::PAYLOAD_BYTES_MAX;

/// Most rules. A topic asks them one by one when it is opened.
pub const RULES_MAX: usize = 1024;
/// How many keys a keyed topic has by default at most.
const KEYS_MAX: u32 = 100_000;
/// Most that `retention.bytes` may say: 64 GiB.
const RETENTION_BYTES_MAX: usize = 64 << 30;
/// What a topic keeps, in each form that is subscribed to: enough for a burst that outruns its subscribers for a
/// moment, and no more than a minute, so that the bytes are a limit and not a habit.
const RETENTION: Retention = Retention { entries: 1 << 20, bytes: 4 << 20, age_us: 60_000_000 };

/// What holds for the topics that a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// Which topics; the built-in rules match what is left.
    pub pattern: Pattern,
    /// Whether entries have keys.
    pub kind: RuleKind,
    /// How much is kept.
    pub retention: Retention,
    /// What becomes of a subscriber that reads too slowly.
    pub slow: SlowPolicy,
    /// How far a subscriber may lag before `slow` takes effect, in bytes of what it is sent; `u64::MAX`: as far as
    /// retention reaches.
    pub backlog_bytes_max: u64,
    /// Longest payload of an entry; at most [`PAYLOAD_BYTES_MAX`].
    pub entry_bytes_max: usize,
    /// Who may publish.
    pub publish: Who,
    /// Who may subscribe.
    pub subscribe: Who,
    /// How many entries a second one connection may publish to one such topic.
    pub publish_rate: Option<RateLimit>,
    /// What is told of who subscribes.
    pub presence: Presence,
    /// Whether the log outlives the server.
    pub persistent: bool,
    /// If not 0: how many times a second subscribers are served, of each key only the latest.
    pub tick_hz: u16,
    /// How far behind a subscriber may be, in time, before entries are left out for it.
    pub max_age: Option<Duration>,
}

/// Whether entries have keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Entries are messages and nothing else.
    Plain,
    /// An entry may update or remove a key, and the last of each key is kept.
    Keyed {
        /// Most keys at a time.
        keys_max: u32,
        /// How long a key stays without an update.
        key_ttl: Option<Duration>,
    },
}

/// Who may do something with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// As `[auth]` and `[publish]` have it for topics about which nothing is said.
    Default,
    /// Anyone who reaches the server, with or without credentials, pages of other origins included.
    Anyone,
    /// Whose token or key allows this topic.
    Authenticated,
    /// Nobody but the server itself.
    Nobody,
}

/// What is told of who subscribes to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Off,
    /// How many there are.
    Count,
    /// Who they are.
    Members,
}

impl TopicRule {
    /// What holds for topics that no rule matches, with this policy for slow subscribers.
    fn built_in(pattern: &str, slow: SlowPolicy) -> Self {
        Self {
            pattern: Pattern::new(pattern).expect("the pattern is a constant"),
            kind: RuleKind::Plain,
            retention: RETENTION,
            slow,
            backlog_bytes_max: u64::MAX,
            entry_bytes_max: PAYLOAD_BYTES_MAX,
            publish: Who::Default,
            subscribe: Who::Default,
            publish_rate: None,
            presence: Presence::Off,
            persistent: false,
            tick_hz: 0,
            max_age: None,
        }
    }

    /// Its kind, for the hub.
    pub fn topic_kind(&self) -> TopicKind {
        match self.kind {
            RuleKind::Plain => TopicKind::Plain,
            RuleKind::Keyed { keys_max, key_ttl } => {
                TopicKind::Keyed { keys_max, key_ttl_us: key_ttl.map_or(u64::MAX, micros) }
            }
        }
    }

    /// What a subscriber gets that asks for nothing but a form.
    pub fn wanted(&self, lane: LaneId) -> Wanted {
        Wanted { max_age_us: self.max_age.map_or(u64::MAX, micros), ..Wanted::all(lane, self.slow) }
    }

    /// Time between two ticks, in microseconds; 0 without them.
    pub fn tick_us(&self) -> u64 {
        1_000_000u64.checked_div(u64::from(self.tick_hz)).unwrap_or(0)
    }
}

/// A time of the configuration in microseconds.
fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a year at most")
}

/// The rules in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRules {
    written: Vec<TopicRule>,
    rest: TopicRule,
    own: TopicRule,
}

impl TopicRules {
    /// Rules of which none is written; `slow` is what becomes of slow subscribers where no rule says it.
    pub fn built_in(slow: SlowPolicy) -> Self {
        Self::new(Vec::new(), slow)
    }

    fn new(written: Vec<TopicRule>, slow: SlowPolicy) -> Self {
        let kind = RuleKind::Keyed { keys_max: KEYS_MAX, key_ttl: None };
        // The server's own topics, such as who is present, tell the latest once a second.
        let own = TopicRule { kind, publish: Who::Nobody, tick_hz: 1, ..TopicRule::built_in("$server.>", slow) };
        Self { written, rest: TopicRule::built_in(">", slow), own }
    }

    /// The rule of a topic: the first that matches, or a built-in one.
    pub fn rule_for(&self, name: &TopicName) -> &TopicRule {
        let built_in = if name.as_str().starts_with('$') { &self.own } else { &self.rest };
        self.written.iter().find(|rule| rule.pattern.matches(name)).unwrap_or(built_in)
    }

    /// Whether there are topics whose keys go without an update.
    pub fn keys_expire(&self) -> bool {
        self.written.iter().any(|rule| matches!(rule.kind, RuleKind::Keyed { key_ttl: Some(_), .. }))
    }

    /// The rules that are written, in their order.
    pub fn written(&self) -> &[TopicRule] {
        &self.written
    }
}

impl Default for TopicRules {
    fn default() -> Self {
        Self::built_in(SlowPolicy::Drop)
    }
}

/// Reads `slow`.
pub(super) fn slow(text: &str) -> Result<SlowPolicy, String> {
    match text {
        "drop" => Ok(SlowPolicy::Drop),
        "disconnect" => Ok(SlowPolicy::Disconnect),
        "latest" => Ok(SlowPolicy::Latest),
        _ => Err("`drop`, `disconnect` or `latest` is needed".into()),
    }
}

/// Reads all `[[topics]]`.
pub(super) fn topics(root: &mut Section<'_>, by_default: SlowPolicy) -> TopicRules {
    let mut patterns: Vec<Option<Pattern>> = Vec::new();
    let rules = root.optional_sections("topics", |section| {
        let pattern = pattern(section, &patterns);
        patterns.push(pattern.clone());
        rule(section, pattern, by_default)
    });
    if rules.len() > RULES_MAX {
        root.fault("topics", &format!("{} rules are too many: at most {RULES_MAX} are read", rules.len()));
    }
    TopicRules::new(rules, by_default)
}

/// Reads `match`, which must be a pattern that no rule before makes pointless.
fn pattern(section: &mut Section<'_>, before: &[Option<Pattern>]) -> Option<Pattern> {
    if !section.has("match") {
        section.fault("match", "say which topics the rule is for, as in match = \"book.>\" or match = \"chat\"");
    }
    section.optional_text("match", |text| {
        let pattern = Pattern::new(text).map_err(|error| error.to_string())?;
        match before.iter().position(|other| other.as_ref().is_some_and(|other| other.contains(&pattern))) {
            Some(at) => Err(format!("topics[{at}] comes first and matches all of these; put this rule before it")),
            None => Ok(pattern),
        }
    })
}

/// Reads a rule; `None` for a pattern that is missing or wrong, which has been reported.
fn rule(section: &mut Section<'_>, pattern: Option<Pattern>, by_default: SlowPolicy) -> TopicRule {
    let rule = TopicRule::built_in(">", by_default);
    TopicRule {
        pattern: pattern.unwrap_or(rule.pattern),
        kind: kind(section),
        retention: section.section("retention", |retention| kept(retention, rule.retention)),
        slow: section.text("slow", slow_word(by_default), slow),
        backlog_bytes_max: match section.number("backlog_bytes_max", 0, 0..=u64::MAX >> 1) {
            0 => u64::MAX,
            bytes => bytes,
        },
        entry_bytes_max: section.number("entry_bytes_max", rule.entry_bytes_max, 1..=PAYLOAD_BYTES_MAX),
        publish: section.text("publish", "default", who),
        subscribe: section.text("subscribe", "default", who),
        publish_rate: RateLimit::read(section, "publish_per_second_max", "publish_burst"),
        presence: section.text("presence", "off", presence),
        persistent: section.switch("persistent", rule.persistent),
        tick_hz: section.number("tick_hz", rule.tick_hz, 0..=1000),
        max_age: section.millis_or_none("max_age_ms", rule.max_age),
    }
}

fn kind(section: &mut Section<'_>) -> RuleKind {
    let is_keyed = section.text("kind", "plain", |text| match text {
        "plain" => Ok(false),
        "keyed" => Ok(true),
        _ => Err("`plain` or `keyed` is needed".to_owned()),
    });
    let keys_max = section.number("keys_max", KEYS_MAX, 1..=1 << 30);
    let key_ttl = section.millis_or_none("key_ttl_ms", None);
    if is_keyed {
        return RuleKind::Keyed { keys_max, key_ttl };
    }
    for (key, said) in [("keys_max", keys_max != KEYS_MAX), ("key_ttl_ms", key_ttl.is_some())] {
        if said {
            section.fault(key, "only entries of a keyed topic have keys: say kind = \"keyed\"");
        }
    }
    RuleKind::Plain
}

fn kept(section: &mut Section<'_>, by_default: Retention) -> Retention {
    let age = section.millis_or_none("age_ms", Some(Duration::from_micros(by_default.age_us)));
    Retention {
        entries: section.number("entries", by_default.entries, 1..=1 << 40),
        bytes: section.number("bytes", by_default.bytes, 1024..=RETENTION_BYTES_MAX),
        age_us: age.map_or(u64::MAX, micros),
    }
}

fn slow_word(slow: SlowPolicy) -> &'static str {
    match slow {
        SlowPolicy::Drop => "drop",
        SlowPolicy::Disconnect => "disconnect",
        SlowPolicy::Latest => "latest",
    }
}

fn who(text: &str) -> Result<Who, String> {
    match text {
        "default" => Ok(Who::Default),
        "anyone" => Ok(Who::Anyone),
        "authenticated" => Ok(Who::Authenticated),
        "nobody" => Ok(Who::Nobody),
        _ => Err("`default`, `anyone`, `authenticated` or `nobody` is needed".to_owned()),
    }
}

fn presence(text: &str) -> Result<Presence, String> {
    match text {
        "off" => Ok(Presence::Off),
        "count" => Ok(Presence::Count),
        "members" => Ok(Presence::Members),
        _ => Err("`off`, `count` or `members` is needed".to_owned()),
    }
}

//! Each rule about rules of topics.

use ringwire_hub::{SlowPolicy, TopicName};

use super::*;

fn rules(text: &str) -> TopicRules {
    file(text).expect("no faults").topics
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).expect("a name")
}

#[test]
fn the_first_rule_that_matches_decides_alone() {
    let rules = rules(
        "[[topics]]\nmatch = \"book.*\"\nkind = \"keyed\"\nkeys_max = 7\n\
         [[topics]]\nmatch = \"book.>\"\ntick_hz = 20\n",
    );
    let keyed = rules.rule_for(&name("book.BTC"));
    assert_eq!((keyed.kind, keyed.tick_hz), (RuleKind::Keyed { keys_max: 7, key_ttl: None }, 0));
    let ticking = rules.rule_for(&name("book.BTC.L2"));
    assert_eq!((ticking.kind, ticking.tick_hz), (RuleKind::Plain, 20));
    assert_eq!(rules.rule_for(&name("trades.BTC")), rules.rule_for(&name("x")), "the built-in rule has the rest");
}

#[test]
fn nobody_publishes_to_the_servers_own_topics_unless_a_rule_names_them() {
    let all = rules("[[topics]]\nmatch = \">\"\npublish = \"anyone\"\n");
    assert_eq!(all.rule_for(&name("a")).publish, Who::Anyone);
    assert_eq!(all.rule_for(&name("$presence.a")).publish, Who::Nobody);
    let named = rules("[[topics]]\nmatch = \"$presence.>\"\ntick_hz = 5\n");
    assert_eq!(named.rule_for(&name("$presence.a")).tick_hz, 5);
}

#[test]
fn all_faults_of_rules_are_reported_at_once_with_their_paths() {
    let found = faults_of_file(
        "[[topics]]\nmatch = \"a.>\"\nkind = \"map\"\nretention.entries = 0\nretention.size = 1\n\
         [[topics]]\ntick_hz = 1001\npublish = \"users\"\npublish_burst = 3\n\
         [[topics]]\nmatch = \"a.*\"\npresence = \"on\"\nslow = \"wait\"\n\
         [[topics]]\nmatch = \"b*\"\nkey_ttl_ms = 5\n",
    );
    for start in [
        "topics[0].kind = \"map\": `plain` or `keyed`",
        "topics[0].retention.entries = 0: a whole number from 1",
        "topics[0].retention.size: there is no such key; there are age_ms, entries, bytes",
        "topics[1].match: say which topics",
        "topics[1].tick_hz = 1001: ",
        "topics[1].publish = \"users\": `default`, `anyone`",
        "topics[1].publish_burst: a burst is of a limit",
        "topics[2].match = \"a.*\": topics[0] comes first",
        "topics[2].presence = \"on\": ",
        "topics[2].slow = \"wait\": ",
        "topics[3].match = \"b*\": a wildcard",
        "topics[3].key_ttl_ms: only entries of a keyed topic",
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(start)), "{start} is not in: {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn rules_are_bounded() {
    let rules = |count: usize| (0..count).map(|n| format!("[[topics]]\nmatch = \"t{n}\"\n")).collect::<String>();
    assert_eq!(file(&rules(RULES_MAX)).unwrap().topics.written().len(), RULES_MAX);
    assert!(faults_of_file(&rules(RULES_MAX + 1))[0].contains("too many"));
}

#[test]
fn slow_subscribers_have_the_common_policy_unless_the_rule_says_otherwise() {
    let rules = rules(
        "subscribers.slow = \"disconnect\"\n[[topics]]\nmatch = \"a\"\n\
         [[topics]]\nmatch = \"b\"\nslow = \"latest\"\n",
    );
    let slow = ["a", "b", "c"].map(|topic| rules.rule_for(&name(topic)).slow);
    assert_eq!(slow, [SlowPolicy::Disconnect, SlowPolicy::Latest, SlowPolicy::Disconnect]);
}

#[test]
fn a_rate_has_a_seconds_worth_at_once_unless_it_says_otherwise() {
    let rate = |text: &str| rules(&format!("[[topics]]\nmatch = \"a\"\n{text}")).rule_for(&name("a")).publish_rate;
    assert_eq!(rate(""), None);
    assert_eq!(rate("publish_per_second_max = 9\n"), Some(RateLimit { per_second: 9, burst: 9 }));
    let rate = rate("publish_per_second_max = 9\npublish_burst = 2\n");
    assert_eq!(rate, Some(RateLimit { per_second: 9, burst: 2 }));
}

#[test]
fn the_documented_rule_is_the_built_in_one() {
    let documented = documented()[1].clone();
    let rules = rules(&documented);
    let built_in = TopicRules::default();
    let want = built_in.rule_for(&name("b"));
    assert_eq!(TopicRule { pattern: want.pattern.clone(), ..rules.rule_for(&name("a.b")).clone() }, *want);
}

#[test]
fn rules_are_printed_so_that_they_can_be_read_back() {
    let text = "[[topics]]\nmatch = \"a.>\"\nkind = \"keyed\"\nretention.age_ms = 0\nbacklog_bytes_max = 5\n\
                publish_per_second_max = 3\n[[topics]]\nmatch = \"b\"\n";
    let (options, effective, _) = read(&config(text, &[]), CORES).unwrap();
    let again = file(&effective.to_string()).expect("what is printed can be read back");
    assert_eq!(again.topics, options.topics);
}

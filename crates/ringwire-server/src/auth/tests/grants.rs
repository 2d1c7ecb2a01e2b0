//! What a grant allows, with which rule.

use super::*;
use crate::config::Config;
use crate::options::Options;

fn rules(text: &str) -> TopicRules {
    let text = format!("publish.token = \"t\"\n{text}");
    let config = Config::parse(&text).expect("TOML");
    Options::check(&config, std::num::NonZeroUsize::MIN).expect("valid").topics
}

fn rule(topic: &str, publish: &str, subscribe: &str) -> String {
    format!("[[topics]]\nmatch = \"{topic}\"\npublish = \"{publish}\"\nsubscribe = \"{subscribe}\"\n")
}

fn user(more: &str) -> Grant {
    authenticate(&access(), &hs256(&claims(more))).expect("taken")
}

fn guest(access: &Access) -> Grant {
    access.authenticate(&Credentials::default(), 0).expect("a guest")
}

#[test]
fn a_token_says_who_and_what() {
    let grant = user(r#","ringwire":{"subscribe":["book.*"],"publish":"chat","info":{"n":"é","z":[1,2.5]}}"#);
    assert_eq!((grant.user.as_deref(), grant.expires_us), (Some("u1"), Some((NOW + 60) * 1_000_000)));
    assert_eq!(grant.info.as_deref(), Some(r#"{"n":"é","z":[1,2.5]}"#));
    let rules = TopicRules::default();
    assert_eq!(grant.may_subscribe(&rules, &name("book.BTC")), Ok(()));
    assert_eq!(grant.may_subscribe(&rules, &name("book.BTC.L2")), Err(Denial::SubscribeForbidden));
    assert_eq!(grant.may_publish(&rules, &name("chat")), Ok(()));
    assert_eq!(grant.may_publish(&rules, &name("book.BTC")), Err(Denial::PublishForbidden));
}

#[test]
fn claims_at_the_top_are_for_who_has_none_of_its_own() {
    let grant = user(r#","subscribe":["a"],"publish":["a"],"ringwire":{"publish":[]}"#);
    let rules = TopicRules::default();
    assert_eq!(grant.may_subscribe(&rules, &name("a")), Ok(()));
    assert_eq!(grant.may_publish(&rules, &name("a")), Err(Denial::PublishForbidden));
}

#[test]
fn a_token_that_names_nothing_may_read_all_and_publish_nothing() {
    let (grant, rules) = (user(""), TopicRules::default());
    assert_eq!(grant.may_subscribe(&rules, &name("a.b")), Ok(()));
    assert_eq!(grant.may_publish(&rules, &name("a.b")), Err(Denial::PublishForbidden));
    assert_eq!(grant.may_subscribe(&rules, &name("$server.a")), Err(Denial::SubscribeForbidden));
}

#[test]
fn a_rule_and_the_grant_decide_together() {
    let text = [
        rule("open.>", "anyone", "anyone"),
        rule("known.>", "authenticated", "authenticated"),
        rule("shut.>", "nobody", "nobody"),
    ];
    let rules = rules(&text.concat());
    let (known, guest) = (user(r#","subscribe":["known.a"],"publish":["known.a"]"#), guest(&access()));
    let of = |grant: &Grant, topic: &str| {
        let topic = name(topic);
        [grant.may_subscribe(&rules, &topic).err(), grant.may_publish(&rules, &topic).err()]
    };
    assert_eq!((of(&known, "open.a"), of(&guest, "open.a")), ([None; 2], [None; 2]));
    assert_eq!((of(&known, "known.a"), of(&guest, "known.a")), ([None; 2], [Some(Denial::TokenMissing); 2]));
    let forbidden = [Some(Denial::SubscribeForbidden), Some(Denial::PublishForbidden)];
    assert_eq!((of(&known, "known.b"), of(&known, "rest")), (forbidden, forbidden));
    let nobody = [Some(Denial::NobodySubscribes), Some(Denial::NobodyPublishes)];
    assert_eq!((of(&known, "shut.a"), of(&guest, "shut.a")), (nobody, nobody));
    assert_eq!(of(&guest, "rest"), [Some(Denial::TokenMissing); 2]);
}

#[test]
fn a_pattern_may_be_watched_if_one_that_is_allowed_contains_it() {
    let rules = rules(&rule("open.>", "default", "anyone"));
    let grant = user(r#","subscribe":["book.>","trades.*"]"#);
    for (text, is_allowed) in [
        ("book.>", true),
        ("book.*.L2", true),
        ("trades.*", true),
        ("trades.>", false),
        ("*.BTC", false),
        (">", false),
        ("open.*", true),
        ("$presence.book.>", true),
        ("$presence.>", false),
    ] {
        let want = if is_allowed { Ok(()) } else { Err(Denial::SubscribeForbidden) };
        assert_eq!(grant.may_watch(&rules, &pattern(text)), want, "{text}");
    }
    assert_eq!(guest(&access()).may_watch(&rules, &pattern("open.>")), Ok(()));
    assert_eq!(guest(&access()).may_watch(&rules, &pattern("book.>")), Err(Denial::TokenMissing));
}

#[test]
fn who_may_subscribe_may_see_who_is_there() {
    let (grant, rules) = (user(r#","subscribe":["room.*"]"#), TopicRules::default());
    assert_eq!(grant.may_subscribe(&rules, &name("$presence.room.1")), Ok(()));
    assert_eq!(grant.may_subscribe(&rules, &name("$presence.other")), Err(Denial::SubscribeForbidden));
    assert_eq!(grant.may_publish(&rules, &name("$presence.room.1")), Err(Denial::NobodyPublishes));
}

#[test]
fn without_configuration_this_machine_may_all_and_what_is_presented_is_not_looked_at() {
    let (access, rules) = (Access::local(), TopicRules::default());
    for token in ["", "x.y.z"] {
        let grant = authenticate(&access, token).expect("a guest");
        assert_eq!(grant.may_subscribe(&rules, &name("a")), Ok(()));
        assert_eq!(grant.may_publish(&rules, &name("a")), Ok(()));
    }
    let foreign = Credentials { origin: Some("http://evil.example"), host: Some("127.0.0.1"), ..Default::default() };
    let grant = access.authenticate(&foreign, 0).expect("a guest");
    assert_eq!(grant.may_subscribe(&rules, &name("a")), Ok(()));
    assert_eq!(grant.may_publish(&rules, &name("a")), Err(Denial::ForeignOrigin));
}

#[test]
fn a_publish_token_alone_leaves_reading_open() {
    let access = Access::new(AuthOptions::default(), PublishAccess::Token("s3cret".into()), KeySet::default());
    let rules = TopicRules::default();
    let guest = guest(&access);
    assert_eq!(guest.may_subscribe(&rules, &name("a")), Ok(()));
    assert_eq!(guest.may_publish(&rules, &name("a")), Err(Denial::TokenMissing));
    let with = |credentials: Credentials<'_>| {
        access.authenticate(&credentials, 0).and_then(|grant| grant.may_publish(&rules, &name("a")))
    };
    let header = |text| Credentials { authorization: Some(text), ..Credentials::default() };
    for good in ["Bearer s3cret", "bearer s3cret", "ApiKey s3cret", "Bearer  s3cret "] {
        assert_eq!(with(header(good)), Ok(()), "{good}");
    }
    assert_eq!(with(credentials("s3cret")), Ok(()));
    assert_eq!(with(Credentials { api_key: Some("s3cret"), ..Credentials::default() }), Ok(()));
    assert_eq!(with(header("Basic s3cret")), Err(Denial::TokenMissing));
    for wrong in ["s3cre", "s3cret2", "S3cret", ""] {
        assert_eq!(with(credentials(wrong)), Err(Denial::TokenWrong), "{wrong}");
    }
}

#[test]
fn an_api_key_is_its_name_and_allows_its_patterns() {
    let access = access_with(Vec::new(), |options| {
        for (name, secret, publish) in [("desk", "0123456789abcdef", "book.>"), ("bot", "fedcba9876543210", "chat")] {
            let (subscribe, publish) = (vec![pattern("book.>")], vec![pattern(publish)]);
            options.api_keys.push(ApiKey { name: name.to_owned(), sha256: sha256(secret), subscribe, publish });
        }
    });
    let rules = TopicRules::default();
    let grant = authenticate(&access, "0123456789abcdef").expect("a key");
    assert_eq!((grant.user.as_deref(), grant.expires_us), (Some("desk"), None));
    assert_eq!(grant.may_publish(&rules, &name("book.BTC")), Ok(()));
    assert_eq!(grant.may_publish(&rules, &name("chat")), Err(Denial::PublishForbidden));
    assert_eq!(authenticate(&access, "fedcba9876543210").expect("a key").user.as_deref(), Some("bot"));
    assert_eq!(authenticate(&access, "fedcba987654321"), Err(Denial::TokenWrong));
}

#[test]
fn a_token_is_renewed_by_one_of_the_same_user() {
    let first = user("");
    let later = authenticate(&access(), &hs256(&format!(r#"{{"sub":"u1","exp":{}}}"#, NOW + 600))).expect("taken");
    assert_eq!(first.renewed(later.clone()), Ok(later.clone()));
    let other = authenticate(&access(), &hs256(&format!(r#"{{"sub":"u2","exp":{}}}"#, NOW + 600))).expect("taken");
    assert_eq!(first.renewed(other.clone()), Err(Denial::OtherUser));
    let guest = guest(&access());
    assert_eq!(first.renewed(guest.clone()), Err(Denial::OtherUser));
    assert_eq!(guest.renewed(other.clone()), Ok(other), "who was nobody may become somebody");
}

#[test]
fn every_denial_has_a_code_and_says_what_to_do() {
    for (denial, status, close, words) in [
        (Denial::TokenMissing, 401, 4003, "Authorization: Bearer TOKEN"),
        (Denial::Expired, 401, 4001, "get a new one"),
        (Denial::SubscribeForbidden, 403, 4003, "pattern"),
        (Denial::TooManyConnections { max: 3 }, 429, 4029, "3 connections"),
        (Denial::TooFast { after_ms: 7 }, 429, 4029, "wait 7 ms"),
        (Denial::TooManyPublishers, 503, 1013, "later"),
    ] {
        assert_eq!((denial.status(), denial.close_code().value()), (status, close), "{denial:?}");
        assert!(denial.to_string().contains(words), "{denial}");
        assert!(denial.to_string().len() <= 123 || status != 429, "a reason of a close frame is cut at 123 bytes");
    }
}

#[test]
fn secrets_are_not_printed() {
    let access = Access::new(
        AuthOptions {
            sources: vec![crate::options::KeySource::Secret(SECRET.to_owned())],
            api_keys: vec![ApiKey { name: "n".into(), sha256: [7; 32], subscribe: Vec::new(), publish: Vec::new() }],
            ..AuthOptions::default()
        },
        PublishAccess::Token("publish-me".into()),
        KeySet::new(vec![secret_key()]).expect("a key"),
    );
    let text = format!("{access:?}");
    for secret in [SECRET, "publish-me", "7, 7"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

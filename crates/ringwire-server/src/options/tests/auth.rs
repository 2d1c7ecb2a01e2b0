//! Each rule about `[auth]` and `[users]`, and about who may be served beyond this machine.

use super::*;

const SECRET: &str = "auth.hmac_secret = \"0123456789abcdef0123456789abcdef\"\n";
const KEY: &str = "[[auth.api_keys]]\nname = \"desk\"\nsecret = \"0123456789abcdef\"\n";

#[test]
fn beyond_this_machine_something_must_protect_the_server() {
    let found = faults(&["--listen", "127.0.0.1:1", "--listen", "0.0.0.0:2", "--listen", "[::]:3"]);
    assert_eq!(found.lines().count(), 2, "{found}");
    for (line, address) in found.lines().zip(["0.0.0.0:2", "[::]:3"]) {
        for words in ["--listen: ", address, "[auth]", "--publish-token", "--insecure"] {
            assert!(line.contains(words), "{words} is not in: {line}");
        }
    }
    let beyond = "[[listen]]\naddress = \"0.0.0.0:1\"\n";
    assert!(faults_of_file(beyond)[0].starts_with("listen[0].address: 0.0.0.0:1 can be reached"));
    for protected in [
        "auth.insecure = true\n",
        "publish.insecure = true\n",
        "publish.token = \"t\"\n",
        SECRET,
        "auth.jwks_file = \"keys.json\"\n",
    ] {
        assert!(file(&format!("{protected}{beyond}")).is_ok(), "{protected}");
    }
    assert!(file(&format!("{KEY}{beyond}")).is_ok());
}

#[test]
fn clients_that_must_show_certificates_are_known() {
    let tls = "[tls]\nself_signed = true\nclient_authority = \"ca.pem\"\n";
    let listen = "[[listen]]\naddress = \"0.0.0.0:1\"\n";
    assert!(file(&format!("{tls}{listen}")).is_ok());
    assert!(file(&format!("{tls}client_certificates = \"optional\"\n{listen}")).is_err());
    assert!(file(&format!("{tls}{listen}tls = \"off\"\n")).is_err());
}

#[test]
fn faults_of_keys_are_reported_at_once_and_show_no_secret() {
    let found = faults_of_file(
        "[auth]\nhmac_secret = \"short-secret\"\naudience = \"feed\"\nleeway_ms = -1\npublish = [\"a*\"]\n\
         [[auth.api_keys]]\nsecret = \"tiny\"\n\
         [[auth.api_keys]]\nname = \"a\"\nsha256 = \"12\"\n\
         [[auth.api_keys]]\nname = \"a\"\n",
    );
    for start in [
        "auth.hmac_secret: a secret of at least 32 bytes",
        "auth.audience: this is about tokens",
        "auth.leeway_ms = -1: ",
        "auth.publish: a*: a wildcard",
        "auth.api_keys[0].name: a key needs a name",
        "auth.api_keys[0].secret: a key has at least 16",
        "auth.api_keys[1].sha256 = \"12\": 64 hex digits",
        "auth.api_keys[2].name = \"a\": another key has this name",
        "auth.api_keys[2].secret: a key has either",
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(start)), "{start} is not in: {found:#?}");
    }
    assert_eq!(found.len(), 9, "{found:#?}");
    assert!(!found.concat().contains("short-secret") && !found.concat().contains("tiny"));
}

#[test]
fn keys_are_printed_as_digests_so_that_they_can_be_read_back() {
    let (options, effective, _) = read(&config(&format!("{KEY}publish = [\"a.>\"]\n"), &[]), CORES).unwrap();
    let text = effective.to_string();
    assert!(!text.contains("0123456789abcdef\""), "{text}");
    let again = file(&text).expect("what is printed can be read back");
    assert_eq!(again.auth, options.auth);
    assert_eq!(options.auth.api_keys[0].publish[0].as_str(), "a.>");
}

#[test]
fn a_secret_may_come_by_flag() {
    let options = check(&["--hmac-secret", "0123456789abcdef0123456789abcdef"]).unwrap();
    assert_eq!(options.auth.sources, file(SECRET).unwrap().auth.sources);
}

#[test]
fn limits_of_users_are_off_at_zero() {
    let options = file("users.connections_max = 3\n").unwrap();
    assert_eq!(options.users, UserLimits { connections_max: Some(3), publishes: None });
    let found = faults_of_file("users.publishes_burst = 5\n");
    assert!(found[0].contains("publishes_per_second_max says that there is none"), "{found:?}");
}

#[test]
fn the_server_says_who_is_served() {
    let says = |text: &str, words: &[&str]| Options::check(&config(text, words), CORES).unwrap().notice().unwrap();
    assert!(says("", &[]).contains("only this machine"));
    assert!(says(SECRET, &["--listen", "0.0.0.0:1"]).contains("a token or key"));
    assert!(says("", &["--listen", "0.0.0.0:1", "--insecure"]).contains("publishing is closed"));
    assert!(says("", &["--publish-token", "t"]).contains("anyone who reaches this address may read"));
    assert!(says("", &["--insecure-publish"]).contains("anyone who reaches this address may publish"));
}

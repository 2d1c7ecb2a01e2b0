//! Each rule of the configuration: from flags, from a file, and from both.

use std::time::Duration;

use clap::Parser;
use ringwire_engine::ProxyHeader;

mod auth;
mod topics;
mod udp;

use super::*;
use crate::cli::{Cli, Command};

const CORES: NonZeroUsize = NonZeroUsize::new(3).unwrap();

fn config(file: &str, words: &[&str]) -> Config {
    let folder = std::env::temp_dir().join(format!("ringwire-options-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for a test's file");
    let name = folder.join(format!("{:?}.toml", std::thread::current().id()));
    std::fs::write(&name, file).expect("a test's file");
    let named = ["ringwire", "serve", "--config", name.to_str().expect("UTF-8")];
    let cli = Cli::try_parse_from([&named, words].concat()).expect("parses");
    let Command::Serve(mut flags) = cli.into_command() else { panic!("not serve") };
    if !words.contains(&"--publish-token") {
        flags.publish_token = None;
    }
    if !words.contains(&"--hmac-secret") {
        flags.hmac_secret = None;
    }
    let config = flags.config();
    std::fs::remove_file(&name).expect("it is there");
    config.expect("a readable file")
}

fn check(words: &[&str]) -> Result<Options, Faults> {
    Options::check(&config("", words), CORES)
}

fn faults(words: &[&str]) -> String {
    check(words).expect_err("faults").to_string()
}

fn file(text: &str) -> Result<Options, Faults> {
    Options::check(&config(text, &[]), CORES)
}

fn faults_of_file(text: &str) -> Vec<String> {
    file(text).expect_err("faults").0
}

#[test]
fn defaults_serve_the_demo_on_loopback() {
    let options = check(&[]).unwrap();
    assert_eq!(options.addresses().collect::<Vec<_>>(), ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(options.shards().get(), 3);
    assert_eq!(options.feed.source, FeedSource::Demo);
    assert_eq!(options.feed.speed, Speed::RECORDED);
    assert_eq!(options.publish, PublishAccess::Loopback);
    assert_eq!(options.origin, OriginPolicy::Any);
}

#[test]
fn all_faults_of_flags_are_reported_at_once_under_their_names() {
    let text = faults(&[
        "--listen",
        "8080",
        "--shards",
        "0",
        "--feed",
        "x.csv",
        "--speed",
        "fast",
        "--feed-start-subscribers",
        "-1",
        "--slow",
        "wait",
        "--origin",
        "example.com",
    ]);
    for flag in [
        "--listen 8080: ",
        "--shards 0: ",
        "--feed x.csv: ",
        "--speed fast: ",
        "--feed-start-subscribers -1: ",
        "--slow wait: ",
        "--origin",
    ] {
        assert!(text.lines().any(|line| line.starts_with(flag)), "{flag} is not in: {text}");
    }
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[test]
fn all_faults_of_a_file_are_reported_at_once_with_their_paths() {
    let found = faults_of_file(
        "shard = 2\nlimits = 3\norigin.allow = \"some\"\n\
         [timeouts]\nclose_timeout_ms = \"5s\"\n\
         [[listen]]\naddress = \"127.0.0.1:1\"\n\
         [[listen]]\naddress = 8080\nhandshake_timeout_ms = 0\nport = 1\n",
    );
    for start in [
        "shard: there is no such key; there are ",
        "limits = 3: a table is needed",
        "origin.allow = \"some\": ",
        "timeouts.close_timeout_ms = \"5s\": a whole number from 1 to",
        "listen[1].address = 8080: ",
        "listen[1].handshake_timeout_ms = 0: a whole number",
        "listen[1].port: there is no such key; there are address, ",
    ] {
        assert!(found.iter().any(|fault| fault.starts_with(start)), "{start} is not in: {found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    let error = Config::parse("[feed]\nspeed == 1\n").expect_err("no TOML");
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn flags_go_before_the_file() {
    let text = "[feed]\nsource = \"none\"\nspeed = 3\n[[listen]]\naddress = \"[::1]:1\"\n";
    let options = Options::check(&config(text, &["--listen", "127.0.0.1:2", "--speed", "7"]), CORES).unwrap();
    assert_eq!(options.addresses().collect::<Vec<_>>(), ["127.0.0.1:2".parse().unwrap()]);
    assert_eq!((options.feed.source, options.feed.speed), (FeedSource::None, Speed::new(7.0).unwrap()));
}

#[test]
fn a_listener_has_the_common_timeouts_unless_it_says_otherwise() {
    let options = file(
        "[timeouts]\nclose_timeout_ms = 100\nhandshake_timeout_ms = 200\n\
         [[listen]]\naddress = \"127.0.0.1:1\"\n[[listen]]\naddress = \"127.0.0.1:2\"\nclose_timeout_ms = 300\n",
    );
    let listen = options.unwrap().engine.listen;
    let times = |at: usize| [listen[at].timeouts.close, listen[at].timeouts.handshake].map(|time| time.as_millis());
    assert_eq!((times(0), times(1)), ([100, 200], [300, 200]));
    assert_eq!(listen[0].timeouts.keep_alive, Duration::from_secs(60));
}

#[test]
fn limits_are_set_by_name() {
    let limits =
        file("[limits]\nconnections_max = 7\nmessage_bytes_max = 100\nframe_bytes_max = 50\n").unwrap().engine.limits;
    assert_eq!(
        (limits.connections_max, limits.message.message_bytes_max, limits.message.frame_bytes_max),
        (7, 100, 50)
    );
    assert!(faults_of_file("[limits]\nconnections_max = 0\n")[0].contains("1 to"));
    assert!(faults_of_file("shards.receive_buffers = 1000\n")[0].contains("power of two"));
    let shards = file("shards.submission_entries = 64\nshards.notsent_lowat_bytes = 4096\n").unwrap().engine;
    assert_eq!((shards.submission_entries, shards.notsent_lowat_bytes), (64, Some(4096)));
    assert!(faults_of_file("shards.submission_entries = 0\n")[0].contains("from 8 to"));
}

#[test]
fn zero_turns_off_what_can_be_off() {
    let options = file("timeouts.ping_interval_ms = 0\nlimits.address_connections_max = 0\n").unwrap().engine;
    assert_eq!((options.listen[0].timeouts.ping, options.limits.address_connections_max), (None, None));
    let options = file("timeouts.idle_timeout_ms = 7\nlimits.address_connections_max = 9\n").unwrap().engine;
    let idle = options.listen[0].timeouts.idle;
    assert_eq!((idle, options.limits.address_connections_max), (Some(Duration::from_millis(7)), Some(9)));
    assert!(faults_of_file("timeouts.pong_timeout_ms = 0\n")[0].contains("from 1 to"));
    let notsent = |text: &str| file(text).unwrap().engine.notsent_lowat_bytes;
    assert_eq!((notsent(""), notsent("shards.notsent_lowat_bytes = 0\n")), (Some(131_072), None));
}

#[test]
fn proxies_are_trusted_by_network() {
    let listen =
        file("proxies.trusted = [\"10.0.0.0/8\", \"::1\"]\nproxies.header = \"required\"\n").unwrap().engine.listen;
    assert!(
        listen[0].proxy_header == ProxyHeader::Required
            && listen[0].proxies.iter().any(|net| net.contains([10, 1, 2, 3].into()))
    );
    assert!(faults_of_file("proxies.trusted = [\"10.0.0.1/8\"]\n")[0].starts_with("proxies.trusted: "));
    assert!(faults_of_file("proxies.header = \"required\"\n")[0].contains("proxies.trusted"));
    let trusted = "proxies.trusted = [\"::1\"]\n";
    assert_eq!(file(trusted).unwrap().engine.listen[0].proxy_header, ProxyHeader::Off);
    assert!(faults_of_file(&format!("{trusted}proxies.header = \"optional\"\n"))[0].contains("not guessed"));
}

#[test]
fn origins_are_a_word_or_a_list_as_browsers_write_them() {
    assert_eq!(check(&["--origin", "same"]).unwrap().origin, OriginPolicy::SameOrigin);
    let list = ["https://a.example", "http://localhost:3000", "null"].map(str::to_owned).to_vec();
    let words: Vec<&str> = list.iter().flat_map(|origin| ["--origin", origin]).collect();
    assert_eq!(check(&words).unwrap().origin, OriginPolicy::List(list));
    for wrong in ["a.example", "https://a.example/", "https://a.example:443", "https://*.example", "://x"] {
        assert!(faults(&["--origin", wrong]).contains("is no origin"), "{wrong}");
    }
    assert!(faults_of_file("origin.allow = [3]\n")[0].contains("a list of origins"));
}

/// The files in docs/operations.md, which have every key with its default: first all but what there may be several of,
/// then a rule for topics, then ways in.
fn documented() -> Vec<String> {
    let text = include_str!("../../../../docs/operations.md");
    let examples = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().expect("it ends").to_owned());
    examples.collect()
}

#[test]
fn the_documented_example_is_the_defaults() {
    let (_, documented, _) = read(&config(&documented()[0], &["--shards", "3"]), CORES).expect("the example is valid");
    let (_, defaults, _) = read(&Config::default(), CORES).expect("the defaults are valid");
    assert_eq!(documented, defaults);
}

#[test]
fn every_key_is_documented_with_its_default() {
    let (_, _, known) = read(&Config::default(), CORES).expect("the defaults are valid");
    let example = documented().concat();
    for path in known {
        let path = path.replace("[]", "");
        let key = path.rsplit('.').next().expect("a path has a last key");
        let is_there = |line: &str| {
            let line = line.trim_start_matches(['#', ' ']);
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
                || line.starts_with(&format!("[{path}]"))
                || line.starts_with(&format!("[[{path}]]"))
        };
        assert!(example.lines().any(is_there), "docs/operations.md does not mention {path}");
    }
}

#[test]
fn the_configuration_in_force_can_be_read_back() {
    let words = ["--publish-token", "s3cret", "--slow", "disconnect", "--origin", "https://a.example"];
    let (_, effective, _) = read(&config("shards.spin_us = 5\n", &words), CORES).unwrap();
    let text = effective.to_string();
    assert!(!text.contains("s3cret"), "a token is not printed: {text}");
    assert!(text.contains("spin_us = 5") && text.contains("slow = \"disconnect\""), "{text}");
    let (_, again, _) = read(&Config::parse(&text).unwrap(), CORES).expect("it is valid");
    assert_eq!(again, effective);
}

#[test]
fn a_shard_spins_for_some_microseconds_or_always() {
    let spin = |words: &[&str]| check(words).expect("valid").engine.spin;
    assert_eq!(spin(&[]), Duration::ZERO);
    assert_eq!(spin(&["--spin=50"]), Duration::from_micros(50));
    assert_eq!((spin(&["--spin"]), spin(&["--spin=always"])), (Duration::MAX, Duration::MAX));
    assert_eq!(file("shards.spin_us = \"always\"\n").expect("valid").engine.spin, Duration::MAX);
    for wrong in ["--spin=1000001", "--spin=-1", "--spin=0.5", "--spin=on"] {
        let text = faults(&[wrong]);
        assert!(text.starts_with(&wrong.replace('=', " ")) && text.contains("or `always`"), "{text}");
    }
}

#[test]
fn a_listener_has_its_own_congestion_control_or_that_of_all() {
    let controls = |text: &str, words: &[&str]| -> Vec<Option<String>> {
        let options = Options::check(&config(text, words), CORES).expect("valid");
        options.engine.listen.into_iter().map(|listener| listener.congestion_control).collect()
    };
    let (bbr, cubic) = (Some("bbr".to_owned()), Some("cubic".to_owned()));
    let three = "[[listen]]\naddress = \"[::1]:1\"\n[[listen]]\naddress = \"[::1]:2\"\ncongestion_control = \"cubic\"\n\
                 [[listen]]\naddress = \"[::1]:3\"\ncongestion_control = \"system\"\n";
    assert_eq!(controls(three, &[]), [None, cubic.clone(), None]);
    assert_eq!(controls(three, &["--congestion-control", "bbr"]), [bbr, cubic.clone(), None]);
    assert_eq!(controls("shards.congestion_control = \"cubic\"\n", &["--listen", "[::1]:1"]), [cubic]);
    for wrong in ["", "two words", "longer-than-15-b"] {
        let text = faults(&["--congestion-control", wrong]);
        assert!(text.contains("--congestion-control") && text.contains("tcp_available_congestion_control"), "{text}");
    }
}

#[test]
fn a_bare_port_gets_a_hint() {
    assert!(faults(&["--listen", ":9000"]).contains("127.0.0.1:9000"));
}

#[test]
fn speed_is_a_number_above_zero_or_max() {
    for speed in ["0", "-1", "inf", "NaN", ""] {
        assert!(faults(&["--speed", speed]).contains("--speed"), "{speed}");
    }
    assert_eq!(check(&["--speed", "20"]).unwrap().feed.speed.scale_ns(1_000), 50);
    assert_eq!(check(&["--speed", "max"]).unwrap().feed.speed.scale_ns(u64::MAX), 0);
    assert_eq!(check(&["--feed", "a.rwr"]).unwrap().feed.source, FeedSource::File("a.rwr".into()));
}

#[test]
fn publishing_off_loopback_is_closed_unless_said_otherwise() {
    let access = |words: &[&str]| check(words).unwrap().publish;
    assert_eq!(access(&["--listen", "0.0.0.0:1", "--insecure"]), PublishAccess::Closed);
    assert_eq!(access(&["--listen", "127.0.0.1:1", "--listen", "10.0.0.1:1", "--insecure"]), PublishAccess::Closed);
    assert_eq!(access(&["--listen", "0.0.0.0:1", "--insecure-publish"]), PublishAccess::Anyone);
    assert_eq!(access(&["--listen", "0.0.0.0:1", "--publish-token", "t"]), PublishAccess::Token("t".into()));
    assert_eq!(file("publish.token = \"t\"\n").unwrap().publish, PublishAccess::Token("t".into()));
}

#[test]
fn a_token_and_no_protection_contradict() {
    assert!(faults(&["--publish-token", "t", "--insecure-publish"]).contains("contradict"));
}

#[test]
fn a_faulty_token_is_not_shown() {
    let text = faults(&["--publish-token", "t w o"]);
    assert!(text.starts_with("--publish-token: a token is") && !text.contains("t w o"), "{text}");
}

#[test]
fn only_a_recorded_feed_loops() {
    assert!(faults(&["--loop"]).contains("--loop"));
    assert!(check(&["--loop", "--feed", "a.jsonl"]).unwrap().feed.repeat);
}

#[test]
fn a_certificate_encrypts_all_listeners_unless_they_say_otherwise() {
    let encrypted = |text: &str, words: &[&str]| {
        let options = Options::check(&config(text, words), CORES).expect("valid");
        options.tls.listeners
    };
    assert_eq!(encrypted("", &[]), [Encryption::Off]);
    assert_eq!(encrypted("", &["--tls", "self-signed"]), [Encryption::Required]);
    assert_eq!(encrypted("", &["--tls", "self-signed", "--tls-optional"]), [Encryption::Optional]);
    let three = "[tls]\ncertificate = \"a.pem\"\n[[listen]]\naddress = \"[::1]:1\"\n\
                 [[listen]]\naddress = \"[::1]:2\"\ntls = \"off\"\n\
                 [[listen]]\naddress = \"[::1]:3\"\ntls = \"optional\"\n";
    assert_eq!(encrypted(three, &[]), [Encryption::Required, Encryption::Off, Encryption::Optional]);
}

#[test]
fn certificate_and_key_are_two_files_or_one() {
    let identity = |words: &[&str]| check(words).expect("valid").tls.identity;
    let files =
        |certificate: &str, key: &str| Some(Identity::Files { certificate: certificate.into(), key: key.into() });
    assert_eq!(identity(&["--tls", "c.pem,k.pem"]), files("c.pem", "k.pem"));
    assert_eq!(identity(&["--tls", "both.pem"]), files("both.pem", "both.pem"));
    assert_eq!(identity(&["--tls", "self-signed"]), Some(Identity::SelfSigned));
    let text = faults_of_file("[tls]\nkey = \"k.pem\"\n").join("\n");
    assert!(text.contains("tls.key") && text.contains("no certificate"), "{text}");
    let text = faults_of_file("[tls]\nself_signed = true\ncertificate = \"c.pem\"\n").join("\n");
    assert!(text.contains("contradict"), "{text}");
}

#[test]
fn clients_certificates_need_an_authority_that_vouches_for_them() {
    for said in ["required", "optional"] {
        let text = format!("[tls]\nself_signed = true\nclient_certificates = \"{said}\"\n");
        let fault = faults_of_file(&text).join("\n");
        assert!(fault.contains("tls.client_certificates") && fault.contains("client_authority"), "{fault}");
        let clients = file(&format!("{text}client_authority = \"ca.pem\"\n")).unwrap().tls.clients;
        assert_eq!(clients.map(|clients| clients.required), Some(said == "required"));
    }
    let (_, effective, _) = read(&config("", &["--tls", "self-signed", "--tls-client-ca", "ca.pem"]), CORES).unwrap();
    let printed = file(&effective.to_string()).expect("what is printed can be read back");
    assert_eq!(printed.tls.clients.map(|clients| clients.required), Some(true), "required is the default");
    let (_, effective, _) = read(&config("", &["--tls", "self-signed"]), CORES).unwrap();
    assert_eq!(file(&effective.to_string()).expect("and without an authority").tls.clients, None);
}

#[test]
fn what_needs_tls_says_so_without_it() {
    for words in [&["--tls-optional"][..], &["--tls-client-ca", "ca.pem"]] {
        let text = faults(words);
        assert!(text.contains(words[0]) && text.contains("--tls CERT.pem,KEY.pem"), "{text}");
    }
    let text = faults_of_file("[[listen]]\ntls = \"required\"\n").join("\n");
    assert!(text.contains("no certificate"), "{text}");
    assert!(faults_of_file("[[listen]]\ntls = \"yes\"\n").join("\n").contains("\"optional\""));
}

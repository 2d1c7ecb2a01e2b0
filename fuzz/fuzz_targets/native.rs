//! Any text as a message of the native protocol: every message is answered, answers are JSON on one line, and what is passed
//! on is JSON that stands in the message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_server::json::JsonCheck;
use ringwire_server::native::push::{Data, Entry};
use ringwire_server::native::record::RecordKind;
use ringwire_server::native::reply;
use ringwire_server::native::request::{Body, ID_BYTES_MAX, INFO_BYTES_MAX, Id, Incoming, Parser, Publish, Request};

fuzz_target!(|text: &str| {
    let mut parser = Parser::default();
    let (mut count, mut json) = (0, JsonCheck::default());
    parser.requests(text, |incoming| {
        count += 1;
        check(&incoming, text, &mut json);
        true
    });
    assert!(count > 0, "no message goes unheard");
    parser.publish(text, |publish| {
        if let Ok(publish) = publish {
            check_publish(&publish, text, &mut json);
        }
    });
});

fn check(incoming: &Incoming<'_>, text: &str, json: &mut JsonCheck) {
    assert!(!matches!(incoming.id, Id::Text(id) if id.is_empty() || id.len() > ID_BYTES_MAX));
    let mut out = Vec::new();
    match &incoming.request {
        Ok(request) => {
            reply::result(&mut out, incoming.id, |out| out.extend_from_slice(b"null"));
            match request {
                Request::Publish(publish) => check_publish(publish, text, json),
                Request::Subscribe(subscribe) => {
                    if let Some(info) = subscribe.info {
                        assert!(info.len() <= INFO_BYTES_MAX && text.contains(info) && json.is_json(info.as_bytes()));
                    }
                }
                _ => {}
            }
        }
        Err(fault) => reply::error(&mut out, incoming.id, fault),
    }
    assert!(out.is_empty() || is_line(&out, json), "{}", String::from_utf8_lossy(&out));
}

fn check_publish(publish: &Publish<'_>, text: &str, json: &mut JsonCheck) {
    let data = match &publish.body {
        Body::Json(data) => {
            assert!(text.contains(data) && json.is_json(data.as_bytes()), "{data}");
            Data::Json(data)
        }
        Body::Bytes(bytes) => Data::Bytes(bytes),
        Body::Remove => Data::None,
    };
    let (key, source_seq) = (publish.key.unwrap_or_default(), publish.source_seq);
    let entry = Entry { topic: "t", kind: RecordKind::Update, seq: 1, ts_us: 2, source_seq, key, data };
    let mut out = Vec::new();
    entry.write(&mut out);
    assert!(is_line(&out, json), "{}", String::from_utf8_lossy(&out));
}

fn is_line(message: &[u8], json: &mut JsonCheck) -> bool {
    json.is_json(message) && !message.contains(&b'\n')
}

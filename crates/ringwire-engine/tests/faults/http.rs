//! Requests that are slow, wrong, too long or too many.

use std::time::Duration;

use ringwire_engine::EngineOptions;

use crate::support::client::{Client, Heard};
use crate::support::server::{Server, options};

/// Requests must be whole within this time.
const HANDSHAKE: Duration = Duration::from_millis(400);

fn impatient() -> EngineOptions {
    let mut options = options();
    options.listen[0].timeouts.handshake = HANDSHAKE;
    options
}

/// Sends `request`, and checks that the answer has `status` and `words` and is the connection's last.
fn refused(server: &Server, request: &[u8], status: u16, words: &str) {
    let mut client = server.connect();
    client.write(request);
    let answer = client.answer();
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(words), "{answer:?}");
    assert_eq!(client.hear(), Heard::End(None));
}

#[test]
fn a_head_without_end_gets_431() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n");
    let line = [b"X-Filler: ".as_slice(), &[b'a'; 1000], b"\r\n"].concat();
    for _ in 0..17 {
        // What comes behind the answer is dropped.
        client.write(&line);
    }
    assert_eq!(client.answer().status, 431);
    client.finish_sending();
    assert_eq!(client.hear(), Heard::End(None));
    drop(client);
    server.finish();
}

#[test]
fn empty_lines_without_end_hold_no_memory() {
    let server = Server::start(impatient());
    let mut client = server.connect();
    client.write(b"\r\n\r\n\r\nGET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body), (200, "GET /late "), "empty lines before a request are skipped");
    client.write(&b"\r\n".repeat(100_000));
    client.write(b"GET /later HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().body, "GET /later ");
    assert_eq!(client.hear(), Heard::End(None));
    drop(client);
    server.finish();
}

#[test]
fn a_request_that_does_not_come_whole_gets_408() {
    let server = Server::start(impatient());
    let half_a_body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf";
    let half_a_chunk = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha";
    for request in [b"GET / HTTP/1.1\r\nHost".as_slice(), b"G", half_a_body, half_a_chunk] {
        refused(&server, request, 408, "in time");
    }
    server.finish();
}

#[test]
fn a_further_request_that_does_not_come_whole_gets_408_as_soon() {
    let server = Server::start(impatient());
    let mut client = server.connect();
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.write(b"GET /second HTTP/1.1\r\n");
    assert_eq!(client.answer().status, 408, "the time of a request does not depend on the keep-alive time");
    assert_eq!(client.hear(), Heard::End(None));
    drop(client);
    server.finish();
}

#[test]
fn who_says_nothing_is_not_answered() {
    let server = Server::start(impatient());
    let mut client = server.connect();
    assert_eq!(client.hear(), Heard::End(None));
    drop(client);
    server.finish();
}

#[test]
fn a_trickle_does_not_extend_the_deadline() {
    let server = Server::start(impatient());
    let mut client = server.connect();
    let pieces = b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (sent, piece) in pieces.chunks(1).enumerate() {
        if client.try_write(piece).is_err() {
            break;
        }
        assert!(sent < 60, "a byte every 20 ms must have run out of its 400 ms");
        crate::support::server::pause(Duration::from_millis(20));
        if ended(&client) {
            break;
        }
    }
    assert_eq!(client.answer().status, 408);
    drop(client);
    server.finish();
}

/// Whether something has come for the client to read.
fn ended(client: &Client) -> bool {
    client.stream().set_nonblocking(true).expect("non-blocking");
    let came = client.stream().peek(&mut [0]).is_ok();
    client.stream().set_nonblocking(false).expect("blocking");
    came
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(options());
    let mut client = server.connect();
    let mut requests = Vec::new();
    for n in 0..500 {
        let body = "b".repeat(n % 7);
        let request = format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        requests.extend_from_slice(request.as_bytes());
    }
    client.write(&requests);
    for n in 0..500 {
        let answer = client.answer();
        assert_eq!((answer.status, answer.body), (200, format!("POST /{n} {}", "b".repeat(n % 7))));
    }
    drop(client);
    server.finish();
}

#[test]
fn a_client_that_has_shut_its_side_gets_its_answer() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    assert_eq!(client.answer().body, "GET /one ");
    assert_eq!(client.answer().body, "GET /two ");
    assert_eq!(client.hear(), Heard::End(None));
    drop(client);
    server.finish();
}

#[test]
fn a_body_over_the_limit_gets_413() {
    let mut options = options();
    options.limits.body_bytes_max = 1000;
    let server = Server::start(options);
    let request = |bytes: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
    refused(&server, request(1001).as_bytes(), 413, "1000 bytes");
    refused(&server, request(usize::MAX).as_bytes(), 413, "1000 bytes");
    let mut client = server.connect();
    client.write(request(1000).as_bytes());
    client.write(&[b'x'; 1000]);
    assert_eq!(client.answer().status, 200);
    drop(client);
    server.finish();
}

#[test]
fn what_is_no_request_is_refused_with_words() {
    let server = Server::start(options());
    let tls_hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    refused(&server, tls_hello, 400, "no TLS");
    refused(&server, b"SSH-2.0-OpenSSH_9.9\r\n\r\n", 400, "HTTP");
    refused(&server, b"\x00\x01\x02", 400, "no HTTP request");
    refused(&server, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/1.1");
    refused(&server, b"GET / HTTP/1.1\r\n\r\n", 400, "Host");
    server.finish();
}

const CHUNKED: &[u8] = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
    3\r\n\r\nx\r\n5;ext=1\r\nhello\r\n0\r\nTrailer: y\r\n\r\n";

#[test]
fn a_body_in_chunks_is_taken_in_any_split() {
    let server = Server::start(options());
    let two = [CHUNKED, b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    for piece_bytes in [1, 7, 64, two.len()] {
        let mut client = server.connect();
        for piece in two.chunks(piece_bytes) {
            client.write(piece);
        }
        assert_eq!(client.answer().body, "POST /a \r\nxhello", "in pieces of {piece_bytes}");
        assert_eq!(client.answer().body, "GET /b ", "what follows the body is the next request");
    }
    server.finish();
}

#[test]
fn a_body_in_chunks_has_the_limit_of_any_body() {
    let mut options = options();
    options.limits.body_bytes_max = 8;
    let server = Server::start(options);
    let mut client = server.connect();
    client.write(CHUNKED);
    assert_eq!(client.answer().status, 200);
    drop(client);
    let with =
        |body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}").into_bytes();
    refused(&server, &with("5\r\nhello\r\n4\r\n1234\r\n0\r\n\r\n"), 413, "8 bytes");
    refused(&server, &with("ffffffffffffffff\r\nhello you all"), 413, "8 bytes");
    refused(&server, &with("5\r\nhello!\r\n"), 400, "does not end where its size says");
    refused(&server, &with("0x5\r\n"), 400, "hexadecimal");
    server.finish();
}

#[test]
fn every_response_has_a_date() {
    let server = Server::start(options());
    let mut client = server.connect();
    client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nnot HTTP\r\n\r\n");
    for status in [200, 400] {
        let answer = client.answer();
        let date = answer.date.expect("a date");
        let fields: Vec<&str> = date.split([' ', ':']).collect();
        let [weekday, day, _month, year, _hour, _minute, _second, "GMT"] = fields[..] else { panic!("{date}") };
        let year: u32 = year.parse().expect("a year");
        assert!(weekday.ends_with(',') && day.len() == 2 && year >= 2024, "{date}");
        assert_eq!(answer.status, status);
    }
    drop(client);
    server.finish();
}

#[test]
fn a_request_with_two_lengths_is_refused() {
    let server = Server::start(options());
    let both = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x";
    refused(&server, both, 400, "Content-Length");
    let twice = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!";
    refused(&server, twice, 400, "Content-Length");
    server.finish();
}

#[test]
fn a_refused_upgrade_ends_the_connection() {
    let server = Server::start(options());
    refused(&server, &Client::upgrade(server.address(), "/refused"), 403, "not here");
    server.finish();
}

#[test]
fn an_application_refuses_with_any_status_and_headers() {
    let server = Server::start(options());
    for status in [401, 404, 429, 503] {
        let mut client = server.connect();
        client.write(&Client::upgrade(server.address(), &format!("/refused/{status}")));
        let answer = client.answer();
        assert_eq!((answer.status, answer.retry_after.as_deref()), (status, Some("7")));
        assert_eq!(answer.body, "in my own words\n");
        assert_eq!(client.hear(), Heard::End(None));
    }
    server.finish();
}

#[test]
fn services_are_chosen_by_path_and_subprotocol_and_set_headers() {
    let server = Server::start(options());
    for (path, offered, agreed, service) in [
        ("/two", &["first", "second"][..], Some("second"), "second at /two"),
        ("/two", &["other", "first"], Some("first"), "first at /two"),
        ("/two", &["other"], None, "none at /two"),
        ("/one", &["first"], None, "none at /one"),
    ] {
        let mut client = server.connect();
        client.write(&Client::upgrade_with(server.address(), path, offered));
        let want = (agreed.map(str::to_owned), Some(service.to_owned()));
        assert_eq!(client.accepted(offered), want, "{path} {offered:?}");
    }
    server.finish();
}

//! Any text as a list of extensions, offered or answered: an answer keeps to its offer, and an agreement to both.
//!
//! The input is a byte of options, as the `inflate` target has it, and the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwire_codec::deflate::{Deflate, WindowBits};
use ringwire_codec::extension::{ExtensionParams, Negotiator};
use ringwire_fuzz::deflate::options;

fuzz_target!(|data: &[u8]| {
    let [byte, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let negotiator = Deflate::new(options(*byte));
    for element in ExtensionParams::parse_list(text) {
        assert!(!element.name.is_empty());
        offered(&negotiator, &element);
        answered(&negotiator, &element);
    }
});

/// The value of a parameter, if it is there.
fn param<'a>(element: &ExtensionParams<'a>, name: &str) -> Option<Option<&'a str>> {
    element.params.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
}

fn bits(element: &ExtensionParams<'_>, name: &str) -> Option<u8> {
    Some(param(element, name)??.parse().expect("window bits that were agreed to are a number"))
}

/// RFC 7692 §7.1, from the server's side.
fn offered(negotiator: &Deflate, offer: &ExtensionParams<'_>) {
    let Some(agreed) = negotiator.accept(offer) else { return };
    assert_eq!(offer.name, "permessage-deflate");
    let answers: Vec<_> = ExtensionParams::parse_list(&agreed.header_value).collect();
    let [answer] = &answers[..] else { panic!("one answer: {}", agreed.header_value) };
    for (name, value) in &offer.params {
        assert_eq!(offer.params.iter().filter(|(other, _)| other == name).count(), 1, "{name} stands twice");
        assert_eq!(value.is_some(), name.ends_with("_bits") && value.is_some(), "{name} takes no value");
    }
    if param(offer, "server_no_context_takeover").is_some() {
        assert_eq!(param(answer, "server_no_context_takeover"), Some(None), "what a client asks for is done");
    }
    if let Some(wanted) = bits(offer, "server_max_window_bits") {
        assert!(bits(answer, "server_max_window_bits").is_some_and(|given| (8..=wanted).contains(&given)));
    }
    if let Some(given) = bits(answer, "client_max_window_bits") {
        let most = param(offer, "client_max_window_bits").expect("only a client that offers it is told its window");
        assert!((8..=most.map_or(15, |most| most.parse().expect("a number"))).contains(&given));
    }
    let parameters = agreed.extension.deflate().expect("this is permessage-deflate");
    let max = WindowBits::MAX.value();
    assert_eq!(parameters.server_max_window_bits.value(), bits(answer, "server_max_window_bits").unwrap_or(max));
    assert_eq!(parameters.client_max_window_bits.value(), bits(answer, "client_max_window_bits").unwrap_or(max));
    assert_eq!(parameters.server_no_context_takeover, param(answer, "server_no_context_takeover").is_some());
    assert_eq!(parameters.client_no_context_takeover, param(answer, "client_no_context_takeover").is_some());
}

/// The same, from the client's side.
fn answered(negotiator: &Deflate, answer: &ExtensionParams<'_>) {
    let Some(extension) = negotiator.confirm(answer) else { return };
    let parameters = extension.deflate().expect("this is permessage-deflate");
    let own = negotiator.options();
    assert!(parameters.client_max_window_bits <= own.client_max_window_bits, "a client keeps to its own offer");
    assert!(parameters.client_no_context_takeover || !own.client_no_context_takeover);
    if let Some(given) = bits(answer, "server_max_window_bits") {
        assert_eq!(parameters.server_max_window_bits.value(), given);
    }
}

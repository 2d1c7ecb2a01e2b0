//! Any messages, any parameters, any splits: what goes in comes out, and another decoder reads the same.

use proptest::prelude::*;
use ringwire_codec::deflate::{DeflateOptions, InflationLimit, Level, MemoryLevel, Parameters};
use ringwire_codec::extension::Extension;

use crate::reference::inflate;
use crate::support::{ALL, bits, decode, decode_up_to, encode, json, noise, plain};

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (0..3000usize).prop_map(json),
        (0..1200usize).prop_map(noise),
        (any::<u8>(), 0..5000usize).prop_map(|(byte, len)| vec![byte; len]),
        (1..600usize, 1..6usize).prop_map(|(period, count)| noise(period).repeat(count)),
    ]
}

prop_compose! {
    fn any_parameters()(
        server_no_context_takeover in any::<bool>(),
        client_no_context_takeover in any::<bool>(),
        server in 8..=15u8,
        client in 8..=15u8,
    ) -> Parameters {
        Parameters {
            server_no_context_takeover,
            client_no_context_takeover,
            server_max_window_bits: bits(server),
            client_max_window_bits: bits(client),
        }
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// Sends a message from one side to the other, as it would go over the wire. `history` is what the sender's takeover
/// may refer to; none without takeover.
fn send(
    from: &mut dyn Extension,
    to: &mut dyn Extension,
    message: &[u8],
    cuts: &[prop::sample::Index],
    window_bytes: usize,
    history: Option<&mut Vec<u8>>,
) -> Result<(), TestCaseError> {
    let Some(compressed) = encode(from, message) else { return Ok(()) };
    let received = decode(to, &pieces(&compressed, cuts));
    prop_assert!(received.as_deref() == Ok(message), "what goes in comes out");
    let stream = [&compressed[..], &[0, 0, 0xFF, 0xFF]].concat();
    let inflated =
        inflate(&stream, history.as_deref().map_or(&[][..], |history| history)).map_err(TestCaseError::fail)?;
    prop_assert!(inflated.bytes == message, "another decoder reads the same");
    prop_assert!(inflated.farthest <= window_bytes, "{} of {window_bytes}", inflated.farthest);
    if let Some(history) = history {
        history.extend_from_slice(message);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_messages_pass_both_ways_with_any_parameters_in_any_splits(
        agreed in any_parameters(),
        level in 1..=9u8,
        memory_level in 1..=9u8,
        messages in prop::collection::vec((any::<bool>(), any_message()), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let (level, memory_level) = (Level::new(level).unwrap(), MemoryLevel::new(memory_level).unwrap());
        let (mut server, mut client) = crate::support::pair(agreed, DeflateOptions { level, memory_level, ..ALL });
        let mut from_server = (!agreed.server_no_context_takeover).then(Vec::new);
        let mut from_client = (!agreed.client_no_context_takeover).then(Vec::new);
        for (is_servers, message) in &messages {
            if *is_servers {
                let window_bytes = agreed.server_max_window_bits.window_bytes();
                send(&mut *server, &mut *client, message, &cuts, window_bytes, from_server.as_mut())?;
            } else {
                let window_bytes = agreed.client_max_window_bits.window_bytes();
                send(&mut *client, &mut *server, message, &cuts, window_bytes, from_client.as_mut())?;
            }
        }
    }

    /// Right or wrong, what is made of bytes depends on them alone, not on how they come; and the reference agrees on
    /// what is right.
    #[test]
    fn any_bytes_give_the_same_in_any_splits(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            (any_message(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(message, at, byte)| {
                let mut compressed = encode(&mut *plain(), &message).unwrap_or(message);
                if !compressed.is_empty() {
                    let at = at.index(compressed.len());
                    compressed[at] = byte;
                }
                compressed
            }),
        ],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        floor_bytes in 0..2000usize,
        message_bytes_max in 0..5000usize,
    ) {
        let inflation = InflationLimit { ratio_max: 1, floor_bytes };
        let new = || crate::support::server(DeflateOptions { inflation, ..ALL }, "permessage-deflate");
        let whole = decode_up_to(message_bytes_max, &mut *new(), &[&bytes]);
        prop_assert_eq!(&decode_up_to(message_bytes_max, &mut *new(), &pieces(&bytes, &cuts)), &whole);
        let mut single: Vec<&[u8]> = bytes.chunks(1).collect();
        single.push(&[]);
        prop_assert_eq!(&decode_up_to(message_bytes_max, &mut *new(), &single), &whole);

        let unlimited = decode(&mut *plain(), &[&bytes]);
        let reference = inflate(&[&bytes[..], &[0, 0, 0xFF, 0xFF]].concat(), b"");
        match (unlimited, reference) {
            (Ok(message), Ok(inflated)) => prop_assert!(message == inflated.bytes),
            // A message that ends with its last block is read though it lacks the byte behind, and one of no bytes too.
            (Ok(_), Err(_)) => {}
            // What is left undefined: codes that are incomplete or of one symbol, which zlib refuses.
            (Err(_), _) => {}
        }
    }
}

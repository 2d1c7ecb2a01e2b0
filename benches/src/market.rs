//! Messages as exchanges send them, from the recorded data among the test fixtures.

/// Messages of one kind.
#[derive(Debug)]
pub struct Sample {
    /// What they are, with their length in bytes.
    pub name: &'static str,
    /// Some of them, to go around.
    pub messages: Vec<Vec<u8>>,
}

/// JSON of some 100 bytes to 64 KiB: single trades, arrays of trades, changes of an order book, a whole one.
///
/// # Panics
/// If the fixtures are not there.
pub fn samples() -> Vec<Sample> {
    let trades = data("btcusdt-2021-01-08.jsonl");
    let mut books = data("xrpusdt-orderbook-2024-12-01.jsonl");
    books.sort_by_key(Vec::len);
    let whole_book = books.pop().expect("a recording has lines");
    vec![
        Sample { name: "trade/100", messages: trades[..64].to_vec() },
        Sample { name: "trades/250", messages: arrays(&trades, 250) },
        Sample { name: "trades/500", messages: arrays(&trades, 500) },
        Sample { name: "trades/1K", messages: arrays(&trades, 1024) },
        Sample { name: "trades/4K", messages: arrays(&trades, 4096) },
        Sample { name: "trades/16K", messages: arrays(&trades, 16 * 1024) },
        Sample { name: "trades/64K", messages: arrays(&trades, 64 * 1024) },
        Sample { name: "book_changes/1.2K", messages: books },
        Sample { name: "book/18K", messages: vec![whole_book] },
    ]
}

/// The exchange's messages in a recording: what stands behind `data`.
fn data(file: &str) -> Vec<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/data").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let message = |line: &str| {
        let (_, data) = line.split_once("\"data\":").expect("a line has data");
        data.as_bytes()[..data.len() - 1].to_vec()
    };
    text.lines().map(message).collect()
}

/// Sixteen arrays of trades, each of at least `bytes`.
fn arrays(trades: &[Vec<u8>], bytes: usize) -> Vec<Vec<u8>> {
    let mut trades = trades.iter().cycle();
    let array = || {
        let mut array = b"[".to_vec();
        while array.len() < bytes {
            array.extend_from_slice(trades.next().expect("a cycle has no end"));
            array.push(b',');
        }
        *array.last_mut().expect("it has a trade") = b']';
        array
    };
    std::iter::repeat_with(array).take(16).collect()
}

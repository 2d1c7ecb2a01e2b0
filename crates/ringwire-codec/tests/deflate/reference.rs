//! A decoder for deflate (RFC 1951) that is slow and plain, shares nothing with the one under test, and says how far
//! back it had to look.

/// What a stream stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inflated {
    pub(crate) bytes: Vec<u8>,
    /// The farthest distance of a match.
    pub(crate) farthest: usize,
}

/// Inflates the blocks of `stream` that come after `history`, up to the stream's end.
pub(crate) fn inflate(stream: &[u8], history: &[u8]) -> Result<Inflated, &'static str> {
    let mut reader = Bits { stream, at: 0 };
    let mut out = Inflated { bytes: history.to_vec(), farthest: 0 };
    while reader.at < 8 * stream.len() {
        let is_last = reader.take(1)? == 1;
        match reader.take(2)? {
            0 => stored(&mut reader, &mut out)?,
            1 => coded(&mut reader, &mut out, &fixed_literals(), &Code::new(&[5; 30]))?,
            2 => {
                let (literals, distances) = dynamic(&mut reader)?;
                coded(&mut reader, &mut out, &literals, &distances)?;
            }
            _ => return Err("a block of the kind that is reserved"),
        }
        if is_last {
            reader.align();
        }
    }
    out.bytes.drain(..history.len());
    Ok(out)
}

/// A stream as bits, the lowest of each byte first.
struct Bits<'a> {
    stream: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<usize, &'static str> {
        let mut value = 0;
        for bit in 0..count {
            let byte = self.stream.get(self.at / 8).ok_or("the stream ends within a block")?;
            value |= usize::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Ok(value)
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// A canonical Huffman code: symbols by length and value.
struct Code(Vec<(u8, usize, usize)>);

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let mut symbols = Vec::new();
        let mut value = 0;
        for length in 1..=15 {
            for (symbol, _) in lengths.iter().enumerate().filter(|&(_, &own)| own == length) {
                symbols.push((length, value, symbol));
                value += 1;
            }
            value <<= 1;
        }
        Self(symbols)
    }

    fn symbol(&self, bits: &mut Bits<'_>) -> Result<usize, &'static str> {
        let mut value = 0;
        for length in 1..=15 {
            value = value << 1 | bits.take(1)?;
            if let Ok(at) = self.0.binary_search_by_key(&(length, value), |&(length, value, _)| (length, value)) {
                return Ok(self.0[at].2);
            }
        }
        Err("bits that no symbol has")
    }
}

fn fixed_literals() -> Code {
    let lengths: Vec<u8> = [(8, 144), (9, 112), (7, 24), (8, 8)].iter().flat_map(|&(len, n)| vec![len; n]).collect();
    Code::new(&lengths)
}

fn dynamic(bits: &mut Bits<'_>) -> Result<(Code, Code), &'static str> {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, own) = (bits.take(5)? + 257, bits.take(5)? + 1, bits.take(4)? + 4);
    let mut own_lengths = [0; 19];
    for place in &ORDER[..own] {
        own_lengths[*place] = bits.take(3)? as u8;
    }
    let code = Code::new(&own_lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, count) = match code.symbol(bits)? {
            16 => (*lengths.last().ok_or("nothing to repeat")?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            18 => (0, bits.take(7)? + 11),
            length => (length as u8, 1),
        };
        lengths.extend(vec![length; count]);
    }
    if lengths.len() > literals + distances {
        return Err("a repetition beyond the last symbol");
    }
    Ok((Code::new(&lengths[..literals]), Code::new(&lengths[literals..])))
}

fn stored(bits: &mut Bits<'_>, out: &mut Inflated) -> Result<(), &'static str> {
    bits.align();
    let (length, inverse) = (bits.take(16)?, bits.take(16)?);
    if length != inverse ^ 0xFFFF {
        return Err("a length that does not fit its inverse");
    }
    for _ in 0..length {
        out.bytes.push(bits.take(8)? as u8);
    }
    Ok(())
}

fn coded(bits: &mut Bits<'_>, out: &mut Inflated, literals: &Code, distances: &Code) -> Result<(), &'static str> {
    loop {
        let length = match literals.symbol(bits)? {
            literal @ 0..256 => {
                out.bytes.push(literal as u8);
                continue;
            }
            256 => return Ok(()),
            285 => 258,
            symbol @ 257..=264 => symbol - 254,
            symbol @ 265..=284 => {
                let extra = (symbol - 261) / 4;
                3 + ((4 + (symbol - 261) % 4) << extra) + bits.take(extra)?
            }
            _ => return Err("a length that there is not"),
        };
        let distance = match distances.symbol(bits)? {
            symbol @ 0..=3 => symbol + 1,
            symbol @ 4..=29 => {
                let extra = symbol / 2 - 1;
                1 + ((2 + symbol % 2) << extra) + bits.take(extra)?
            }
            _ => return Err("a distance that there is not"),
        };
        out.farthest = out.farthest.max(distance);
        let start = out.bytes.len().checked_sub(distance).ok_or("a match with what is before all")?;
        for at in start..start + length {
            out.bytes.push(out.bytes[at]);
        }
    }
}

#[test]
fn the_reference_reads_blocks_of_each_kind() {
    let hello = |stream: &[u8]| inflate(stream, b"").unwrap().bytes == b"Hello";
    assert!(hello(&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0, 0, 0xFF, 0xFF]), "fixed codes");
    assert!(hello(&[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F]), "no codes");
    // As zlib 1.2.13 writes "abaabbbabaababbaababaaaabaaabbbbbaa", from RFC 1951's readers' tests: dynamic codes.
    let dynamic = [
        0x1D, 0xC6, 0x49, 0x01, 0x00, 0x00, 0x10, 0x40, 0xC0, 0xAC, 0xA3, 0x7F, 0x88, 0x3D, 0x3C, 0x20, 0x2A, 0x97,
        0x9D, 0x37, 0x5E, 0x1D, 0x0C,
    ];
    assert_eq!(inflate(&dynamic, b"").unwrap().bytes, b"abaabbbabaababbaababaaaabaaabbbbbaa");
}

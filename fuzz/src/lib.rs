//! What the fuzz targets share: how an input says where a stream is cut, and the checks that more than one target makes.

pub mod deflate;
pub mod differential;
pub mod frames;

/// Reads a byte that says how many cuts follow, a byte per cut, and the stream; gives the pieces and the whole of it.
pub fn cuts(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let [count, rest @ ..] = data else { return (Vec::new(), data) };
    let (sizes, stream) = rest.split_at(rest.len().min(usize::from(count % 16)));
    let mut pieces = Vec::new();
    let mut rest = stream;
    for size in sizes {
        let (piece, behind) = rest.split_at(usize::from(*size).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    (pieces, stream)
}

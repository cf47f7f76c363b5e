//! DEFLATE, a message at a time (RFC 7692 §7.2): compressing what is sent, inflating what arrives.
//!
//! Compressing needs a few hundred KiB of working memory; it is one for each thread that ever compressed and none for a
//! connection. Inflating writes into the message itself, which doubles as the window; beside it stand 11 KiB of
//! state, from a message's first byte to its last.

use std::cell::Cell;

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::Violation;
use super::extension::WINDOW_BITS_MAX;

/// How hard is tried. The lowest level costs a third of the default's and gains nearly as much on short texts.
const LEVEL: i32 = 1;
/// What a flushed message ends in, and what is left out of it on the wire (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// An empty last block: a decoder that is at the start of a block, as it must be when a message ends, says *done* to it.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// How many bytes are made room for at a time, for each byte that came.
const ROOM_PER_BYTE: usize = 16;
const ROOM_MIN: usize = 512;

const NOT_DEFLATE: Violation = Violation { status: 1007, reason: "a compressed message cannot be inflated" };

thread_local! {
    static COMPRESSOR: Cell<Option<Box<CompressorOxide>>> = const { Cell::new(None) };
    static INFLATER: Cell<Option<Box<DecompressorOxide>>> = const { Cell::new(None) };
}

/// Compresses a message that refers back no further than 2^`window_bits`. Nothing when it would have more than
/// `bytes_max` bytes.
pub(crate) fn deflate(message: &[u8], window_bits: u8, bytes_max: usize) -> Option<Vec<u8>> {
    let mut compressor = COMPRESSOR.take().unwrap_or_else(|| {
        Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, -i32::from(WINDOW_BITS_MAX), 0)))
    });
    compressor.reset();
    let outcome = deflate_with(&mut compressor, message, window_bits, bytes_max);
    COMPRESSOR.set(Some(compressor));
    outcome
}

fn deflate_with(
    compressor: &mut CompressorOxide,
    message: &[u8],
    window_bits: u8,
    bytes_max: usize,
) -> Option<Vec<u8>> {
    if message.is_empty() {
        // An empty block without its tail (RFC 7692 §7.2.3.6).
        return (bytes_max > 0).then(|| vec![0]);
    }
    let mut out = vec![0; bytes_max + TAIL.len() + 1];
    let mut length = 0;
    // The compressor knows one window, the largest. A full flush lets nothing refer to what lies before it.
    let part_bytes = if window_bits >= WINDOW_BITS_MAX { message.len() } else { 1 << window_bits };
    let mut parts = message.chunks(part_bytes).peekable();
    while let Some(part) = parts.next() {
        let flush = if parts.peek().is_some() { TDEFLFlush::Full } else { TDEFLFlush::Sync };
        let (status, read, wrote) = compress(compressor, part, &mut out[length..], flush);
        length += wrote;
        // A full buffer may hide that there is more.
        if status != TDEFLStatus::Okay || read < part.len() || length == out.len() {
            return None;
        }
    }
    debug_assert!(out[..length].ends_with(&TAIL), "a flush ends in an empty block");
    out.truncate(length - TAIL.len());
    Some(out)
}

/// A compressed message that arrives.
pub(crate) struct Inflate {
    state: Option<Box<DecompressorOxide>>,
    /// The last block was marked as the last.
    done: bool,
    /// Nothing came yet.
    fresh: bool,
}

impl Inflate {
    pub(crate) const BYTES: usize = size_of::<Self>() + size_of::<DecompressorOxide>();

    pub(crate) fn new() -> Self {
        let mut state = INFLATER.take().unwrap_or_default();
        state.init();
        Self { state: Some(state), done: false, fresh: true }
    }

    /// Inflates a piece behind what `message` holds already, which never becomes longer than `bytes_max`.
    pub(crate) fn push(&mut self, mut piece: &[u8], message: &mut Vec<u8>, bytes_max: usize) -> Result<(), Violation> {
        const FLAGS: u32 =
            inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
        let state = self.state.as_mut().expect("it is given back on drop alone");
        // What was read may be written only after room was made for it.
        let mut pending = false;
        while pending || !piece.is_empty() {
            self.fresh = false;
            // A block that says it is the last may be followed by more (RFC 7692 §7.2.3.4).
            if std::mem::take(&mut self.done) {
                state.init();
            }
            let start = message.len();
            // One more than allowed tells what is too long from what just fits.
            let room = (piece.len() * ROOM_PER_BYTE).max(ROOM_MIN).min(bytes_max.saturating_add(1) - start);
            make_room(message, room, bytes_max.saturating_add(1));
            let (status, read, wrote) = decompress(state, piece, message, start, FLAGS);
            message.truncate(start + wrote);
            piece = &piece[read..];
            if message.len() > bytes_max {
                return Err(Violation::TOO_LARGE);
            }
            pending = false;
            match status {
                TINFLStatus::Done => self.done = true,
                TINFLStatus::HasMoreOutput => pending = true,
                TINFLStatus::NeedsMoreInput => debug_assert!(piece.is_empty(), "all of it was taken"),
                _ => return Err(NOT_DEFLATE),
            }
        }
        Ok(())
    }

    /// The message has ended.
    pub(crate) fn finish(mut self, message: &mut Vec<u8>, bytes_max: usize) -> Result<(), Violation> {
        // Some end in a block marked as the last, and an empty message in nothing at all; both are clear enough.
        if self.done || self.fresh {
            return Ok(());
        }
        self.push(&TAIL, message, bytes_max)?;
        self.push(&LAST_BLOCK, message, bytes_max)?;
        if self.done { Ok(()) } else { Err(NOT_DEFLATE) }
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        INFLATER.set(self.state.take());
    }
}

impl std::fmt::Debug for Inflate {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inflate").field("done", &self.done).finish_non_exhaustive()
    }
}

/// Lengthens a message by so many bytes. Its memory doubles, but never beyond what it may need.
fn make_room(message: &mut Vec<u8>, room: usize, capacity_max: usize) {
    let needed = message.len() + room;
    if needed > message.capacity() {
        let capacity = (message.capacity() * 2).min(capacity_max).max(needed);
        message.reserve_exact(capacity - message.len());
    }
    message.resize(needed, 0);
}

//! Bytes from a client to events.

use super::deflate::Inflate;
use super::header::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode};
use super::mask::unmask;
use super::{Event, Goodbye, Options, Violation};

/// Takes what was read, however it was cut, and hands out what is whole.
///
/// A frame that lies whole in the bytes given, and is a message of its own, is unmasked in place and lent from there.
/// Anything else is kept until it is whole, in memory that is given back at once after: a decoder between messages is
/// a few words.
#[derive(Debug)]
pub struct Decoder {
    /// What is not whole yet; nothing between messages.
    held: Option<Box<Held>>,
    message_bytes_max: usize,
    /// `u32::MAX` for as many as come.
    fragments_max: u32,
    deflate: bool,
    /// After a goodbye or a violation nothing is looked at.
    closed: bool,
}

/// What is not whole yet.
#[derive(Debug, Default)]
struct Held {
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// The frame whose payload is arriving.
    frame: Option<Arriving>,
    /// What has arrived of a control frame.
    control: Vec<u8>,
    /// What has arrived of a message.
    message: Option<Assembly>,
}

impl Held {
    const fn is_empty(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.control.is_empty() && self.message.is_none()
    }
}

#[derive(Debug, Clone, Copy)]
struct Arriving {
    header: Header,
    received: u64,
}

impl Arriving {
    const fn missing(&self) -> u64 {
        self.header.length - self.received
    }
}

/// A message that comes in pieces.
#[derive(Debug)]
struct Assembly {
    /// Text or binary.
    opcode: Opcode,
    bytes: Vec<u8>,
    /// How much of a text is known to be UTF-8; at most three bytes, the start of a character, are not.
    checked: usize,
    fragments: u32,
    /// How many bytes of payload its frames have declared.
    declared: u64,
    /// Where it comes compressed.
    inflate: Option<Inflate>,
}

impl Assembly {
    fn new(header: &Header) -> Self {
        let inflate = header.deflated.then(Inflate::new);
        Self { opcode: header.opcode, bytes: Vec::new(), checked: 0, fragments: 0, declared: 0, inflate }
    }

    /// Takes a piece of it. What has arrived, not what was declared, decides how much memory is taken: a declaration
    /// costs the client nothing.
    fn take(&mut self, piece: &[u8], missing: u64, fin: bool, bytes_max: usize) -> Result<(), Violation> {
        match &mut self.inflate {
            Some(inflate) => inflate.push(piece, &mut self.bytes, bytes_max)?,
            None => {
                let last = self.bytes.len().saturating_add(usize::try_from(missing).unwrap_or(usize::MAX));
                self.append(piece, if fin { last } else { bytes_max });
            }
        }
        self.check()
    }

    /// All of its frames are there.
    fn end(&mut self, bytes_max: usize) -> Result<(), Violation> {
        match self.inflate.take() {
            Some(inflate) => inflate.finish(&mut self.bytes, bytes_max),
            None => Ok(()),
        }
    }

    /// Appends a piece. Memory doubles, but never beyond `bytes_max`.
    fn append(&mut self, piece: &[u8], bytes_max: usize) {
        let needed = self.bytes.len() + piece.len();
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).min(bytes_max).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
    }

    /// A text fails at its first byte that cannot become UTF-8.
    fn check(&mut self) -> Result<(), Violation> {
        if self.opcode == Opcode::Text {
            self.checked += match std::str::from_utf8(&self.bytes[self.checked..]) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return Err(NOT_UTF8),
            };
        }
        Ok(())
    }
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub const fn new(options: Options) -> Self {
        let fragments_max = match options.fragments_max {
            Some(most) => most,
            None => u32::MAX,
        };
        Self {
            held: None,
            message_bytes_max: options.message_bytes_max,
            fragments_max,
            deflate: options.deflate,
            closed: false,
        }
    }

    /// Decodes all of `input`, which is unmasked on the way, and calls `each` for everything that has become whole.
    ///
    /// # Errors
    /// When the client broke the protocol. Nothing that comes later is looked at.
    pub fn decode(&mut self, input: &mut [u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), Violation> {
        let outcome = if self.closed { Ok(()) } else { self.decode_open(input, each) };
        if outcome.is_err() {
            self.close();
        } else if self.held.as_ref().is_some_and(|held| held.is_empty()) {
            self.held = None;
        }
        outcome
    }

    /// How many bytes of memory it holds for what is not whole yet.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| {
            let message = held.message.as_ref().map_or(0, |message| {
                message.bytes.capacity() + if message.inflate.is_some() { Inflate::BYTES } else { 0 }
            });
            size_of::<Held>() + held.control.capacity() + message
        })
    }

    fn close(&mut self) {
        self.closed = true;
        self.held = None;
    }

    fn decode_open(&mut self, mut input: &mut [u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), Violation> {
        while !self.closed {
            let arriving = match self.held.as_mut().and_then(|held| held.frame.take()) {
                Some(arriving) => arriving,
                None => {
                    let (header, rest) = self.next_header(input)?;
                    input = rest;
                    let Some(header) = header else { return Ok(()) };
                    self.admit(&header)?;
                    if let Some(length) = self.whole_length(&header, input.len()) {
                        let (payload, rest) = input.split_at_mut(length);
                        input = rest;
                        unmask(payload, header.mask, 0);
                        self.tell(header.opcode, payload, each)?;
                        continue;
                    }
                    self.begin(&header);
                    Arriving { header, received: 0 }
                }
            };
            let here = usize::try_from(arriving.missing()).map_or(input.len(), |missing| missing.min(input.len()));
            let (piece, rest) = input.split_at_mut(here);
            input = rest;
            if !self.take(arriving, piece, each)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next frame's header, once all of it is there, and the bytes after it.
    fn next_header<'i>(&mut self, input: &'i mut [u8]) -> Result<(Option<Header>, &'i mut [u8]), Violation> {
        let before = self.held.as_ref().map_or(0, |held| held.header_bytes);
        if before == 0 {
            if let Some((header, size)) = Header::parse(input, self.deflate)? {
                return Ok((Some(header), &mut input[size..]));
            }
            if input.is_empty() {
                return Ok((None, input));
            }
        }
        let held = self.held.get_or_insert_default();
        let taken = input.len().min(HEADER_BYTES_MAX - before);
        held.header[before..before + taken].copy_from_slice(&input[..taken]);
        let Some((header, size)) = Header::parse(&held.header[..before + taken], self.deflate)? else {
            held.header_bytes = before + taken;
            return Ok((None, &mut input[taken..]));
        };
        held.header_bytes = 0;
        Ok((Some(header), &mut input[size - before..]))
    }

    /// Judges a frame by what came before it and by the length it declares, before any of it is kept.
    fn admit(&self, header: &Header) -> Result<(), Violation> {
        let message = self.held.as_ref().and_then(|held| held.message.as_ref());
        let (declared, fragments, deflated) = match (header.opcode, message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, None) => return Err(Violation::protocol("a continuation has nothing to continue")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Violation::protocol("a message began before the last one ended"));
            }
            (Opcode::Continuation, Some(message)) => {
                (message.declared, message.fragments.saturating_add(1), message.inflate.is_some())
            }
            (Opcode::Text | Opcode::Binary, None) => (0, 1, header.deflated),
        };
        let most = self.message_bytes_max as u64;
        // A message is weighed while it is inflated. On the way it may be a little longer than it is: by an eighth where
        // a sender knows no better than to write every byte in nine bits.
        let most = if deflated { most.saturating_add(most / 8 + DEFLATED_BYTES_FREE) } else { most };
        if header.length > most - declared {
            return Err(Violation::TOO_LARGE);
        }
        if fragments > self.fragments_max {
            return Err(Violation::TOO_MANY_FRAGMENTS);
        }
        Ok(())
    }

    /// How long the payload is, if all of it is here and it is something whole by itself.
    fn whole_length(&self, header: &Header, here: usize) -> Option<usize> {
        let alone =
            header.opcode.is_control() || header.fin && self.held.as_ref().is_none_or(|held| held.message.is_none());
        let plain = alone && !header.deflated;
        usize::try_from(header.length).ok().filter(|length| plain && *length <= here)
    }

    /// Makes room for a frame that comes in pieces, or is a piece of a message itself.
    fn begin(&mut self, header: &Header) {
        if !header.opcode.is_control() {
            let held = self.held.get_or_insert_default();
            let message = held.message.get_or_insert_with(|| Assembly::new(header));
            message.fragments = message.fragments.saturating_add(1);
            message.declared += header.length;
        }
    }

    /// Takes some of a frame's payload, maybe none, maybe all; tells whether the frame is whole.
    fn take(
        &mut self,
        mut arriving: Arriving,
        piece: &mut [u8],
        each: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, Violation> {
        let Header { opcode, fin, mask, .. } = arriving.header;
        unmask(piece, mask, (arriving.received % 4) as usize);
        let held = self.held.get_or_insert_default();
        match &mut held.message {
            Some(message) if !opcode.is_control() => {
                message.take(piece, arriving.missing(), fin, self.message_bytes_max)?;
            }
            _ => {
                held.control.reserve_exact(CONTROL_BYTES_MAX - held.control.len());
                held.control.extend_from_slice(piece);
            }
        }
        arriving.received += piece.len() as u64;
        if arriving.missing() > 0 {
            held.frame = Some(arriving);
            return Ok(false);
        }
        if opcode.is_control() {
            let payload = std::mem::take(&mut held.control);
            self.tell(opcode, &payload, each)?;
        } else if fin && let Some(mut message) = held.message.take() {
            message.end(self.message_bytes_max)?;
            self.tell(message.opcode, &message.bytes, each)?;
        }
        Ok(true)
    }

    /// Hands out something whole.
    fn tell(&mut self, opcode: Opcode, payload: &[u8], each: &mut dyn FnMut(Event<'_>)) -> Result<(), Violation> {
        match opcode {
            Opcode::Text => each(Event::Text(std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?)),
            Opcode::Binary => each(Event::Binary(payload)),
            Opcode::Ping => each(Event::Ping(payload)),
            Opcode::Pong => each(Event::Pong(payload)),
            Opcode::Close => {
                each(Event::Close(read_goodbye(payload)?));
                self.close();
            }
            Opcode::Continuation => unreachable!("a continuation is told as the message that it continues"),
        }
        Ok(())
    }
}

/// What a compressed message may take on the way beyond its own length, for the marks of its blocks.
const DEFLATED_BYTES_FREE: u64 = 1_024;

const NOT_UTF8: Violation = Violation::not_utf8("a text message is not UTF-8");

fn read_goodbye(payload: &[u8]) -> Result<Option<Goodbye<'_>>, Violation> {
    let (status, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::protocol("a close frame has half a status")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // What may be sent: those of RFC 6455 §7.4.1 that are not for use inside an endpoint only, those registered since
    // (1012 to 1014), and the ranges of libraries (3000) and applications (4000). The rest up to 2999 is reserved.
    if !matches!(status, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::protocol("a close frame has a status that must not be sent"));
    }
    let reason =
        std::str::from_utf8(reason).map_err(|_| Violation::not_utf8("the reason of a close frame is not UTF-8"))?;
    Ok(Some(Goodbye { status, reason }))
}

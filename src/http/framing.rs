//! Where one HTTP/1 request ends and the next begins, followed through the raw bytes in front of hyper.
//!
//! hyper repairs what it should refuse: it drops a `Content-Length` beside a `Transfer-Encoding` and folds equal
//! `Content-Length`s, silently. Two servers that disagree on such a request can be made to see different
//! requests in one connection, so here it is a violation, as are bare line feeds. Stricter than hyper and never
//! laxer: what passes here hyper still judges.

use memchr::memchr2;

/// The connection must go no further: the byte at `at` is the first that may not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) at: usize,
}

/// What the connection is doing, as far as its incoming bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Head,
    Body,
    /// HTTP/2: framed by other rules, not followed.
    Http2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RequestLine,
    LineFeed(After),
    Name,
    Value(Field),
    Body(u64),
    ChunkSize { size: u64, digits: u8 },
    ChunkExtension { size: u64 },
    ChunkData(u64),
    ChunkEnd,
    TrailerStart,
    Trailer,
    Http2,
}

/// What follows a line feed that must come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    RequestLine,
    EmptyLine,
    Field,
    Head,
    ChunkSize { size: u64 },
    ChunkData,
    Trailer,
    Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    ContentLength,
    TransferEncoding,
    Other,
}

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const CHUNKED: &[u8] = b"chunked";
const HTTP2_PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0";
/// Enough for every text above; longer lines are none of them.
const LINE_BYTES: usize = 24;

/// Follows one connection. Feed it every byte read, in order.
#[derive(Debug)]
pub(super) struct Framing {
    state: State,
    /// The beginning of the present name or value, or of the request line, in lower case but for the last.
    line: [u8; LINE_BYTES],
    /// Its length, also where that is more than was kept.
    line_len: usize,
    length: Option<u64>,
    chunked: bool,
    first: bool,
    /// Heads that have begun and were not asked for yet.
    heads: u32,
    head_bytes_left: u32,
    max_head_bytes: u32,
}

impl Framing {
    pub(super) const fn new(max_head_bytes: u32) -> Self {
        Self {
            state: State::RequestLine,
            line: [0; LINE_BYTES],
            line_len: 0,
            length: None,
            chunked: false,
            first: true,
            heads: 0,
            head_bytes_left: max_head_bytes,
            max_head_bytes,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.state {
            State::RequestLine if self.line_len == 0 => Phase::Idle,
            State::RequestLine | State::LineFeed(After::RequestLine | After::Field | After::Head) => {
                Phase::Head
            }
            State::LineFeed(After::EmptyLine) => Phase::Idle,
            State::Name | State::Value(_) => Phase::Head,
            State::Http2 => Phase::Http2,
            _ => Phase::Body,
        }
    }

    /// How many heads have begun since this was asked last.
    pub(super) const fn take_heads(&mut self) -> u32 {
        std::mem::replace(&mut self.heads, 0)
    }

    /// Whether a head has used up all that it may have.
    pub(super) const fn is_head_full(&self) -> bool {
        self.head_bytes_left == 0
    }

    /// # Errors
    /// At the first byte that breaks the rules; nothing behind it was looked at.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while at < bytes.len() {
            // Bodies are skipped, not read.
            if let State::Body(left) | State::ChunkData(left) = &mut self.state {
                let skipped = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= skipped as u64;
                at += skipped;
                match self.state {
                    State::Body(0) => self.begin_request(),
                    State::ChunkData(0) => self.state = State::ChunkEnd,
                    _ => {}
                }
                continue;
            }
            if self.state == State::Http2 {
                return Ok(());
            }
            at += self.skip(&bytes[at..]);
            let Some(byte) = bytes.get(at) else { return Ok(()) };
            self.state = self.next(*byte).ok_or(Violation { at })?;
            at += 1;
        }
        Ok(())
    }

    /// Takes the bytes that change nothing but how much has come, and returns their number. It says what [`Self::next`]
    /// would say of each, and stops in front of the first that it has more to say about.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let taken = match self.state {
            // Longer than any line that is looked for.
            State::RequestLine if self.line_len >= LINE_BYTES => {
                let taken = self.affordable(memchr2(b'\r', b'\n', bytes), bytes);
                self.line_len += taken;
                taken
            }
            State::Value(Field::Other) => self.affordable(memchr2(b'\r', b'\n', bytes), bytes),
            State::Name => {
                let is_special = |byte: &u8| matches!(byte, b':' | b'\r' | b'\n' | b' ' | b'\t');
                let taken = self.affordable(bytes.iter().position(is_special), bytes);
                bytes[..taken].iter().for_each(|byte| self.keep(byte.to_ascii_lowercase()));
                taken
            }
            _ => return 0,
        };
        // No more than is left.
        self.head_bytes_left -= u32::try_from(taken).unwrap_or(u32::MAX);
        taken
    }

    /// What comes before `end`, or of all, as far as the head may have it.
    fn affordable(&self, end: Option<usize>, bytes: &[u8]) -> usize {
        end.unwrap_or(bytes.len()).min(self.head_bytes_left as usize)
    }

    fn begin_request(&mut self) {
        *self = Self { first: false, heads: self.heads, ..Self::new(self.max_head_bytes) };
    }

    fn begin_line(&mut self) {
        self.line_len = 0;
    }

    fn keep(&mut self, byte: u8) {
        if let Some(slot) = self.line.get_mut(self.line_len) {
            *slot = byte;
        }
        self.line_len += 1;
    }

    fn kept(&self) -> &[u8] {
        // A text that did not fit is none of those looked for.
        self.line.get(..self.line_len).unwrap_or_default()
    }

    fn spend_head_byte(&mut self) -> Option<()> {
        self.head_bytes_left = self.head_bytes_left.checked_sub(1)?;
        Some(())
    }

    fn next(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::LineFeed(after), b'\n') => self.after_line(after),
            (State::LineFeed(_), _) | (_, b'\n') => None,
            (State::RequestLine, b'\r') if self.line_len == 0 => Some(State::LineFeed(After::EmptyLine)),
            (State::RequestLine, b'\r') => Some(State::LineFeed(After::RequestLine)),
            (State::RequestLine, _) => {
                self.spend_head_byte()?;
                self.heads += u32::from(self.line_len == 0);
                self.keep(byte);
                Some(State::RequestLine)
            }
            (State::Name | State::Value(_), _) => {
                self.spend_head_byte()?;
                self.next_in_head(byte)
            }
            _ => next_in_chunks(self.state, byte),
        }
    }

    fn next_in_head(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::Name, b'\r') => (self.line_len == 0).then_some(State::LineFeed(After::Head)),
            (State::Name, b':') => self.name_ended(),
            // Folded lines, and blanks between a name and its colon.
            (State::Name, b' ' | b'\t') => None,
            (State::Name, _) => {
                self.keep(byte.to_ascii_lowercase());
                Some(State::Name)
            }
            (State::Value(field), b'\r') => self.value_ended(field),
            // Surrounding blanks are not part of a value; inner ones make it none that is known.
            (State::Value(field), b' ' | b'\t') if self.line_len == 0 => Some(State::Value(field)),
            (State::Value(field), _) => {
                if field != Field::Other {
                    self.keep(byte.to_ascii_lowercase());
                }
                Some(State::Value(field))
            }
            _ => None,
        }
    }

    fn name_ended(&mut self) -> Option<State> {
        let field = match self.kept() {
            CONTENT_LENGTH => Field::ContentLength,
            TRANSFER_ENCODING => Field::TransferEncoding,
            _ => Field::Other,
        };
        self.begin_line();
        let framed = self.length.is_some() || self.chunked;
        (field == Field::Other || !framed).then_some(State::Value(field))
    }

    fn value_ended(&mut self, field: Field) -> Option<State> {
        let value = self.kept().trim_ascii_end();
        match field {
            Field::Other => {}
            Field::ContentLength => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
                self.length = Some(text.parse().ok()?);
            }
            Field::TransferEncoding => {
                if value != CHUNKED {
                    return None;
                }
                self.chunked = true;
            }
        }
        Some(State::LineFeed(After::Field))
    }

    fn after_line(&mut self, after: After) -> Option<State> {
        match after {
            After::RequestLine if self.first && self.kept() == HTTP2_PREFACE_LINE => {
                return Some(State::Http2);
            }
            After::RequestLine | After::Field => {
                self.begin_line();
                return Some(State::Name);
            }
            After::Head if self.chunked => return Some(State::ChunkSize { size: 0, digits: 0 }),
            After::Head => {
                if let Some(length @ 1..) = self.length {
                    return Some(State::Body(length));
                }
            }
            After::ChunkSize { size: 0 } | After::Trailer => return Some(State::TrailerStart),
            After::ChunkSize { size } => return Some(State::ChunkData(size)),
            After::ChunkData => return Some(State::ChunkSize { size: 0, digits: 0 }),
            After::EmptyLine | After::Trailers => {}
        }
        let first = self.first && after == After::EmptyLine;
        self.begin_request();
        self.first = first;
        Some(State::RequestLine)
    }
}

fn next_in_chunks(state: State, byte: u8) -> Option<State> {
    match (state, byte) {
        (State::ChunkSize { size, digits }, b'\r') if digits > 0 => {
            Some(State::LineFeed(After::ChunkSize { size }))
        }
        (State::ChunkSize { size, digits }, b';' | b' ' | b'\t') if digits > 0 => {
            Some(State::ChunkExtension { size })
        }
        (State::ChunkSize { size, digits }, _) => {
            let digit = char::from(byte).to_digit(16)?;
            // Sixteen digits fill 64 bits.
            (digits < 16)
                .then_some(State::ChunkSize { size: size << 4 | u64::from(digit), digits: digits + 1 })
        }
        (State::ChunkExtension { size }, b'\r') => Some(State::LineFeed(After::ChunkSize { size })),
        (State::ChunkEnd, b'\r') => Some(State::LineFeed(After::ChunkData)),
        (State::TrailerStart, b'\r') => Some(State::LineFeed(After::Trailers)),
        (State::Trailer, b'\r') => Some(State::LineFeed(After::Trailer)),
        (State::ChunkExtension { .. }, _) => Some(state),
        (State::TrailerStart | State::Trailer, _) => Some(State::Trailer),
        _ => None,
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;

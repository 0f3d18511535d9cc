//! `multipart/form-data` cut into its parts while it passes.
//!
//! A part begins behind a line `--boundary`, ends before the next one, and has a head and a body with an empty line
//! between; `--boundary--` ends the form. Nothing but a head is ever held, and what may yet become a boundary. Source:
//! RFC 2046 §5.1.1 and RFC 7578.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, header};
use memchr::memmem::{Finder, find};

/// The longest head of a part, in bytes.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// RFC 2046 §5.1.1.
const MAX_BOUNDARY_BYTES: usize = 70;
const LINE_END: &[u8] = b"\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The body is not a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the form is malformed")]
pub(super) struct MalformedForm;

/// The line that parts the parts, without its dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boundary(String);

/// Why a request has no boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBoundary {
    /// Its body is something else than a form.
    NotAForm,
    Malformed,
}

impl Boundary {
    /// # Errors
    /// When the one `Content-Type` is not `multipart/form-data` with a boundary of RFC 2046.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, NoBoundary> {
        let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
        let kind = kinds.next().and_then(|kind| kind.to_str().ok()).ok_or(NoBoundary::NotAForm)?;
        let (kind, rest) = kind.split_once(';').unwrap_or((kind, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") || kinds.next().is_some() {
            return Err(NoBoundary::NotAForm);
        }
        let parameters = super::part::parameters(rest).ok_or(NoBoundary::Malformed)?;
        let mut boundaries = parameters.into_iter().filter(|(name, _)| name == "boundary");
        match (boundaries.next(), boundaries.next()) {
            (Some((_, boundary)), None) => Self::new(&boundary).ok_or(NoBoundary::Malformed),
            _ => Err(NoBoundary::Malformed),
        }
    }

    pub(super) fn new(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
        let fits = (1..=MAX_BOUNDARY_BYTES).contains(&text.len());
        let is_one = fits && text.bytes().all(allowed) && !text.ends_with(' ');
        is_one.then(|| Self(text.to_owned()))
    }
}

/// What comes of a form, in order. Data are slices of what was fed, in as many pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins: its header lines.
    Head(Bytes),
    Data(Bytes),
    PartEnd,
    /// The last boundary. What follows it means nothing.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a boundary, which may have white space behind it.
    Delimiter {
        is_padded: bool,
    },
    Head,
    Body,
    Epilogue,
}

/// Cuts one form.
#[derive(Debug)]
pub(super) struct Splitter {
    /// Of the line end and the boundary.
    finder: Finder<'static>,
    state: State,
    /// What is fed and not taken.
    pending: Bytes,
}

impl Splitter {
    pub(super) fn new(boundary: &Boundary) -> Self {
        let delimiter = format!("\r\n--{}", boundary.0);
        let finder = Finder::new(delimiter.as_bytes()).into_owned();
        // The first boundary may be the first line.
        Self { finder, state: State::Preamble, pending: Bytes::from_static(LINE_END) }
    }

    pub(super) fn feed(&mut self, bytes: Bytes) {
        if self.pending.is_empty() {
            self.pending = bytes;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.pending.len() + bytes.len());
        joined.put_slice(&self.pending);
        joined.put_slice(&bytes);
        self.pending = joined.freeze();
    }

    /// How many bytes wait for more. Bounded, once there are no more events.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The next event, if what was fed has one.
    pub(super) fn event(&mut self) -> Result<Option<Event>, MalformedForm> {
        loop {
            match self.state {
                State::Preamble => {
                    let Some(at) = self.finder.find(&self.pending) else {
                        let _ = self.settled();
                        return Ok(None);
                    };
                    self.delimited(at);
                }
                State::Delimiter { is_padded } => match self.delimiter(is_padded)? {
                    None => return Ok(None),
                    Some(State::Epilogue) => {
                        self.state = State::Epilogue;
                        return Ok(Some(Event::End));
                    }
                    Some(state) => self.state = state,
                },
                State::Head => return self.head(),
                State::Body => return Ok(self.body()),
                State::Epilogue => {
                    self.pending.clear();
                    return Ok(None);
                }
            }
        }
    }

    /// Goes behind the boundary that stands there.
    fn delimited(&mut self, at: usize) {
        let _ = self.pending.split_to(at + self.finder.needle().len());
        self.state = State::Delimiter { is_padded: false };
    }

    /// What follows a boundary, once that can be said.
    fn delimiter(&mut self, is_padded: bool) -> Result<Option<State>, MalformedForm> {
        let padding = self.pending.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let _ = self.pending.split_to(padding);
        let is_padded = is_padded || padding > 0;
        self.state = State::Delimiter { is_padded };
        if self.pending.starts_with(b"--") && !is_padded {
            return Ok(Some(State::Epilogue));
        }
        if self.pending.starts_with(LINE_END) {
            // It stays: a head without lines is its end at once.
            return Ok(Some(State::Head));
        }
        let may_become =
            matches!(self.pending.as_ref(), b"" | b"\r") || (&self.pending[..] == b"-" && !is_padded);
        if may_become { Ok(None) } else { Err(MalformedForm) }
    }

    fn head(&mut self) -> Result<Option<Event>, MalformedForm> {
        let end = find(&self.pending, HEAD_END);
        // All but the end of it may be there.
        let least = end.unwrap_or(self.pending.len().saturating_sub(HEAD_END.len() - 1));
        if least > MAX_HEAD_BYTES {
            return Err(MalformedForm);
        }
        let Some(end) = end else { return Ok(None) };
        let mut lines = self.pending.split_to(end + HEAD_END.len());
        lines.truncate(end);
        let _ = lines.split_to(LINE_END.len().min(end));
        self.state = State::Body;
        Ok(Some(Event::Head(lines)))
    }

    fn body(&mut self) -> Option<Event> {
        let data = match self.finder.find(&self.pending) {
            Some(0) => {
                self.delimited(0);
                return Some(Event::PartEnd);
            }
            Some(at) => self.pending.split_to(at),
            None => self.settled(),
        };
        (!data.is_empty()).then_some(Event::Data(data))
    }

    /// Takes all but an end that may be the beginning of a boundary.
    fn settled(&mut self) -> Bytes {
        let delimiter = self.finder.needle();
        let longest = self.pending.len().min(delimiter.len() - 1);
        let kept = (1..=longest).rev().find(|kept| self.pending.ends_with(&delimiter[..*kept]));
        self.pending.split_to(self.pending.len() - kept.unwrap_or(0))
    }
}

#[cfg(test)]
#[path = "multipart_tests.rs"]
mod tests;

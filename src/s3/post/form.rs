//! Reading a form: its fields at once, its file as a stream.

use super::MAX_FIELD_BYTES;
use super::fields::Fields;
use super::multipart::{Boundary, Event, MalformedForm, Splitter};
use super::part::Part;
use super::policy::SizeRange;
use super::refusals::{malformed, too_large, too_much, too_small, wrong_number_of_files};
use crate::s3::error::refusal_of;
use crate::s3::refusal::Refusal;
use crate::service::{InputError, InputStream};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use std::sync::Arc;

/// What may follow the file, in bytes: the fields there mean nothing.
const MAX_TRAILING_BYTES: u64 = 1 << 20;

/// Why reading a form stops.
#[derive(Debug)]
enum Stop {
    /// The client's bytes could not be read.
    Input(InputError),
    Refused(Box<Refusal>),
}

impl From<MalformedForm> for Stop {
    fn from(_: MalformedForm) -> Self {
        malformed().into()
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Input(error) => refusal_of(error.into()),
            Stop::Refused(refusal) => *refusal,
        }
    }
}

/// Events, and how many bytes they may take.
struct Reader {
    frames: InputStream,
    splitter: Splitter,
    fed_bytes: u64,
    most: u64,
    excess: fn() -> Refusal,
}

impl Reader {
    /// How many bytes the events up to here took.
    fn taken(&self) -> u64 {
        self.fed_bytes - self.splitter.pending() as u64
    }

    /// Feeds what comes next. `false`: nothing does.
    async fn feed(&mut self) -> Result<bool, Stop> {
        let Some(frame) = self.frames.next().await else { return Ok(false) };
        let frame = frame.map_err(Stop::Input)?;
        self.fed_bytes += frame.len() as u64;
        self.splitter.feed(frame);
        Ok(true)
    }

    fn take(&mut self) -> Result<Option<Event>, Stop> {
        let event = self.splitter.event()?;
        if self.taken() > self.most { Err((self.excess)().into()) } else { Ok(event) }
    }

    async fn event(&mut self) -> Result<Event, Stop> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            if !self.feed().await? {
                return Err(malformed().into());
            }
        }
    }

    /// The rest of the body, behind the last boundary.
    async fn finish(&mut self) -> Result<(), Stop> {
        while self.feed().await? {
            let _ = self.take()?;
        }
        Ok(())
    }
}

/// A form up to its file.
pub(super) struct Form {
    pub(super) fields: Fields,
    /// `None`: the file came without one.
    pub(super) filename: Option<String>,
    pub(super) file: FormFile,
}

impl Form {
    /// # Errors
    /// When the fields are too long or malformed, or no file follows them.
    pub(super) async fn read(boundary: &Boundary, frames: InputStream) -> Result<Self, Refusal> {
        let splitter = Splitter::new(boundary);
        // The splitter holds a line end that did not come.
        let fed_bytes = splitter.pending() as u64;
        let mut reader = Reader { frames, splitter, fed_bytes, most: MAX_FIELD_BYTES, excess: too_much };
        let (fields, filename) = read_fields(&mut reader).await?;
        reader.most = u64::MAX;
        Ok(Self { fields, filename, file: FormFile(reader) })
    }
}

async fn read_fields(reader: &mut Reader) -> Result<(Fields, Option<String>), Stop> {
    let mut fields = Fields::default();
    let mut field: Option<(Part, Vec<u8>)> = None;
    loop {
        match (reader.event().await?, field.take()) {
            (Event::Head(head), None) => {
                let part = Part::parse(&head).ok_or_else(malformed)?;
                if part.is_file() {
                    return Ok((fields, part.filename));
                }
                field = Some((part, Vec::new()));
            }
            (Event::Data(data), Some((part, mut value))) => {
                value.extend_from_slice(&data);
                field = Some((part, value));
            }
            (Event::PartEnd, Some((part, value))) => fields.add(part, value)?,
            (Event::End, _) => return Err(wrong_number_of_files(0).into()),
            _ => return Err(malformed().into()),
        }
    }
}

/// The file of a form, and what follows it.
pub(super) struct FormFile(Reader);

/// Why the file was refused while it was being stored, if it was. The stream of it has failed then.
pub(super) type Verdict = Arc<Mutex<Option<Refusal>>>;

impl FormFile {
    /// The file's bytes. The stream ends well only if the form did, and the size is in the range.
    pub(super) fn stream(self, range: SizeRange) -> (InputStream, Verdict) {
        let verdict = Verdict::default();
        let state = Some((FileReader { reader: self.0, range, size: 0 }, Arc::clone(&verdict)));
        let stream = futures::stream::unfold(state, |state| async move {
            let (mut file, verdict) = state?;
            match file.next().await {
                Ok(Some(data)) => Some((Ok(data), Some((file, verdict)))),
                Ok(None) => None,
                Err(Stop::Input(error)) => Some((Err(error), None)),
                Err(Stop::Refused(refusal)) => {
                    *verdict.lock() = Some(*refusal);
                    Some((Err(InputError::Malformed("the form's file was refused".to_owned())), None))
                }
            }
        });
        (stream.boxed(), verdict)
    }
}

struct FileReader {
    reader: Reader,
    range: SizeRange,
    size: u64,
}

impl FileReader {
    async fn next(&mut self) -> Result<Option<Bytes>, Stop> {
        match self.reader.event().await? {
            Event::Data(data) => {
                self.size += data.len() as u64;
                if self.size > self.range.most {
                    return Err(too_large(self.size, self.range.most).into());
                }
                Ok(Some(data))
            }
            Event::PartEnd if self.size < self.range.least => {
                Err(too_small(self.size, self.range.least).into())
            }
            Event::PartEnd => self.ignore_the_rest().await.map(|()| None),
            Event::Head(_) | Event::End => Err(malformed().into()),
        }
    }

    /// Another file would be lost in silence; other fields behind the file are, as on AWS.
    async fn ignore_the_rest(&mut self) -> Result<(), Stop> {
        self.reader.most = self.reader.taken() + MAX_TRAILING_BYTES;
        self.reader.excess = malformed;
        loop {
            match self.reader.event().await? {
                Event::End => return self.reader.finish().await,
                Event::Head(head) if Part::parse(&head).is_some_and(|part| part.is_file()) => {
                    return Err(wrong_number_of_files(2).into());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "form_tests.rs"]
mod tests;

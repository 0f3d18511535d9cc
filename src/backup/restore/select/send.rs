//! One version to the target, as it was.

use super::SelectError;
use super::chosen::Then;
use super::run::Work;
use crate::engine::{BodyStore, EngineError};
use crate::meta::{MetaError, ObjectData, VersionKind};
use crate::remote::{
    BodySource, Class, OnlyOver, RemoteError, ReplicaBody, ReplicaHead, SentPart, Trouble, Verb,
};
use crate::types::{Checksum, ChecksumKind, ObjectKey, ObjectLock, ResolvedRange};

/// The most that S3 takes in one piece.
const MOST_WHOLE_BYTES: u64 = 5 << 30;
/// Of objects that are larger and were put in one piece: their tag cannot be kept.
const PART_BYTES: u64 = 64 << 20;
const MOST_PARTS: u64 = 10_000;

/// A stretch of a body that is sent by itself.
struct Piece {
    number: u16,
    range: ResolvedRange,
    checksum: Option<Checksum>,
}

/// How an object is cut. `None`: not at all.
fn pieces(data: &ObjectData, most_whole: u64) -> Option<Vec<Piece>> {
    let mut start = 0;
    if !data.parts.is_empty() {
        let piece = |part: &crate::types::PartLayout| {
            let range = ResolvedRange { start, end: start + part.size };
            start = range.end;
            Piece { number: part.number.get(), range, checksum: part.checksum.clone() }
        };
        return Some(data.parts.iter().map(piece).collect());
    }
    if data.size <= most_whole {
        return None;
    }
    let step = PART_BYTES.max(data.size.div_ceil(MOST_PARTS));
    let starts = (1..=u16::MAX).zip((0..).map(|n| n * step).take_while(|start| *start < data.size));
    let piece = |(number, start)| {
        let range = ResolvedRange { start, end: data.size.min(start + step) };
        Piece { number, range, checksum: None }
    };
    Some(starts.map(piece).collect())
}

impl Work {
    /// # Errors
    /// When it cannot be read, or the target does not take it, after several attempts.
    pub(super) async fn write(
        &self,
        bodies: &dyn BodyStore,
        at: &str,
        key: &ObjectKey,
        (then, only): (&Then, OnlyOver),
    ) -> Result<(), SelectError> {
        if then.object.is_none() {
            return self.patiently(async || Ok(self.parts.sink.delete(at, only).await?)).await;
        }
        let found = self.parts.meta.version(self.bucket.id, key, then.id).await?;
        let Some(VersionKind::Object(data)) = found.map(|version| version.kind) else {
            let why = format!("`{}` is listed, and has no row", key.to_text());
            return Err(SelectError::Rows(MetaError::Corrupt(why)));
        };
        let head = self.head(&data);
        match pieces(&data, MOST_WHOLE_BYTES) {
            None => self.put_whole(bodies, (at, only), &data, &head).await,
            Some(pieces) => self.put_parts(bodies, (at, only), (&data, &pieces), &head).await,
        }
    }

    fn head(&self, data: &ObjectData) -> ReplicaHead {
        let now = self.parts.clock.now();
        // One that is over would be refused, and protects nothing.
        let retention = data.lock.retention.filter(|retention| retention.until > now);
        let lock = ObjectLock { retention, ..data.lock };
        ReplicaHead {
            attributes: data.attributes.clone(),
            storage_class: data.attributes.storage_class.clone(),
            tags: data.tags.clone(),
            lock: if self.facts.has_lock { lock } else { ObjectLock::default() },
            // What was a copy stays one, so that it is not copied back to where it came from.
            origin: data.attributes.replica_of.clone(),
        }
    }

    async fn put_whole(
        &self,
        bodies: &dyn BodyStore,
        (at, only): (&str, OnlyOver),
        data: &ObjectData,
        head: &ReplicaHead,
    ) -> Result<(), SelectError> {
        let whole = ResolvedRange { start: 0, end: data.size };
        let md5 = (data.etag.parts() == 0).then(|| *data.etag.md5());
        let is_whole = |checksum: &Checksum| checksum.kind() == ChecksumKind::FullObject;
        let checksum = data.checksum.clone().filter(is_whole);
        self.patiently(async || {
            let trouble = Trouble::default();
            let body = body(bodies, data, whole, &trouble).await?;
            let body = ReplicaBody { md5, checksum: checksum.clone(), ..body };
            own_first(self.parts.sink.put(at, head, body, only).await, &trouble)
        })
        .await
    }

    /// In the same parts, so that it has the same tag.
    async fn put_parts(
        &self,
        bodies: &dyn BodyStore,
        (at, only): (&str, OnlyOver),
        (data, pieces): (&ObjectData, &[Piece]),
        head: &ReplicaHead,
    ) -> Result<(), SelectError> {
        // Composite ones are made of the parts' own.
        let is_known = pieces.iter().all(|piece| piece.checksum.is_some());
        let checksum = data.checksum.as_ref().filter(|_| is_known);
        let begun = self.patiently(async || Ok(self.parts.sink.begin(at, head, checksum).await?)).await?;
        let sent = self.put_each(bodies, ((at, &begun), only), data, pieces).await;
        if sent.is_err() {
            // The failure is what counts; what is left there costs space only.
            let _ = self.parts.sink.abort((at, &begun)).await;
        }
        sent
    }

    async fn put_each(
        &self,
        bodies: &dyn BodyStore,
        (upload, only): ((&str, &str), OnlyOver),
        data: &ObjectData,
        pieces: &[Piece],
    ) -> Result<(), SelectError> {
        let mut sent = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let put = self.patiently(async || {
                let trouble = Trouble::default();
                let body = body(bodies, data, piece.range, &trouble).await?;
                let body = ReplicaBody { checksum: piece.checksum.clone(), ..body };
                own_first(self.parts.sink.put_part(upload, piece.number, body).await, &trouble)
            });
            sent.push(put.await?);
        }
        if data.etag.parts() > 0 && !SentPart::make_up(&sent, data.etag) {
            let why = "the parts there are not the parts that were sent";
            return Err(RemoteError::new(Class::Wrong, Verb::PutPart, upload.0, why).into());
        }
        self.complete((upload, only), &sent, data).await
    }

    /// An answer that was lost, and an upload that is gone then: it is done, if what stands there is what was sent.
    async fn complete(
        &self,
        (upload, only): ((&str, &str), OnlyOver),
        sent: &[SentPart],
        data: &ObjectData,
    ) -> Result<(), SelectError> {
        let completed =
            self.patiently(async || Ok(self.parts.sink.complete(upload, sent, data.size, only).await?)).await;
        let Err(SelectError::Target(error)) = completed else { return completed };
        if error.class != Class::Gone {
            return Err(error.into());
        }
        let there = self.patiently(async || Ok(self.parts.sink.list(upload.0, None).await?)).await?;
        let is_it = |(key, stat): &(String, crate::remote::ReplicaStat)| {
            key == upload.0 && stat.bytes == data.size && stat.etag == Some(data.etag)
        };
        if there.objects.first().is_some_and(is_it) { Ok(()) } else { Err(error.into()) }
    }
}

/// Bytes of a version, on their way.
async fn body(
    bodies: &dyn BodyStore,
    data: &ObjectData,
    range: ResolvedRange,
    trouble: &Trouble<EngineError>,
) -> Result<ReplicaBody, EngineError> {
    let stream = bodies.read(bodies.hold(), &data.body, data.size, range).await?;
    let source = BodySource::of(stream, range.len(), trouble).await?;
    Ok(ReplicaBody { bytes: range.len(), source, md5: None, checksum: None })
}

/// Trouble of the backup made the request fail, whatever became of it.
fn own_first<T>(sent: Result<T, RemoteError>, trouble: &Trouble<EngineError>) -> Result<T, SelectError> {
    match trouble.take() {
        Some(error) => Err(error.into()),
        None => Ok(sent?),
    }
}

#[cfg(test)]
mod tests {
    use super::pieces;
    use crate::meta::{ObjectData, StoredBody};
    use crate::types::{Attributes, ETag, ObjectLock, PartLayout, PartNumber, TagSet};

    fn data(size: u64, parts: &[u64]) -> ObjectData {
        let layout = |(number, size): (i64, &u64)| PartLayout {
            number: PartNumber::parse(number).unwrap(),
            size: *size,
            checksum: None,
        };
        ObjectData {
            body: StoredBody::Inline("x".into()),
            size,
            etag: ETag::of_body([7; 16]),
            checksum: None,
            attributes: Attributes::default(),
            parts: (1..).zip(parts).map(layout).collect(),
            tags: TagSet::default(),
            lock: ObjectLock::default(),
        }
    }

    fn cuts(size: u64, parts: &[u64]) -> Option<Vec<(u16, u64, u64)>> {
        let pieces = pieces(&data(size, parts), 5 << 30)?;
        Some(pieces.iter().map(|piece| (piece.number, piece.range.start, piece.range.end)).collect())
    }

    #[test]
    fn an_object_is_cut_as_it_was_and_otherwise_only_where_s3_takes_no_more() {
        assert_eq!(cuts(10, &[]), None);
        assert_eq!(cuts(5 << 30, &[]), None);
        assert_eq!(cuts(10, &[10]), Some(vec![(1, 0, 10)]), "one part is not the same as none");
        assert_eq!(cuts(10, &[7, 3]), Some(vec![(1, 0, 7), (2, 7, 10)]));
        let large = cuts((5 << 30) + 1, &[]).unwrap();
        assert_eq!((large.len(), large[80]), (81, (81, 80 << 26, (5 << 30) + 1)));
        let huge = cuts(48 << 40, &[]).unwrap();
        assert!(huge.len() <= 10_000 && huge.last().unwrap().2 == 48 << 40);
    }
}

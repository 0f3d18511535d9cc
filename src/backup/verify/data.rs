//! Downloading objects and proving them.

use super::anatomy::Unit;
use super::{ObjectFault, Scratch};
use crate::backup::container::Kind;
use crate::backup::{BackupError, Base, Extent, ObjectName, PlainFile, Repository, Segment, Stamp, objects};
use crate::engine::PassingBlocks;
use crate::engine::pack::copied_records;
use crate::meta::{Audit, ChangeLog, MetaError, OpenMode, SqliteSettings, SqliteStore};
use crate::sys::NoBarrier;
use bytes::Bytes;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What reading a unit showed.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) objects: u64,
    /// Of the bucket.
    pub(super) bytes: u64,
    pub(super) faults: Vec<(ObjectName, Stamp, String)>,
    pub(super) doubts: Vec<ObjectFault>,
}

/// Whoever reads.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) repository: Arc<Repository>,
    pub(super) scratch: Scratch,
    pub(super) stop: CancellationToken,
}

impl Reader {
    /// Memory: two objects of 64 MiB at most.
    ///
    /// # Errors
    /// When the bucket or the scratch directory cannot be used: nothing is known then.
    pub(super) async fn read(&self, unit: &Unit) -> Result<Read, BackupError> {
        let mut read = Read::default();
        match unit {
            Unit::Extent(extent) => self.extent(extent, &mut read).await?,
            Unit::Plain(plain) => self.plain(plain, &mut read).await?,
            Unit::Base(base) => self.base(base, &mut read).await?,
            Unit::Log(segment) => {
                read.took(segment.stamp);
                let found = Segment::get(&self.repository, segment.name(), Some(segment.stamp)).await;
                let decoded = read.keep(segment.name(), segment.stamp, found)?.map(|found| found.decode());
                if let Some(Err(error)) = decoded {
                    read.fault(segment.name(), segment.stamp, error.to_string());
                }
            }
        }
        Ok(read)
    }

    async fn get(
        &self,
        (name, stamp): (ObjectName, Stamp),
        kind: Kind,
        read: &mut Read,
    ) -> Result<Option<Bytes>, BackupError> {
        read.took(stamp);
        read.keep(name, stamp, objects::get(&self.repository, name, kind, Some(stamp)).await)
    }

    async fn extent(&self, extent: &Extent, read: &mut Read) -> Result<(), BackupError> {
        let (name, stamp, extent) = (extent.name(), extent.stamp, *extent);
        let Some(bytes) = self.get((name, stamp), Kind::Extent, read).await? else { return Ok(()) };
        let proven = tokio::task::spawn_blocking(move || {
            let is_same = bytes.len() as u64 == u64::from(extent.to - extent.from)
                && crc32c::crc32c(&bytes) == extent.crc;
            is_same.then(|| copied_records(extent.pack(), extent.from, &bytes))
        });
        match proven.await? {
            None => read.fault(name, stamp, "it holds other bytes than its snapshot says"),
            Some(found) => read.doubts.extend(found.damaged.into_iter().map(|offset| {
                let why = format!("the record at {offset} was damaged before it was sent");
                ObjectFault::new(name, why)
            })),
        }
        Ok(())
    }

    async fn plain(&self, plain: &PlainFile, read: &mut Read) -> Result<(), BackupError> {
        let (mut length, mut is_whole) = (0, true);
        let mut passing = PassingBlocks::new(plain.id, plain.length);
        let mut doubted = passing.is_none().then(|| plain.objects().next()).flatten();
        for object in plain.objects() {
            let Some(bytes) = self.get(object, Kind::Plain, read).await? else {
                is_whole = false;
                continue;
            };
            length += bytes.len() as u64;
            if is_whole && let Some(mut blocks) = passing.take() {
                let passed = tokio::task::spawn_blocking(move || (blocks.pass(&bytes), blocks)).await?;
                doubted = doubted.or((!passed.0).then_some(object));
                passing = Some(passed.1);
            }
        }
        if let Some((name, _)) = doubted.filter(|_| is_whole) {
            read.doubts.push(ObjectFault::new(name, "the body was damaged before it was sent"));
        }
        let last = plain.objects().last().filter(|_| is_whole && length != plain.length);
        if let Some((name, stamp)) = last {
            read.fault(name, stamp, format!("the file has {length} bytes instead of {}", plain.length));
        }
        Ok(())
    }

    /// All pieces; and if they are all whole, the database that they are.
    async fn base(&self, base: &Base, read: &mut Read) -> Result<(), BackupError> {
        let scratch = self.scratch.file("image");
        scratch.remove()?;
        let file = scratch.fs.create_new(&scratch.path)?;
        let mut length = 0;
        for object in base.objects() {
            if self.stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            let Some(bytes) = self.get(object, Kind::Base, read).await? else { continue };
            let (file, at) = (Arc::clone(&file), length);
            length += bytes.len() as u64;
            tokio::task::spawn_blocking(move || file.write_all_at(&bytes, at)).await??;
        }
        drop(file);
        if !read.faults.is_empty() {
            return Ok(());
        }
        let Some((name, stamp)) = base.objects().next() else { return Ok(()) };
        if length != base.length {
            read.fault(name, stamp, format!("the image has {length} bytes instead of {}", base.length));
            return Ok(());
        }
        for why in self.image(base, &scratch.path).await? {
            read.fault(name, stamp, format!("the image of the metadata: {why}"));
        }
        Ok(())
    }

    /// What the database in a file says against itself.
    async fn image(&self, base: &Base, path: &std::path::Path) -> Result<Vec<String>, BackupError> {
        let (path, clock, random) =
            (path.to_owned(), Arc::clone(&self.scratch.clock), Arc::clone(&self.scratch.random));
        let opened = tokio::task::spawn_blocking(move || {
            let settings = SqliteSettings::default();
            SqliteStore::open(&path, OpenMode::Existing, Arc::new(NoBarrier), clock, random, &settings)
        });
        let store = match opened.await? {
            Ok(store) => store,
            Err(error @ (MetaError::Damaged(_) | MetaError::Corrupt(_) | MetaError::Incompatible(_))) => {
                return Ok(vec![error.to_string()]);
            }
            Err(error) => return Err(error.into()),
        };
        let mut told = store.integrity(true, &self.stop).await?;
        let seq = store.last_seq().await?;
        if seq != base.seq {
            told.push(format!("its last record is {seq} instead of {}", base.seq));
        }
        drop(store);
        if self.stop.is_cancelled() { Err(BackupError::Stopped) } else { Ok(told) }
    }
}

impl Read {
    fn took(&mut self, stamp: Stamp) {
        self.objects += 1;
        self.bytes += stamp.bytes;
    }

    fn fault(&mut self, name: ObjectName, stamp: Stamp, why: impl Into<String>) {
        self.faults.push((name, stamp, why.into()));
    }

    /// What was found, or a fault of the object; an error if the bucket is at fault.
    fn keep<T>(
        &mut self,
        name: ObjectName,
        stamp: Stamp,
        found: Result<T, BackupError>,
    ) -> Result<Option<T>, BackupError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) => {
                let fault = ObjectFault::of(error)?;
                self.fault(name, stamp, fault.why);
                Ok(None)
            }
        }
    }
}

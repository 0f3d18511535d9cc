//! Images of the metadata.

use super::Shipper;
use super::plains::Why;
use super::stuck::Stuck;
use crate::backup::container::Kind;
use crate::backup::objects::{self, Content};
use crate::backup::{BASE_PIECE_BYTES, BackupError, Base, ObjectName};
use crate::engine::EngineError;
use crate::meta::Commit;
use crate::sys::DiskFile;
use bytes::Bytes;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

impl Shipper {
    /// Makes an image and ships it with everything that it names, up to its record and beyond.
    pub(super) async fn ship_base(&mut self) -> Result<Base, BackupError> {
        // A record of its own: two images of one record may differ, and their pieces must not mix.
        self.source.meta.commit(Commit::Mark).await?;
        let image = Image { fs: Arc::clone(&self.source.fs), path: self.source.scratch.join("backup-base") };
        image.remove()?;
        let (source, path, stop) = (self.source.clone(), image.path.clone(), self.stop.clone());
        self.phase("copying the metadata", 0);
        let copied = tokio::task::spawn_blocking(move || source.image.copy_to(&path, &mut |_, _| {}, &stop));
        let seq = copied.await??.ok_or(BackupError::Stopped)?;
        let made = self.source.clock.now();
        let file = self.source.fs.open(&image.path)?;
        let length = file.len()?;
        self.phase("metadata", length);
        let mut pieces = Vec::new();
        let mut at = 0;
        for piece in 0.. {
            if self.stop.is_cancelled() {
                return Err(BackupError::Stopped);
            }
            self.session.check().await?;
            let range = at..length.min(at + BASE_PIECE_BYTES);
            let name = ObjectName::Base { epoch: self.session.epoch(), seq, piece };
            let content = FilePiece { file: Arc::clone(&file), range: range.clone() };
            let writing = self.writing();
            let repository = self.session.repository();
            let stamp = objects::put(repository, name, Kind::Base, Arc::new(content), &writing).await?;
            self.sent(range.end - range.start, stamp.bytes);
            pieces.push(stamp);
            at = range.end;
            if at >= length {
                break;
            }
        }
        image.remove()?;
        Ok(Base { epoch: self.session.epoch(), seq, made, length, pieces })
    }

    /// Plain bodies that are in use already when shipping begins: the log does not tell of them.
    pub(super) async fn ship_plains(&mut self) -> Result<(), BackupError> {
        let ids = self.all_plains().await?.into_iter().collect();
        self.phase("bodies stored whole", 0);
        let mut stuck = Stuck::default();
        self.ship_all_plains(ids, Why::InUse, &mut stuck).await?;
        stuck.end()
    }
}

/// The file of an image, which goes when it is dropped.
struct Image {
    fs: Arc<dyn crate::sys::FileSystem>,
    path: PathBuf,
}

impl Image {
    fn remove(&self) -> Result<(), BackupError> {
        match self.fs.remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.remove();
    }
}

struct FilePiece {
    file: Arc<dyn DiskFile>,
    range: Range<u64>,
}

impl Content for FilePiece {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes, EngineError> {
        let len = usize::try_from(range.end - range.start).map_err(|_| EngineError::Range)?;
        Ok(self.file.read_at(self.range.start + range.start, len)?.into())
    }
}

//! Which names lead where.

use super::toss::Toss;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File(usize),
}

/// As memory shows them, and as the device has them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) now: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
}

impl Names {
    pub(super) fn new() -> Self {
        let now = BTreeMap::from([(PathBuf::new(), Node::Directory), ("/".into(), Node::Directory)]);
        Self { durable: now.clone(), now }
    }

    pub(super) fn check_directory(&self, path: &Path) -> io::Result<()> {
        match self.now.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(missing()),
        }
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.now.get(&plain(path)) {
            Some(Node::File(number)) => Ok(*number),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(missing()),
        }
    }

    pub(super) fn inside<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Node)> {
        self.now.iter().filter(move |(name, _)| name.parent() == Some(path))
    }

    pub(super) fn files_below(&self, path: &Path) -> Vec<PathBuf> {
        let files = self.now.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.filter(|(name, _)| name.starts_with(plain(path))).map(|(name, _)| name.clone()).collect()
    }

    /// The files that have a name.
    pub(super) fn files(&self) -> impl Iterator<Item = usize> {
        self.now.values().filter_map(|node| match node {
            Node::File(number) => Some(*number),
            Node::Directory => None,
        })
    }

    pub(super) fn sync(&mut self, path: &Path) {
        let Self { now, durable } = self;
        durable.retain(|name, _| name.parent() != Some(path));
        let inside = now.iter().filter(|(name, _)| name.parent() == Some(path));
        durable.extend(inside.map(|(name, node)| (name.clone(), *node)));
    }

    /// Each name that was not synced is as before or as after. Returns how many are as before.
    pub(super) fn crash(&mut self, toss: &mut Toss) -> u64 {
        let changed: Vec<PathBuf> = self.now.keys().chain(self.durable.keys()).cloned().collect();
        let mut lost = 0;
        for path in changed {
            if self.now.get(&path) == self.durable.get(&path) {
                continue;
            }
            match self.now.get(&path) {
                _ if toss.coin() => lost += 1,
                Some(node) => drop(self.durable.insert(path, *node)),
                None => drop(self.durable.remove(&path)),
            }
        }
        let kept = self.durable.clone();
        let is_reachable = |path: &Path| path.ancestors().all(|above| kept.contains_key(above));
        self.durable.retain(|path, _| is_reachable(path));
        self.now.clone_from(&self.durable);
        lost
    }
}

/// Without `.`, as the disk knows it.
pub(super) fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

pub(super) fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

//! What clients were told, and so what must be there at any moment.

use super::body::{Body, Value};
use crate::types::UploadId;
use std::collections::BTreeMap;

/// What a commit does to what clients see.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// `None`: deleted.
    Set {
        key: u8,
        value: Option<Value>,
    },
    Begin {
        upload: UploadId,
    },
    Part {
        upload: UploadId,
        number: u8,
        body: Body,
    },
    Complete {
        upload: UploadId,
        key: u8,
        value: Value,
    },
    Abort {
        upload: UploadId,
    },
}

#[derive(Debug, Clone)]
struct Event {
    /// Calls to the disk when it began, and when it was acknowledged.
    begun: usize,
    acknowledged: Option<usize>,
    is_refused: bool,
    effect: Effect,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Oracle(Vec<Event>);

/// All that may be there: any one of several where nobody was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed {
    pub(super) keys: BTreeMap<u8, Vec<Option<Value>>>,
    pub(super) uploads: BTreeMap<UploadId, AllowedUpload>,
}

#[derive(Debug, Clone)]
pub(super) struct AllowedUpload {
    pub(super) may_be_there: bool,
    pub(super) may_be_gone: bool,
    pub(super) parts: BTreeMap<u8, Vec<Option<Body>>>,
}

impl Oracle {
    /// Returns what to call it by.
    pub(super) fn begin(&mut self, begun: usize, effect: Effect) -> usize {
        self.0.push(Event { begun, acknowledged: None, is_refused: false, effect });
        self.0.len() - 1
    }

    pub(super) fn acknowledge(&mut self, event: usize, calls: usize) {
        self.0[event].acknowledged = Some(calls);
    }

    /// It left nothing.
    pub(super) fn refuse(&mut self, event: usize) {
        self.0[event].is_refused = true;
    }

    /// What a crash within the call may leave.
    pub(super) fn allowed_at(&self, call: usize) -> Allowed {
        let mut allowed = Allowed::default();
        for event in self.0.iter().filter(|event| event.begun <= call && !event.is_refused) {
            let is_certain = event.acknowledged.is_some_and(|at| at <= call);
            allowed.take(&event.effect, is_certain);
        }
        allowed
    }

    /// Every body that was ever tried.
    pub(super) fn bodies(&self) -> Vec<Body> {
        let mut bodies: Vec<Body> = self.0.iter().flat_map(|event| event.effect.bodies()).collect();
        bodies.sort_unstable();
        bodies.dedup();
        bodies
    }
}

impl Effect {
    fn bodies(&self) -> Vec<Body> {
        match self {
            Self::Set { value, .. } => value.clone().unwrap_or_default(),
            Self::Part { body, .. } => vec![*body],
            Self::Complete { value, .. } => value.clone(),
            Self::Begin { .. } | Self::Abort { .. } => Vec::new(),
        }
    }
}

fn may_be<T>(values: &mut Vec<Option<T>>, value: Option<T>, is_certain: bool) {
    if is_certain {
        values.clear();
    } else if values.is_empty() {
        values.push(None);
    }
    values.push(value);
}

impl Allowed {
    fn take(&mut self, effect: &Effect, is_certain: bool) {
        match effect {
            Effect::Set { key, value } => {
                may_be(self.keys.entry(*key).or_default(), value.clone(), is_certain);
            }
            Effect::Begin { upload } => {
                let (may_be_gone, parts) = (!is_certain, BTreeMap::new());
                self.uploads.insert(*upload, AllowedUpload { may_be_there: true, may_be_gone, parts });
            }
            Effect::Part { upload, number, body } => {
                if let Some(upload) = self.uploads.get_mut(upload) {
                    may_be(upload.parts.entry(*number).or_default(), Some(*body), is_certain);
                }
            }
            Effect::Complete { upload, key, value } => {
                may_be(self.keys.entry(*key).or_default(), Some(value.clone()), is_certain);
                self.end(*upload, is_certain);
            }
            Effect::Abort { upload } => self.end(*upload, is_certain),
        }
    }

    fn end(&mut self, upload: UploadId, is_certain: bool) {
        if let Some(upload) = self.uploads.get_mut(&upload) {
            upload.may_be_gone = true;
            upload.may_be_there &= !is_certain;
        }
    }
}

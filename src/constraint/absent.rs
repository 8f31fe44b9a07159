//! Without the feature `constrained`: there are no constraints.

use super::ConstraintKind;
use crate::model::Model;
use crate::{Error, Result, Status};
use std::sync::Arc;

/// A constraint, of which this build has none.
pub enum Constraint {}

impl Constraint {
    /// Fails: this build has no constraints.
    pub fn new(_: &Model, _: ConstraintKind, _: &str) -> Result<Constraint> {
        let message =
            "this library was built without constrained output: it needs the cargo feature `constrained`, a default";
        Err(Error::new(Status::Unsupported, message))
    }

    pub(crate) fn check(&self, _: &Model) -> Result<()> {
        match *self {}
    }
}

/// A constraint at work, of which there is none.
pub(crate) enum Guide {}

impl Guide {
    pub(crate) fn new(constraint: Arc<Constraint>, _: usize) -> Result<Box<Guide>> {
        match *constraint {}
    }

    pub(crate) fn fork(&self) -> Result<Box<Guide>> {
        match *self {}
    }

    pub(crate) fn shift(&mut self, _: &[u32], _: usize, _: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn begin(&mut self, _: usize) {
        match *self {}
    }

    pub(crate) fn follow(&mut self, _: &[u32]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn forced(&self) -> &[u32] {
        match *self {}
    }

    pub(crate) fn apply(&self, _: &mut [f32]) {
        match *self {}
    }

    pub(crate) fn allows(&self, _: u32) -> bool {
        match *self {}
    }
}

//! The base model of an adapter: its shape, and how either source calls and arranges its tensors.

use std::path::Path;

use rasp::Result;

use super::Naming;
use crate::import::config::Shape;
use crate::import::family::Family;
use crate::import::names::Names;
use crate::import::{bad, gguf, hf, unsupported};

pub(super) struct Base {
    family: &'static Family,
    /// As in the base's own source, and as in the other.
    shapes: [Shape; 2],
    naming: Naming,
    names: &'static Names,
}

impl Base {
    /// Of a folder, its `config.json` is enough.
    pub(super) fn open(path: &Path) -> Result<Base> {
        let (family, names, shape, naming) = if path.is_dir() {
            let (family, names, shape) = hf::shape(path)?;
            (family, names, shape, Naming::HuggingFace)
        } else {
            let (family, names, shape) = gguf::shape(path)?;
            (family, names, shape, Naming::Gguf)
        };
        let mut other = shape.clone();
        // What else is folded is the configuration's, not the source's.
        other.fold.interleaved = match (naming, &family.gguf) {
            (Naming::HuggingFace, Some(gguf)) => gguf.interleaved,
            (Naming::HuggingFace, None) => shape.fold.interleaved,
            (Naming::Gguf, _) => family.traits.interleaved,
        };
        Ok(Base { family, shapes: [shape, other], naming, names })
    }

    /// The shape, with what a source of this naming wants folded.
    pub(super) fn shape(&self, naming: Naming) -> &Shape {
        &self.shapes[usize::from(naming != self.naming)]
    }

    /// Beginnings of names that stand for others there.
    pub(super) fn prefixes(&self, naming: Naming) -> impl Iterator<Item = &'static [(&'static str, &'static str)]> {
        self.all_names(naming).into_iter().map(|names| names.prefixes)
    }

    fn all_names(&self, naming: Naming) -> Vec<&'static Names> {
        match naming {
            _ if naming == self.naming => vec![self.names],
            Naming::HuggingFace => self.family.hf.iter().map(|class| class.names).collect(),
            Naming::Gguf => self.family.gguf.iter().map(|gguf| gguf.names).collect(),
        }
    }

    /// The names of the family's tensors there: those of its classes of which `known` says that most are known.
    pub(super) fn names(&self, naming: Naming, known: impl Fn(&'static Names) -> usize) -> Result<&'static Names> {
        let (all, name) = (self.all_names(naming), self.family.name);
        if all.is_empty() {
            return Err(unsupported(format!(
                "rasp knows no GGUF names of a {name} model's tensors: give the base as GGUF, too"
            )));
        }
        let counted = all.into_iter().rev().map(|names| (known(names), names));
        let most = counted.max_by_key(|(known, _)| *known).filter(|(known, _)| *known > 0);
        most.map(|(_, names)| names).ok_or_else(|| {
            bad(format!("the adapter has no factors of any linear of a {name} model; is the base another?"))
        })
    }
}

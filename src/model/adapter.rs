//! LoRA adapters (arXiv:2106.09685, section 4.1): low ranks beside a model's own linears, `y += s·A·(B·x)`.
//!
//! An adapter is a file of its own, made for models of one shape, whatever their weights are stored as. Its factors are
//! f16: they are few, and a token reads them whole. Of the two, `B` takes the input and `A` gives the outputs, as in a
//! model's own low rank; the paper and PEFT name them the other way round.

use super::group::{Linear, LinearKind, LowRank, LowRankFactors};
use super::{FloatType, Model, ModelSizes};
use crate::error::bad_file;
use crate::format::{Bytes, Config, File, View, key, open_file};
use crate::log::LogLevel;
use crate::{Error, Result, Status};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The largest rank of a linear in an adapter: those in use have 4 to 256.
pub const MAX_ADAPTER_RANK: usize = 1024;

/// What an adapter's file says of the models it is for; `__metadata__["rasp.adapter"]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// What the adapter is called.
    pub name: String,
    /// The family of the models.
    pub architecture: String,
    /// Their sizes.
    #[serde(flatten)]
    pub sizes: ModelSizes,
}

/// The name of a linear's factor in an adapter's file: `b` takes the input, `a` gives the outputs.
pub fn adapter_tensor(layer: usize, kind: LinearKind, factor: char) -> String {
    format!("{}.low_rank.{factor}", kind.name_in(layer))
}

/// A loaded adapter. Immutable, shared by any number of sessions.
pub struct Adapter {
    config: AdapterConfig,
    /// One a linear of the model, in the order of [`Linear::index`].
    low_ranks: Vec<Option<LowRank>>,
    /// Those of an `up` by outputs, a layer each; empty where the model has none.
    ups: Vec<Option<LowRank>>,
}

impl Adapter {
    /// Maps an adapter's file and checks it, for a model. All of it is read: a file that is damaged, or has a number
    /// that is none, is refused.
    pub fn load(model: &Model, path: &Path) -> Result<Arc<Adapter>> {
        let bytes = open_file(path).and_then(|file| Bytes::map_part(&file, 0, 0));
        bytes.and_then(|bytes| Adapter::from_bytes(model, bytes)).map_err(|e| e.context(path.display()))
    }

    /// The same for `length` bytes of an open file from `offset` on, as [`Model::load_part`].
    pub fn load_part(model: &Model, file: &std::fs::File, offset: u64, length: u64) -> Result<Arc<Adapter>> {
        Adapter::from_bytes(model, Bytes::map_part(file, offset, length)?)
    }

    /// Checks the bytes of an adapter's file, which are used in place.
    pub fn from_bytes(model: &Model, bytes: Arc<Bytes>) -> Result<Arc<Adapter>> {
        let adapter = Adapter::build(model.config(), bytes)?;
        let (name, linears, bytes) = (adapter.name(), adapter.linears(), adapter.bytes());
        model.tell(
            LogLevel::Info,
            format_args!("adapter {name}: {linears} linears, rank {}, {bytes} bytes a token", adapter.rank()),
        );
        Ok(Arc::new(adapter))
    }

    fn build(model: &Config, bytes: Arc<Bytes>) -> Result<Adapter> {
        let file = File::open_adapter(bytes)?;
        let config: AdapterConfig = file.json(key::ADAPTER)?;
        check(&config, model)?;
        file.verify()?;
        let up: &[LinearKind] = if model.block.up_by_outputs { &[LinearKind::Up] } else { &[] };
        let (mut low_ranks, mut ups) = (Vec::new(), Vec::new());
        for layer in 0..model.num_layers {
            for (kinds, list) in [(model.linears(), &mut low_ranks), (up, &mut ups)] {
                list.try_reserve(kinds.len()).map_err(|_| Error::out_of_memory("an adapter"))?;
                for &kind in kinds {
                    list.push(low_rank(&file, model, layer, kind)?);
                }
            }
        }
        let tensors = 2 * low_ranks.iter().chain(&ups).flatten().count();
        if file.tensors().count() != tensors {
            let kinds = || model.linears().iter().chain(up);
            let known = |name: &str| {
                let mut all = (0..model.num_layers).flat_map(|layer| kinds().map(move |&kind| (layer, kind)));
                all.any(|(layer, kind)| ['a', 'b'].iter().any(|&f| adapter_tensor(layer, kind, f) == name))
            };
            let other = file.tensors().map(|(name, ..)| name).filter(|name| !known(name));
            let name = other.min().unwrap_or("of a linear without its fellow");
            return Err(bad_file(format_args!("tensor {name} is no part of an adapter as this library knows it")));
        }
        if tensors == 0 {
            return Err(bad_file("the adapter has no factors"));
        }
        Ok(Adapter { config, low_ranks, ups })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The largest rank of a linear.
    pub fn rank(&self) -> usize {
        self.factors().map(|low_rank| low_rank.rank).max().unwrap_or(0)
    }

    /// Linears that it changes.
    pub fn linears(&self) -> usize {
        self.factors().count()
    }

    /// Bytes of its factors, which every token reads.
    pub fn bytes(&self) -> u64 {
        self.factors().map(|low_rank| low_rank.bytes() as u64).sum()
    }

    fn factors(&self) -> impl Iterator<Item = &LowRank> {
        self.low_ranks.iter().chain(&self.ups).flatten()
    }

    /// What it adds to an `up` by outputs, if anything, by its gate.
    pub(crate) fn up(&self, gate: &Linear) -> Option<&LowRank> {
        let linears = self.low_ranks.len().checked_div(self.ups.len())?;
        self.ups.get(gate.index() / linears)?.as_ref()
    }

    /// What it adds to a linear, if anything.
    pub(crate) fn low_rank(&self, linear: &Linear) -> Option<&LowRank> {
        self.low_ranks.get(linear.index())?.as_ref()
    }

    /// Fails unless it is for models like this one.
    pub(crate) fn check(&self, model: &Model) -> Result<()> {
        check(&self.config, model.config())?;
        if self.ups.is_empty() == model.config().block.up_by_outputs {
            let message = format_args!(
                "adapter {} was loaded for a file that stores up the other way round than that of {} does; load it for \
                 this one",
                self.config.name,
                model.config().name
            );
            return Err(Error::new(Status::InvalidArgument, message));
        }
        Ok(())
    }
}

fn check(adapter: &AdapterConfig, model: &Config) -> Result<()> {
    match adapter.sizes.difference(&ModelSizes::of(model)) {
        None => Ok(()),
        Some((what, its, models)) => {
            let AdapterConfig { name, architecture, .. } = adapter;
            let message = format_args!(
                "adapter {name} is for a {architecture} model whose {what} is {its}; that of {} is {models}",
                model.name
            );
            Err(Error::new(Status::InvalidArgument, message))
        }
    }
}

/// What a file has for a linear.
fn low_rank(file: &File, model: &Config, layer: usize, kind: LinearKind) -> Result<Option<LowRank>> {
    let (b, a) = (adapter_tensor(layer, kind, 'b'), adapter_tensor(layer, kind, 'a'));
    if !file.contains(&b) && !file.contains(&a) {
        return Ok(None);
    }
    let shape = model.linear_shape(kind);
    let rank = file.describe(&b)?.1.first().copied().unwrap_or(0);
    if rank == 0 || rank > MAX_ADAPTER_RANK {
        return Err(bad_file(format_args!("tensor {b}: a rank of {rank}; 1 to {MAX_ADAPTER_RANK} are known")));
    }
    let view = |name: &str, width: usize| -> Result<View<u16>> {
        let view = file.view::<u16>(name, FloatType::F16.dtype(), &[rank, width])?;
        super::load::finite(name, FloatType::F16, &[rank, width], &view)?;
        Ok(view)
    };
    let (b, a) = (view(&b, shape.inputs)?, view(&a, shape.outputs)?);
    Ok(Some(LowRank { rank, factors: LowRankFactors::Float { float: FloatType::F16, b, a } }))
}

//! Writing all tensors of a file: weights transposed, rounded and grouped; low-rank factors split off; scores.

mod columns;
mod linear;
mod overwrite;
mod rows;

use crate::grid::GROUP;
use crate::import::Checkpoint;
use crate::plan::{LinearPlan, Plan};
use crate::progress::Progress;
use crate::scoring::Scores;
use crate::tokenizer::Compiled;
use columns::{SideBySide, transposed};
pub(crate) use linear::StoredWeights;
use linear::{StoredFactors, StoredLinear};
pub(crate) use overwrite::replaced;
use rasp::format::{Config, Dtype, LinearShape, ScoreKind, TensorSpec, Writer, channel_rows};
use rasp::model::{GroupKind, Role, WeightType, tensors};
use rasp::{Error, Result, Status};

/// Everything that goes into a file besides the thresholds.
pub(crate) struct StagedModel<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) config: &'a Config,
    pub(crate) tokenizer: &'a Compiled,
    pub(crate) plan: &'a Plan,
    /// Scores that are known already, in the order of the plan's linears
    pub(crate) scores: Option<&'a Scores>,
    pub(crate) weight_type: WeightType,
}

/// Fails unless a model of this shape can be stored in weights of this type: whole numbers come in groups.
pub(crate) fn check_shapes(config: &Config, weight_type: WeightType) -> Result<()> {
    if weight_type.quant().is_none() {
        return Ok(());
    }
    let unit = weight_type.block_unit();
    for &kind in config.linears() {
        let LinearShape { inputs, outputs } = config.linear_shape(kind);
        for (side, channels) in [("in", inputs), ("out", outputs)] {
            if !channels.is_multiple_of(unit) {
                return Err(Error::new(
                    Status::Unsupported,
                    format!(
                        "{}: {channels} channels {side} are no multiple of {unit}, as {} needs; pack with --dtype bf16",
                        kind.name(),
                        weight_type.name()
                    ),
                ));
            }
        }
    }
    Ok(())
}

impl StagedModel<'_> {
    /// The linears of one group of one block, in the order of their columns.
    fn group(&self, layer: usize, kind: GroupKind) -> impl Iterator<Item = &LinearPlan> {
        let kinds = self.config.group_linears(kind);
        let first = self.config.linear_index(layer, kinds[0]);
        self.plan.linears[first..first + kinds.len()].iter()
    }

    /// The model's tensors that the checkpoint has, in the order in which the file has them.
    fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        tensors(self.config).filter(|&role| !role.is_optional() || self.checkpoint.has(role))
    }

    /// All tensors, in the order in which [`write`](StagedModel::write) writes them.
    pub(crate) fn tensors(&self) -> Vec<TensorSpec> {
        let mut specs: Vec<TensorSpec> = self.tokenizer.tensors.iter().map(|(spec, _)| spec.clone()).collect();
        for role in self.roles() {
            match role {
                Role::Embedding | Role::LmHead | Role::UpRows(_) => specs.extend(self.row_tensors(role)),
                Role::Matrix(layer, kind) => specs.extend(self.group_tensors(layer, kind)),
                _ => specs.push(TensorSpec::new(role.name(self.config), Dtype::F32, &role.shape(self.config))),
            }
        }
        specs
    }

    /// Scores and factors of a group's linears, and the tensors of its matrix.
    fn group_tensors(&self, layer: usize, kind: GroupKind) -> Vec<TensorSpec> {
        let float = self.weight_type.float().dtype();
        let mut specs = Vec::new();
        let mut add = |name: String, dtype: Dtype, shape: &[usize]| specs.push(TensorSpec::new(name, dtype, shape));
        for l in self.group(layer, kind) {
            if self.plan.score != ScoreKind::Magnitude {
                add(format!("{}.score", l.name()), Dtype::F32, &[l.inputs]);
            }
            let (b, a) = (format!("{}.low_rank.b", l.name()), format!("{}.low_rank.a", l.name()));
            if l.rank > 0 && self.weight_type.quant().is_some() {
                let ranks = self.weight_type.low_rank_rows(l.rank);
                add(b.clone(), Dtype::I8, &[l.rank, l.inputs]);
                add(format!("{b}.scale"), Dtype::F16, &[l.rank, l.inputs / GROUP]);
                add(a.clone(), Dtype::I8, &[ranks, l.outputs]);
                add(format!("{a}.scale"), Dtype::F16, &[ranks / GROUP, l.outputs]);
            } else if l.rank > 0 {
                add(b, float, &[l.rank, l.inputs]);
                add(a, float, &[l.rank, l.outputs]);
            }
        }
        let name = Role::Matrix(layer, kind).name(self.config);
        let LinearShape { inputs, outputs: width } = self.config.group_shape(kind);
        let packed = self.weight_type.quant().map_or(width, |quant| quant.row_bytes(width));
        add(name.clone(), self.weight_type.dtype(), &[inputs, packed]);
        for (part, dtype) in self.weight_type.shared() {
            add(format!("{name}.{part}"), dtype, &[inputs / self.weight_type.block_unit(), width]);
        }
        specs
    }

    /// Writes them all.
    pub(crate) fn write(&self, writer: &mut Writer, progress: &mut dyn Progress) -> Result<()> {
        for (spec, bytes) in &self.tokenizer.tensors {
            writer.tensor(&spec.name, bytes)?;
        }
        progress.begin("writing weights", self.config.num_layers as u64 + 1);
        for role in self.roles() {
            match role {
                Role::Embedding | Role::LmHead | Role::UpRows(_) => self.write_rows(writer, role)?,
                Role::Matrix(layer, kind) => {
                    self.write_group(writer, layer, kind)?;
                    if kind == GroupKind::Down {
                        progress.advance(1);
                    }
                }
                _ => {
                    let name = role.name(self.config);
                    let missing = || Error::new(Status::Internal, format!("the checkpoint has no {name}"));
                    let values = self.checkpoint.vector(role)?.ok_or_else(missing)?;
                    writer.tensor(&name, &f32_bytes(&values))?;
                }
            }
        }
        progress.advance(1);
        progress.end();
        Ok(())
    }

    /// One group: scores and factors of its linears, then their weights side by side, input-channel-major.
    fn write_group(&self, writer: &mut Writer, layer: usize, kind: GroupKind) -> Result<()> {
        let inputs = self.config.group_shape(kind).inputs;
        let mut matrices = Vec::new();
        for plan in self.group(layer, kind) {
            let name = plan.name();
            let StoredLinear { weights, norms, factors } = self.linear(layer, plan)?;
            if self.plan.score != ScoreKind::Magnitude {
                let known = self.scores.map(|scores| &scores[self.config.linear_index(layer, plan.kind)]);
                writer.tensor(&format!("{name}.score"), &f32_bytes(known.unwrap_or(&norms)))?;
            }
            if let Some(StoredFactors { b, a, a_cols }) = factors {
                let name_b = format!("{name}.low_rank.b");
                match b {
                    StoredWeights::Float(bits) => writer.tensor(&name_b, &u16_bytes(&bits))?,
                    StoredWeights::Quantized(grid) => {
                        writer.tensor(&name_b, &grid.numbers)?;
                        writer.tensor(&format!("{name_b}.scale"), &u16_bytes(&grid.scale))?;
                    }
                }
                // `A` is [out, r]; its transpose is stored.
                let name_a = format!("{name}.low_rank.a");
                match a {
                    StoredWeights::Float(bits) => {
                        writer.tensor(&name_a, &u16_bytes(&transposed(&bits, plan.outputs, a_cols)))?;
                    }
                    StoredWeights::Quantized(grid) => {
                        writer.tensor(&name_a, &transposed(&grid.numbers, plan.outputs, a_cols))?;
                        let scale = transposed(&grid.scale, plan.outputs, a_cols / GROUP);
                        writer.tensor(&format!("{name_a}.scale"), &u16_bytes(&scale))?;
                    }
                }
            }
            matrices.push(weights);
        }
        let name = Role::Matrix(layer, kind).name(self.config);
        let tensors = matrix_tensors(&name, self.weight_type).into_iter();
        for (name, bytes) in tensors.zip(matrix_bytes(matrices, inputs, self.weight_type)) {
            writer.tensor(&name, &bytes)?;
        }
        Ok(())
    }

    /// Rounds what is not quantized. The checkpoint has vouched that every number is finite.
    fn round(&self, name: &str, x: &[f32]) -> Result<Vec<u16>> {
        crate::round::round(name, x, self.weight_type.float())
    }

    /// The numbers as the file will hold them, if it holds them in floating point.
    fn rounded(&self, name: &str, x: &[f32]) -> Result<Vec<f32>> {
        Ok(crate::round::widen(&self.round(name, x)?, self.weight_type.float()))
    }
}

/// The tensors that hold a group's matrix.
pub(crate) fn matrix_tensors(group: &str, weight_type: WeightType) -> Vec<String> {
    let parts = weight_type.shared().map(|(part, _)| format!("{group}.{part}"));
    std::iter::once(group.to_string()).chain(parts).collect()
}

/// What is in them: linears of `inputs` inputs side by side, input-channel-major, channels where the file has them.
pub(crate) fn matrix_bytes(linears: Vec<StoredWeights>, inputs: usize, weight_type: WeightType) -> Vec<Vec<u8>> {
    let width = linears.iter().map(StoredWeights::len).sum::<usize>() / inputs;
    let groups = inputs / weight_type.block_unit();
    // Bits of floating point, or whole numbers with their scales and minima.
    let (mut floats, mut numbers) = (SideBySide::new(width), SideBySide::new(width));
    let (mut scale, mut min) = (SideBySide::new(width), SideBySide::new(width));
    for weights in linears {
        match weights {
            StoredWeights::Float(bits) => floats.add(&bits, inputs),
            StoredWeights::Quantized(grid) => {
                numbers.add(&grid.numbers, inputs);
                scale.add(&grid.scale, groups);
                min.add(&grid.min, groups);
            }
        }
    }
    let places = channel_rows(inputs, weight_type.block_unit());
    let Some(quant) = weight_type.quant() else { return vec![u16_bytes(&floats.into_placed_rows(places))] };
    let numbers = numbers.into_placed_rows(places);
    let numbers = quant.format().packing.pack(&numbers);
    let shared = weight_type.shared().zip([scale, min]).map(|(_, shared)| u16_bytes(&shared.into_rows()));
    std::iter::once(numbers).chain(shared).collect()
}

pub(crate) fn f32_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn u16_bytes(x: &[u16]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasp::model::FloatType;

    #[test]
    fn whole_numbers_need_channels_by_32() {
        let config = Config::example();
        let check = |config: &Config| {
            assert!(FloatType::ALL.into_iter().all(|t| check_shapes(config, WeightType::Float(t)).is_ok()));
            check_shapes(config, WeightType::Q4)
        };
        assert!(check(&config).is_ok());
        for (changed, words) in [
            (Config { hidden_size: 72, ..config.clone() }, "q: 72 channels in"),
            (Config { num_kv_heads: 1, ..config.clone() }, "k: 16 channels out"),
            (Config { intermediate_size: 80, ..config.clone() }, "gate: 80 channels out"),
        ] {
            let error = check(&changed).unwrap_err();
            assert_eq!(error.status(), Status::Unsupported);
            for words in [words, "32", "q4", "--dtype bf16"] {
                assert!(error.message().contains(words), "{error} lacks {words}");
            }
        }
    }
}

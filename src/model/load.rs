//! From a file's bytes to a [`Model`]: every shape, dtype and count is checked here, once.

use super::block::{NormKind, layer as layer_ops};
use super::group::{Group, GroupKind, Linear, LinearKind, LowRank, LowRankFactors, Stored, UpRows};
use super::inventory::{Affine, Role};
use super::rows::{Rows, StoredRows};
use super::shortlist::{MAX_COLD, MAX_HOT, Shortlist, cold_columns};
use super::{FloatType, Layer, Model, Norm, WeightType};
use crate::format::{
    Bytes, Config, Dtype, File, LinearShape, Recipe, ScoreKind, TENSOR_ALIGNMENT, View, key, open_file,
};
use crate::log::{Log, LogLevel};
use crate::text::{ChatTemplate, Tokenizer};
use crate::{Error, Result, Status};
use rasp_kernels::{Isa, Kernels, QUANT_GROUP, SCREEN_HOT, ScreenRows};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// How a model is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Reads the whole file: fails if a checksum is not that of its bytes, or a weight is a NaN or infinity. The packer
    /// writes none, so this is for files that may have been damaged since. A file from before there were checksums is
    /// searched for such weights alone, and the log says so.
    pub verify: bool,
    /// Reads the whole file at once and keeps it in memory: no token waits for the disk, and other programs cannot push
    /// the weights out. For mapped files, where the system allows as much
    /// ([`Status::OutOfMemory`] names the limit otherwise).
    pub lock: bool,
    /// Reads the whole file into memory of the process's own, in pages of 2 MB where the system has some. It costs the
    /// file's size in memory, which no other process shares; scattered rows are then read faster where a processor
    /// looks addresses up slowly (`rasp bench --large-pages` measures it). For files, not for bytes of the host's
    /// ([`Status::Unsupported`]).
    pub large_pages: bool,
    /// Computes with this instruction set. `None`: what `RASP_ISA` names (`scalar`, `avx2`, `avx_vnni`, `avx512`,
    /// `avx512_vnni`, `neon`, `neon_dotprod`, `neon_i8mm`), else the best
    /// the processor has.
    pub isa: Option<Isa>,
    /// Hears of what is found and chosen, and of sessions that come and go. Nothing is printed either way.
    pub log: Option<Log>,
}

impl Model {
    /// Maps a `.rasp` file and checks it. Weights are read from disk as they are first used.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Arc<Model>> {
        let build = |file| Model::build(part(&file, 0, 0, options)?, options);
        told(options, open_file(path).and_then(build).map_err(|e| e.context(path.display())))
    }

    /// The same for `length` bytes of an open file from `offset` on, to its end if `length` is 0: a model inside an
    /// archive, not compressed. The file may be closed afterwards. The offset must be a multiple of 4; 64 is best.
    pub fn load_part(file: &std::fs::File, offset: u64, length: u64, options: &LoadOptions) -> Result<Arc<Model>> {
        told(options, part(file, offset, length, options).and_then(|bytes| Model::build(bytes, options)))
    }

    /// Checks the bytes of a `.rasp` file and makes a model that uses them in place.
    pub fn from_bytes(bytes: Arc<Bytes>, options: &LoadOptions) -> Result<Arc<Model>> {
        if options.large_pages {
            let message = "large pages are for models in files: this one's bytes stay where the host has them";
            return told(options, Err(Error::new(Status::Unsupported, message)));
        }
        told(options, Model::build(bytes, options))
    }

    fn build(bytes: Arc<Bytes>, options: &LoadOptions) -> Result<Arc<Model>> {
        let file = File::open(bytes)?;
        if options.verify && !file.verify()? {
            let message = format_args!("no checksums in the file: it was packed before there were any");
            options.log.inspect(|log| log.tell(LogLevel::Warning, message));
        }
        let config = Config::parse(file.needed(key::CONFIG)?)?;
        config.validate()?;
        let recipe: Recipe = file.json(key::RECIPE)?;
        recipe.validate()?;
        let kernels = choose_kernels(options.isa)?;
        let weight_type = WeightType::of(&file)?;
        let loader = Loader { file: &file, config: &config, recipe: &recipe, weight_type, verify: options.verify };
        loader.check_dimensions()?;
        let embed_tokens = loader.rows(Role::Embedding)?;
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(loader.rows(Role::LmHead)?),
        };
        let shortlist = match file.contains("head_screen") {
            true => Some(loader.shortlist()?),
            false => None,
        };
        let positions = match config.block.positions {
            true => Some(loader.vector(Role::Positions)?),
            false => None,
        };
        let lm_head_bias = loader.optional(Role::LmHeadBias)?;
        if shortlist.is_some() && lm_head_bias.is_some() {
            let message = "tensors head_screen and lm_head.bias: the first bounds products of the lm_head's rows alone, and \
                           would leave out tokens that their biases make the likeliest; pack the model again with \
                           --no-screen";
            return Err(Error::new(Status::BadFile, message));
        }
        let final_norm = loader.norm(config.block.norm, Role::FinalNorm)?;
        let ropes = (0..config.block.ropes()).map(|n| loader.vector(Role::Rope(n))).collect::<Result<Vec<_>>>()?;
        let layers = (0..config.num_layers).map(|n| loader.layer(n)).collect::<Result<Vec<_>>>()?;

        let tokenizer = Tokenizer::open(&file)?;
        if tokenizer.vocab_size() != config.vocab_size {
            return Err(Error::new(
                Status::BadFile,
                format!("the tokenizer has {} tokens, the model {}", tokenizer.vocab_size(), config.vocab_size),
            ));
        }
        let chat_template = match file.metadata(key::CHAT_TEMPLATE) {
            Some(template) => Some(ChatTemplate::new(template, &tokenizer)?),
            None => None,
        };
        let bytes = file.bytes().clone();
        // Last, so that a file that is refused is not read first.
        if options.lock {
            bytes.lock()?;
        }
        Ok(Arc::new(Model {
            config,
            recipe,
            weight_type,
            kernels,
            bytes,
            tokenizer: Arc::new(tokenizer),
            chat_template,
            embed_tokens,
            lm_head,
            shortlist,
            positions,
            lm_head_bias,
            final_norm,
            ropes,
            layers,
            fingerprint: OnceLock::new(),
            log: options.log,
            #[cfg(feature = "constrained")]
            constraint_vocabulary: Default::default(),
        }))
    }
}

/// Tells the log what came of a load.
fn told(options: &LoadOptions, outcome: Result<Arc<Model>>) -> Result<Arc<Model>> {
    let Some(log) = options.log else { return outcome };
    match &outcome {
        Err(error) => log.tell(LogLevel::Error, format_args!("{}", error.message())),
        Ok(model) => {
            let (config, isa, best) = (&model.config, model.isa().name(), Kernels::best().isa().name());
            let Config { name, architecture, num_layers, .. } = config;
            let (weights, size) = (model.weight_type.name(), model.bytes.len());
            log.tell(
                LogLevel::Info,
                format_args!(
                    "{name}: {architecture}, {num_layers} layers of {weights}, {size} bytes, computes with {isa}"
                ),
            );
            if isa != best {
                log.tell(LogLevel::Warning, format_args!("computes with {isa}, though this processor has {best}"));
            }
            if !model.bytes.as_ptr().addr().is_multiple_of(TENSOR_ALIGNMENT) {
                let message = format_args!(
                    "the model does not start at a multiple of {TENSOR_ALIGNMENT}: rows of weights \
                                            straddle cache lines, and are read a little slower"
                );
                log.tell(LogLevel::Warning, message);
            }
            if options.lock {
                log.tell(LogLevel::Info, format_args!("{size} bytes are locked in memory"));
            } else if model.bytes.is_mapped() {
                log.tell(LogLevel::Info, format_args!("weights are read from disk as they are first used"));
            } else if options.large_pages {
                log.tell(LogLevel::Info, format_args!("{size} bytes were read into memory"));
            }
            if model.shortlist.is_none() {
                log.tell(
                    LogLevel::Info,
                    format_args!("the file has no shortlist of its lm_head: greedy tokens read it whole"),
                );
            }
            if model.max_sparsity() == 0.0 {
                log.tell(LogLevel::Info, format_args!("the file is dense: it has no sparsity levels"));
            }
        }
    }
    outcome
}

/// The bytes of a model in a file, mapped or read.
fn part(file: &std::fs::File, offset: u64, length: u64, options: &LoadOptions) -> Result<Arc<Bytes>> {
    let mapped = Bytes::map_part(file, offset, length)?;
    if !options.large_pages {
        return Ok(mapped);
    }
    // First, so that what is no model is not read.
    File::open(mapped)?;
    Bytes::read_part(file, offset, length)
}

fn choose_kernels(isa: Option<Isa>) -> Result<Kernels> {
    let isa = match (isa, std::env::var_os("RASP_ISA")) {
        (Some(isa), _) => isa,
        (None, None) => return Ok(Kernels::best()),
        (None, Some(name)) => name.to_str().and_then(Isa::parse).ok_or_else(|| {
            Error::new(Status::InvalidArgument, format!("RASP_ISA={name:?} is no instruction set rasp knows"))
        })?,
    };
    Kernels::for_isa(isa)
        .ok_or_else(|| Error::new(Status::Unsupported, format!("this processor has no {}", isa.name())))
}

struct Loader<'a> {
    file: &'a File,
    config: &'a Config,
    recipe: &'a Recipe,
    weight_type: WeightType,
    verify: bool,
}

impl Loader<'_> {
    /// Whole numbers come in groups of 32 channels and 32 outputs.
    fn check_dimensions(&self) -> Result<()> {
        if self.weight_type.quant().is_none() {
            return Ok(());
        }
        for &kind in self.config.linears() {
            let LinearShape { inputs, outputs } = self.config.linear_shape(kind);
            if !inputs.is_multiple_of(QUANT_GROUP) || !outputs.is_multiple_of(QUANT_GROUP) {
                let (kind, name) = (kind.name(), self.weight_type.name());
                let message =
                    format!("{kind} is {outputs} by {inputs}, but weights are {name}: multiples of {QUANT_GROUP}");
                return Err(Error::new(Status::BadFile, message));
            }
        }
        Ok(())
    }

    /// A tensor of f32, all of them finite.
    fn vector(&self, role: Role) -> Result<View<f32>> {
        self.file.finite(&role.name(self.config), &role.shape(self.config))
    }

    /// The same if it is there.
    fn optional(&self, role: Role) -> Result<Option<View<f32>>> {
        if self.file.contains(&role.name(self.config)) { self.vector(role).map(Some) } else { Ok(None) }
    }

    fn norm(&self, kind: NormKind, of: impl Fn(Affine) -> Role) -> Result<Norm> {
        let bias = match kind {
            NormKind::Rms => None,
            NormKind::Layer => self.optional(of(Affine::Bias))?,
        };
        Ok(Norm { kind, gain: self.vector(of(Affine::Gain))?, bias, eps: self.config.rms_norm_eps })
    }

    /// The embedding, the head, or an `up` by outputs.
    fn rows(&self, role: Role) -> Result<Rows> {
        let (name, shape) = (&role.name(self.config), role.shape(self.config));
        let (rows, cols) = (shape[0], shape[1]);
        let stored = if self.weight_type.quant().is_none() {
            let float = self.weight_type.float();
            StoredRows::Float(float, self.floats(name, float, &shape)?)
        } else {
            let data = self.file.view(name, Dtype::I8, &shape)?;
            StoredRows::Quantized { data, scale: self.scales(&format!("{name}.scale"), &[rows, cols / QUANT_GROUP])? }
        };
        Ok(Rows { rows, cols, stored })
    }

    /// The `up` of a layer that has it by outputs.
    fn up(&self, layer: usize) -> Result<UpRows> {
        let recipe = self.recipe.linears.get(&LinearKind::Up.name_in(layer));
        let kept = recipe.map(|recipe| recipe.kept.clone()).unwrap_or_else(|| vec![1.0; self.recipe.sparsity.len()]);
        Ok(UpRows { rows: self.rows(Role::UpRows(layer))?, bias: self.optional(Role::UpBias(layer))?, kept })
    }

    /// A group's matrix.
    fn stored(&self, name: &str, input: usize, output: usize) -> Result<Stored> {
        let Some(quant) = self.weight_type.quant() else {
            let float = self.weight_type.float();
            return Ok(Stored::Float(float, self.floats(name, float, &[input, output])?));
        };
        let data = self.file.view(name, self.weight_type.dtype(), &[input, quant.row_bytes(output)])?;
        let shape = [input / QUANT_GROUP, output];
        let mut shared =
            self.weight_type.shared().map(|(part, dtype)| self.shared(&format!("{name}.{part}"), dtype, &shape));
        let scale = shared.next().ok_or_else(|| Error::new(Status::Internal, "a format without scales"))??;
        let min = shared.next().transpose()?;
        Ok(Stored::Quantized { quant, data, scale, min })
    }

    /// What a group's matrix shares. Whatever is no f16 is finite, whatever its bits.
    fn shared(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<View<u16>> {
        if dtype == Dtype::F16 { self.scales(name, shape) } else { self.file.view(name, dtype, shape) }
    }

    /// Scales or minima, all of them finite: they are few, and one that is not spoils 32 weights.
    fn scales(&self, name: &str, shape: &[usize]) -> Result<View<u16>> {
        let view = self.file.view(name, Dtype::F16, shape)?;
        finite(name, FloatType::F16, shape, &view)?;
        Ok(view)
    }

    fn shortlist(&self) -> Result<Shortlist> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let bad = |message: String| Err(Error::new(Status::BadFile, format!("tensor head_screen.hot {message}")));
        let &[hot] = self.file.describe("head_screen.hot")?.1 else { return bad("is no list".into()) };
        let cold = cold_columns(hidden, hot);
        if hot > hidden.min(MAX_HOT) || !hot.is_multiple_of(SCREEN_HOT) || cold > MAX_COLD {
            let range = format!("a multiple of {SCREEN_HOT} up to {MAX_HOT} may be hot, {MAX_COLD} not");
            return bad(format!("has {hot} columns of {hidden}; {range}"));
        }
        let listed = self.file.view::<u32>("head_screen.hot", Dtype::U32, &[hot])?;
        let mut is_hot = vec![false; hidden];
        for (at, &column) in listed.iter().enumerate() {
            match is_hot.get_mut(column as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return bad(format!("element {at}: {column} is listed twice, or no column of {hidden}")),
            }
        }
        let others = (0..hidden as u32).filter(|&column| !is_hot[column as usize]);
        Ok(Shortlist {
            data: self.file.view("head_screen", Dtype::U8, &[vocab, ScreenRows::row_bytes(hot, cold)])?,
            scale: self.file.finite("head_screen.scale", &[vocab, 2])?,
            error: self.file.finite("head_screen.error", &[vocab])?,
            norm: self.file.finite("head_screen.norm", &[vocab])?,
            columns: listed.iter().copied().chain(others).collect(),
            hot,
        })
    }

    fn layer(&self, n: usize) -> Result<Layer> {
        let block = &self.config.block;
        let norm = |id| Ok((id, self.norm(block.norm, |affine| Role::Norm(n, id, affine))?));
        let of_heads = |kind: NormKind, linear| self.norm(kind, |affine| Role::QkNorm(n, linear, affine));
        let qk_norm = match block.qk_norm {
            None => None,
            Some(norm) => Some([of_heads(norm.kind, LinearKind::Q)?, of_heads(norm.kind, LinearKind::K)?]),
        };
        let [qkv, o, gate_up, down] = GroupKind::ALL.map(|kind| self.group(n, kind));
        Ok(Layer {
            ops: layer_ops(self.config, n),
            norms: block.norms().map(norm).collect::<Result<_>>()?,
            qk_norm,
            groups: [qkv?, o?, gate_up?, down?],
        })
    }

    fn group(&self, layer: usize, kind: GroupKind) -> Result<Group> {
        let LinearShape { inputs: input, outputs: output } = self.config.group_shape(kind);
        let kinds = self.config.group_linears(kind);
        let mut linears: Vec<Linear> = Vec::with_capacity(kinds.len());
        let mut start = 0;
        for &kind in kinds {
            let outputs = self.config.linear_shape(kind).outputs;
            let mut linear = self.linear(layer, kind, input, start..start + outputs)?;
            linear.score_of_previous = linears.last().is_some_and(|previous| previous.score() == linear.score());
            linears.push(linear);
            start += outputs;
        }
        let bias = self.optional(Role::Bias(layer, kind))?;
        let stored = self.stored(&Role::Matrix(layer, kind).name(self.config), input, output)?;
        let zero_inputs = kind == GroupKind::Down && self.config.block.activation(layer).has_zeros();
        let by_outputs = kind == GroupKind::GateUp && self.config.block.up_by_outputs;
        let up = if by_outputs { Some(self.up(layer)?) } else { None };
        Ok(Group { kind, weight_type: self.weight_type, input, output, stored, bias, linears, zero_inputs, up })
    }

    fn linear(&self, layer: usize, kind: LinearKind, input: usize, columns: std::ops::Range<usize>) -> Result<Linear> {
        let name = kind.name_in(layer);
        let recipe = self.recipe.linears.get(&name);
        let recipe = recipe.ok_or_else(|| Error::new(Status::BadFile, format!("recipe: {name} is missing")))?;
        let score = match self.recipe.score {
            ScoreKind::Magnitude => None,
            ScoreKind::WeightNorm | ScoreKind::ResidualNorm | ScoreKind::Fisher => {
                Some(self.file.finite(&format!("{name}.score"), &[input])?)
            }
        };
        let rank = recipe.rank;
        if rank > input.min(columns.len()) {
            return Err(Error::new(
                Status::BadFile,
                format!("recipe: {name} has rank {rank}, but is {} by {input}", columns.len()),
            ));
        }
        let low_rank = match rank {
            0 => None,
            rank => Some(LowRank { rank, factors: self.factors(&name, rank, input, columns.len())? }),
        };
        let index = self.config.linear_index(layer, kind);
        Ok(Linear {
            kind,
            index,
            columns,
            score,
            score_of_previous: false,
            low_rank,
            thresholds: recipe.thresholds.clone(),
            kept: recipe.kept.clone(),
        })
    }

    /// The factors of a linear of that name and shape.
    fn factors(&self, name: &str, rank: usize, input: usize, output: usize) -> Result<LowRankFactors> {
        let (b, a) = (format!("{name}.low_rank.b"), format!("{name}.low_rank.a"));
        if self.weight_type.quant().is_none() {
            let float = self.weight_type.float();
            let (b, a) = (self.floats(&b, float, &[rank, input])?, self.floats(&a, float, &[rank, output])?);
            return Ok(LowRankFactors::Float { float, b, a });
        }
        let padded = self.weight_type.low_rank_rows(rank);
        Ok(LowRankFactors::Quantized {
            b_scale: self.scales(&format!("{b}.scale"), &[rank, input / QUANT_GROUP])?,
            b: self.file.view(&b, Dtype::I8, &[rank, input])?,
            a_scale: self.scales(&format!("{a}.scale"), &[padded / QUANT_GROUP, output])?,
            a: self.file.view(&a, Dtype::I8, &[padded, output])?,
        })
    }

    /// A matrix of floats, its elements looked at only if `verify` asks for it.
    fn floats(&self, name: &str, float: FloatType, shape: &[usize]) -> Result<View<u16>> {
        let view = self.file.view::<u16>(name, float.dtype(), shape)?;
        if self.verify {
            finite(name, float, shape, &view)?;
        }
        Ok(view)
    }
}

/// Fails on the first element that is no finite number.
pub(super) fn finite(name: &str, float: FloatType, shape: &[usize], bits: &[u16]) -> Result<()> {
    // All exponent bits set: an infinity or a NaN.
    let exponent = float.format().exponent;
    // Vectors first; the place only matters if there is one.
    if bits.iter().fold(false, |any, bits| any | (bits & exponent == exponent))
        && let Some(at) = bits.iter().position(|bits| bits & exponent == exponent)
    {
        let cols = shape[shape.len() - 1];
        return Err(Error::new(
            Status::NonFinite,
            format!("tensor {name}, row {}, column {}, is not a finite number", at / cols, at % cols),
        ));
    }
    Ok(())
}

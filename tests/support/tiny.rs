//! A tiny model of random weights, whole in every other way: low ranks, masks, biases, a tokenizer, a chat template.
//! Its parts can be changed before it is written, to make files that must be refused.

use half::bf16;
use rasp::format::{Allocation, Config, Dtype, LinearRecipe, Recipe, ScoreKind, TensorSpec, Writer, key};
use rasp::model::{Affine, Block, GroupKind, LinearKind, Role, tensors};
use rasp::text::{Alphabet, NONE, Settings, hash_bytes, kind, tensor};
use std::path::Path;

/// Every byte is a token; then one that ends a generation.
pub const VOCAB: usize = 257;
/// The token that ends a generation.
#[allow(dead_code)]
pub const END: u32 = 256;

/// What the file will say.
pub struct Tiny {
    pub config: Config,
    pub recipe: Recipe,
    pub template: Option<String>,
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
}

/// Numbers that look random and are the same every time: uniform in (-1, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

impl Tiny {
    #[allow(dead_code)]
    pub fn new() -> Tiny {
        Tiny::of(Block::default())
    }

    /// The same with another decoder block: then norms and biases are of random numbers, too.
    pub fn of(block: Block) -> Tiny {
        let architecture = if block.is_llamas() { "qwen2" } else { "tiny" }.into();
        let config = Config { architecture, name: "tiny".into(), vocab_size: VOCAB, block, ..Config::example() };
        let recipe = Recipe {
            score: ScoreKind::WeightNorm,
            sparsity: vec![0.3, 0.5],
            allocation: Allocation::Uniform,
            default_sparsity: 0.0,
            quality: None,
            loss: Vec::new(),
            dense_prefix: 0,
            skip_short_rows: false,
            compensated: None,
            linears: Default::default(),
        };
        let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";
        let mut tiny = Tiny { config, recipe, template: Some(template.into()), tensors: Vec::new() };
        tiny.add_weights();
        tiny.add_tokenizer(&[]);
        tiny
    }

    fn add_weights(&mut self) {
        let (c, random) = (self.config.clone(), &mut Random(0x9E37_79B9_7F4A_7C15));
        let varied = !c.block.is_llamas();
        for role in tensors(&c).collect::<Vec<_>>() {
            let (name, shape) = (role.name(&c), role.shape(&c));
            let count = shape.iter().product();
            let mut around = |middle: f32, spread: f32| (0..count).map(|_| middle + spread * random.next()).collect();
            let numbers: Vec<f32> = match role {
                Role::Embedding | Role::LmHead => {
                    self.bf16(&name, &shape, 1.0, random);
                    continue;
                }
                Role::Matrix(layer, kind) => {
                    self.bf16(&name, &shape, 0.2, random);
                    if kind == GroupKind::Down {
                        self.add_linears(layer, random);
                    }
                    continue;
                }
                Role::UpRows(_) => {
                    self.bf16(&name, &shape, 0.2, random);
                    continue;
                }
                Role::Rope(table) => {
                    let base = [0.25f32, 0.5][table.min(1)];
                    (0..count).map(|i| base.powi(i as i32)).collect()
                }
                Role::Bias(_, GroupKind::Qkv) if !varied => vec![0.01; count],
                Role::Bias(..) if !varied => continue,
                Role::LmHeadBias | Role::UpBias(_) if !varied => continue,
                Role::FinalNorm(Affine::Gain) | Role::Norm(_, _, Affine::Gain) if !varied => vec![1.0; count],
                Role::FinalNorm(Affine::Gain) | Role::Norm(_, _, Affine::Gain) | Role::QkNorm(_, _, Affine::Gain) => {
                    around(1.0, 0.3)
                }
                Role::Positions => around(0.0, 0.5),
                Role::LmHeadBias | Role::Bias(..) | Role::UpBias(_) => around(0.0, 0.1),
                Role::FinalNorm(Affine::Bias) | Role::Norm(_, _, Affine::Bias) | Role::QkNorm(_, _, Affine::Bias) => {
                    around(0.0, 0.1)
                }
            };
            let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.add(&name, Dtype::F32, &shape, bytes);
        }
    }

    /// Scores and low ranks of a layer's linears.
    fn add_linears(&mut self, layer: usize, random: &mut Random) {
        let c = self.config.clone();
        for &kind in c.linears() {
            let shape = c.linear_shape(kind);
            let name = format!("layers.{layer}.{}", kind.name());
            // One linear of each group has no low rank, so that groups are mixed.
            let rank = if matches!(kind, LinearKind::K | LinearKind::Up) { 0 } else { 4 + kind as usize };
            if rank > 0 {
                self.bf16(&format!("{name}.low_rank.b"), &[rank, shape.inputs], 0.1, random);
                self.bf16(&format!("{name}.low_rank.a"), &[rank, shape.outputs], 0.1, random);
            }
            self.f32(&format!("{name}.score"), &vec![1.0; shape.inputs]);
            let linear = LinearRecipe { rho: 0.8, rank, thresholds: vec![0.3, 0.6], kept: vec![0.7, 0.5] };
            self.recipe.linears.insert(name, linear);
        }
    }

    /// Has special tokens of these names, eight at most, in place of bytes that are in no UTF-8.
    #[allow(dead_code)]
    pub fn set_specials(&mut self, names: &[&str]) {
        self.tensors.retain(|(spec, _)| !spec.name.starts_with("tokenizer."));
        self.add_tokenizer(names);
    }

    fn add_tokenizer(&mut self, specials: &[&str]) {
        let mut tokens: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]).collect();
        for (token, name) in tokens[0xf8..256].iter_mut().zip(specials) {
            *token = name.as_bytes().to_vec();
        }
        let offsets = (0..=VOCAB).map(|n| tokens[..n].iter().map(|t| t.len() as u32).sum());
        let mut index = vec![NONE; 4096];
        for (id, token) in tokens.iter().enumerate() {
            let mut at = hash_bytes(token) as usize;
            while index[at % index.len()] != NONE {
                at += 1;
            }
            let slots = index.len();
            index[at % slots] = id as u32;
        }
        self.u32(tensor::OFFSETS, &[VOCAB + 1], offsets.collect());
        self.u32(tensor::INDEX, &[index.len()], index);
        let is_special = |id: u32| (0xf8..0xf8 + specials.len() as u32).contains(&id);
        self.u32(tensor::BYTE_IDS, &[256], (0..256).map(|id| if is_special(id) { NONE } else { id }).collect());
        self.u32(tensor::MERGES, &[0, 3], Vec::new());
        self.u32(tensor::MERGE_INDEX, &[1], vec![NONE]);
        let mut kinds = vec![kind::NORMAL | kind::MODEL; 256];
        kinds[0xf8..0xf8 + specials.len()].fill(kind::CONTROL);
        kinds.push(kind::CONTROL);
        self.add(tensor::KIND, Dtype::U8, &[VOCAB], kinds);
        let bytes = tokens.concat();
        self.add(tensor::BYTES, Dtype::U8, &[bytes.len()], bytes);
    }

    fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        self.tensors.push((TensorSpec::new(name, dtype, shape), bytes));
    }

    fn u32(&mut self, name: &str, shape: &[usize], numbers: Vec<u32>) {
        self.add(name, Dtype::U32, shape, numbers.into_iter().flat_map(u32::to_le_bytes).collect());
    }

    fn f32(&mut self, name: &str, numbers: &[f32]) {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.add(name, Dtype::F32, &[numbers.len()], bytes);
    }

    fn bf16(&mut self, name: &str, shape: &[usize], scale: f32, random: &mut Random) {
        let count = shape.iter().product();
        let numbers = (0..count).map(|_| bf16::from_f32(scale * random.next()));
        self.add(name, Dtype::BF16, shape, numbers.flat_map(bf16::to_le_bytes).collect());
    }

    /// A tensor, to be changed.
    #[allow(dead_code)]
    pub fn tensor(&mut self, name: &str) -> &mut (TensorSpec, Vec<u8>) {
        self.tensors.iter_mut().find(|(spec, _)| spec.name == name).unwrap()
    }

    pub fn write(&self, path: &Path) {
        let settings = Settings {
            alphabet: Alphabet::Bytes,
            normalizer: Vec::new(),
            stages: Vec::new(),
            unknown: None,
            fuse_unknown: false,
            byte_fallback: false,
            added: Vec::new(),
            prefix: vec![END],
            suffix: Vec::new(),
            bos: Some(END),
            eos: Some(END),
            end: vec![END],
            strip_space: false,
            unigram: false,
            word: None,
        };
        let json = |value: serde_json::Result<String>| value.unwrap();
        let mut metadata = vec![
            (key::CONFIG, json(serde_json::to_string(&self.config))),
            (key::RECIPE, json(serde_json::to_string(&self.recipe))),
            (key::TOKENIZER, json(serde_json::to_string(&settings))),
        ];
        metadata.extend(self.template.clone().map(|template| (key::CHAT_TEMPLATE, template)));
        let specs = self.tensors.iter().map(|(spec, _)| spec.clone()).collect();
        let mut writer = Writer::create(path, &metadata, specs).unwrap();
        for (spec, bytes) in &self.tensors {
            writer.tensor(&spec.name, bytes).unwrap();
        }
        writer.finish().unwrap();
    }
}

//! A tiny model of random weights, whole in every other way: low ranks, masks, biases, a tokenizer, a chat template.
//! Its parts can be changed before it is written, to make files that must be refused.

use half::bf16;
use rasp::format::{Allocation, Config, Dtype, LinearRecipe, Recipe, ScoreKind, TensorSpec, Writer, key};
use rasp::model::{GroupKind, LinearKind};
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
    pub fn new() -> Tiny {
        let config = Config {
            architecture: "qwen2".into(),
            name: "tiny".into(),
            vocab_size: VOCAB,
            hidden_size: 64,
            intermediate_size: 96,
            num_layers: 2,
            num_heads: 4,
            num_kv_heads: 2,
            head_dim: 16,
            context_length: 512,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: false,
        };
        let recipe = Recipe {
            score: ScoreKind::WeightNorm,
            sparsity: vec![0.3, 0.5],
            allocation: Allocation::Uniform,
            default_sparsity: 0.0,
            loss: Vec::new(),
            dense_prefix: 0,
            compensated: None,
            linears: Default::default(),
        };
        let template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";
        let mut tiny = Tiny { config, recipe, template: Some(template.into()), tensors: Vec::new() };
        tiny.add_weights();
        tiny.add_tokenizer();
        tiny
    }

    fn add_weights(&mut self) {
        let c = self.config.clone();
        let (hidden, random) = (c.hidden_size, &mut Random(0x9E37_79B9_7F4A_7C15));
        self.bf16("embed_tokens", &[VOCAB, hidden], 1.0, random);
        self.bf16("lm_head", &[VOCAB, hidden], 1.0, random);
        self.f32("final_norm", &vec![1.0; hidden]);
        let frequencies: Vec<f32> = (0..c.head_dim / 2).map(|i| 0.25f32.powi(i as i32)).collect();
        self.f32("rope.inv_freq", &frequencies);
        for layer in 0..c.num_layers {
            self.f32(&format!("layers.{layer}.attn_norm"), &vec![1.0; hidden]);
            self.f32(&format!("layers.{layer}.mlp_norm"), &vec![1.0; hidden]);
            for group in GroupKind::ALL {
                let input = c.linear_shape(group.linears()[0]).0;
                let output: usize = group.linears().iter().map(|&kind| c.linear_shape(kind).1).sum();
                self.bf16(&format!("layers.{layer}.{}", group.name()), &[input, output], 0.2, random);
            }
            self.f32(&format!("layers.{layer}.qkv.bias"), &vec![0.01; c.q_dim() + 2 * c.kv_dim()]);
            for kind in LinearKind::ALL {
                let (input, output) = c.linear_shape(kind);
                let name = format!("layers.{layer}.{}", kind.name());
                // One linear of each group has no low rank, so that groups are mixed.
                let rank = if matches!(kind, LinearKind::K | LinearKind::Up) { 0 } else { 4 + kind as usize };
                if rank > 0 {
                    self.bf16(&format!("{name}.low_rank.b"), &[rank, input], 0.1, random);
                    self.bf16(&format!("{name}.low_rank.a"), &[rank, output], 0.1, random);
                }
                self.f32(&format!("{name}.score"), &vec![1.0; input]);
                let linear = LinearRecipe { rho: 0.8, rank, thresholds: vec![0.3, 0.6], kept: vec![0.7, 0.5] };
                self.recipe.linears.insert(name, linear);
            }
        }
    }

    fn add_tokenizer(&mut self) {
        let tokens: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).chain([b"<end>".to_vec()]).collect();
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
        self.u32(tensor::BYTE_IDS, &[256], (0..256).collect());
        self.u32(tensor::MERGES, &[0, 3], Vec::new());
        self.u32(tensor::MERGE_INDEX, &[1], vec![NONE]);
        let mut kinds = vec![kind::NORMAL | kind::MODEL; 256];
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

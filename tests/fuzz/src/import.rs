//! Checkpoints: GGUF files, and the files of Hugging Face's folders, one at a time.

use crate::Target;
use crate::base::{path, read};
use rasp::model::LinearKind;
use rasp_packer::import::{self, Checkpoint, TokenizerSource};
use rasp_packer::tokenizer;
use std::collections::HashSet;
use std::fmt::Write;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What has been tried: tokenizers, by hashes. Most inputs leave theirs as it was, and compiling one takes a
/// millisecond.
#[derive(Default)]
struct Tried(HashSet<u64>);

/// More are forgotten.
const MOST_TRIED: usize = 1 << 20;

/// Hashes what is formatted into it.
struct Hashed(DefaultHasher);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl Tried {
    /// True the first time.
    fn is_new(&mut self, tokenizer: &TokenizerSource, vocab_size: usize) -> bool {
        let mut hash = Hashed(DefaultHasher::new());
        hash.0.write_usize(vocab_size);
        // Its configuration matters to a tokenizer by little, and differs with every input of some targets.
        let written = match tokenizer {
            TokenizerSource::HuggingFace { tokenizer_json, tokenizer_config, generation_config, config } => {
                hash.0.write(tokenizer_json);
                let ids = ["bos_token_id", "eos_token_id", "text_config"].map(|key| config.get(key));
                write!(hash, "{tokenizer_config:?} {generation_config:?} {ids:?}")
            }
            TokenizerSource::Gguf(gguf) => write!(hash, "{gguf:?}"),
        };
        written.expect("a hash can be written to");
        if self.0.len() >= MOST_TRIED {
            self.0.clear();
        }
        self.0.insert(hash.0.finish())
    }
}

/// All that packing asks of a checkpoint before it writes, and some weights.
fn look(path: &Path, tried: &mut Tried) {
    let checkpoint = match import::open(path) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    use_checkpoint(&checkpoint, tried);
}

fn use_checkpoint(checkpoint: &Checkpoint, tried: &mut Tried) {
    let config = checkpoint.config();
    // Weights are in the file, so no more than it holds is ever read.
    for layer in 0..config.num_layers.min(2) {
        for linear in [LinearKind::Q, LinearKind::V, LinearKind::Down] {
            if let Ok(dense) = checkpoint.linear(layer, linear) {
                assert_eq!(dense.data.len(), dense.out * dense.inp);
            }
            let _ = checkpoint.bias(layer, linear);
        }
    }
    let _ = checkpoint.embedding_rows(0..config.vocab_size.min(4));
    let _ = checkpoint.lm_head_rows(0..config.vocab_size.min(4));
    // 2^24 ids are the most; as many as are asked for are made, which takes seconds.
    if config.vocab_size <= 1 << 12 && tried.is_new(&checkpoint.tokenizer, config.vocab_size) {
        match tokenizer::compile(&checkpoint.tokenizer, config.vocab_size) {
            Ok(compiled) => assert!(!compiled.tensors.is_empty()),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A file in memory, for what wants a path.
fn in_memory() -> (File, PathBuf) {
    let name = format!("/dev/shm/rasp-fuzz-{}", std::process::id());
    let file =
        File::options().read(true).write(true).create(true).truncate(true).open(&name).expect("a file in memory");
    std::fs::remove_file(&name).expect("its name is ours");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

/// Zeros for weights.
const WEIGHTS: u64 = 256 << 10;

/// Input: a GGUF file up to its weights, which are zeros; if it begins with a zero, what follows is a whole one.
pub struct Gguf {
    file: File,
    path: PathBuf,
    tried: Tried,
}

impl Gguf {
    pub fn new() -> Gguf {
        let (file, path) = in_memory();
        Gguf { file, path, tried: Tried::default() }
    }
}

impl Target for Gguf {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![read("tiny.gguf")]
    }

    fn run(&mut self, input: &[u8]) {
        let (input, room) = match input.split_first() {
            Some((0, whole)) => (whole, 0),
            _ => (input, WEIGHTS),
        };
        if input.is_empty() {
            return;
        }
        self.file.set_len(0).expect("a file in memory");
        self.file.write_all_at(input, 0).expect("a file in memory");
        self.file.set_len(input.len() as u64 + room).expect("a file in memory");
        look(&self.path, &mut self.tried);
    }
}

/// Input: one file of a folder in Hugging Face's layout; of `model.safetensors` the header's JSON.
pub struct Folder {
    folder: PathBuf,
    name: &'static str,
    original: Vec<u8>,
    tried: Tried,
}

impl Folder {
    pub fn new(name: &'static str) -> Folder {
        let folder = PathBuf::from(format!("/dev/shm/rasp-fuzz-{}-{}", name.len(), std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder in memory");
        for entry in std::fs::read_dir(path("bytes.hf")).expect("base.py has made it") {
            let entry = entry.expect("a file");
            std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
        }
        let original = std::fs::read(folder.join(name)).expect("base.py has made it");
        Folder { folder, name, original, tried: Tried::default() }
    }

    fn is_weights(&self) -> bool {
        self.name == "model.safetensors"
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Target for Folder {
    fn seeds(&self) -> Vec<Vec<u8>> {
        if self.is_weights() {
            let length = u64::from_le_bytes(self.original[..8].try_into().expect("eight bytes")) as usize;
            return vec![self.original[8..8 + length].to_vec()];
        }
        let other = path("unigram.hf").join(self.name);
        vec![self.original.clone(), std::fs::read(other).expect("base.py has made it")]
    }

    fn run(&mut self, input: &[u8]) {
        let file = File::options().write(true).truncate(true).open(self.folder.join(self.name)).expect("it is there");
        if self.is_weights() {
            file.write_all_at(&(input.len() as u64).to_le_bytes(), 0).expect("a file in memory");
            file.write_all_at(input, 8).expect("a file in memory");
            file.set_len(8 + input.len() as u64 + WEIGHTS).expect("a file in memory");
        } else {
            file.write_all_at(input, 0).expect("a file in memory");
        }
        drop(file);
        look(&self.folder, &mut self.tried);
    }
}

/// Input: the JSON of the header of an adapter's weights; then, after a byte of 0, its configuration.
pub struct Lora {
    folder: PathBuf,
    header: Vec<u8>,
    config: Vec<u8>,
}

const LORA_WEIGHTS: &str = "adapter_model.safetensors";
const LORA_CONFIG: &str = "adapter_config.json";

impl Lora {
    pub fn new() -> Lora {
        let folder = PathBuf::from(format!("/dev/shm/rasp-fuzz-lora-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder in memory");
        let file = |name: &str| std::fs::read(path("adapter.hf").join(name)).expect("base.py has made it");
        let (header, _) = crate::format::parts(&file(LORA_WEIGHTS));
        Lora { folder, header, config: file(LORA_CONFIG) }
    }
}

impl Drop for Lora {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Target for Lora {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let pattern = br#"{"alpha_pattern": {"q_proj": 3}, "use_rslora": true, "lora_alpha": 4}"#;
        vec![
            self.header.clone(),
            [&self.header[..], &[0], &self.config].concat(),
            [&self.header[..], &[0], pattern].concat(),
        ]
    }

    fn run(&mut self, input: &[u8]) {
        let end = input.iter().position(|&byte| byte == 0).unwrap_or(input.len());
        let (header, config) = (&input[..end], input.get(end + 1..).unwrap_or(&self.config));
        std::fs::write(self.folder.join(LORA_CONFIG), config).expect("a file in memory");
        let file = File::create(self.folder.join(LORA_WEIGHTS)).expect("a file in memory");
        file.write_all_at(&(header.len() as u64).to_le_bytes(), 0).expect("a file in memory");
        file.write_all_at(header, 8).expect("a file in memory");
        file.set_len(8 + header.len() as u64 + WEIGHTS).expect("a file in memory");
        drop(file);
        match import::open_adapter(&self.folder, &path("bytes.hf")) {
            Ok(adapter) => assert!(adapter.linears.iter().all(|one| one.rank > 0 && one.b.len() % one.rank == 0)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

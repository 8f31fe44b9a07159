//! A file that an old library wrote: it loads, and gives the logits that the library gave that wrote it.
//!
//! `goldens/version-2.rasp` is the tiny model of `support/tiny.rs` (one layer, 32 wide, tied), written on 2026-11-30 by
//! the first commit whose files are of version 2, 63d91a6 of 2026-11-24; `goldens/version-2.logits` are, in f32, that
//! commit's logits behind the last of [`TOKENS`], decoded one by one, dense and at 50%. Neither is ever made anew.

use rasp::format::Bytes;
use rasp::session::KvType;
use rasp::{LoadOptions, Model, Result, Session, SessionOptions, Status};
use std::sync::Arc;

const FILE: &[u8] = include_bytes!("goldens/version-2.rasp");
const LOGITS: &[u8] = include_bytes!("goldens/version-2.logits");
const TOKENS: &[u8] = b"Old files load.";

fn load(file: &[u8]) -> Result<Arc<Model>> {
    Model::from_bytes(Bytes::copy(file).unwrap(), &LoadOptions::default())
}

/// The file with another version, of one digit as the true one.
fn of_version(version: &str) -> Vec<u8> {
    let [own, other] = ["2", version].map(|version| format!(r#""rasp.version":"{version}""#));
    let at = FILE.windows(own.len()).position(|part| part == own.as_bytes()).expect("the file says its version");
    let mut file = FILE.to_vec();
    file[at..at + own.len()].copy_from_slice(other.as_bytes());
    file
}

#[test]
fn a_file_of_version_2_gives_the_logits_of_the_library_that_wrote_it() {
    let model = load(FILE).unwrap();
    let expected: Vec<f32> = LOGITS.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let vocab = model.config().vocab_size;
    assert_eq!(expected.len(), 2 * vocab);
    for (expected, sparsity) in expected.chunks_exact(vocab).zip([0.0, 0.5]) {
        let options = SessionOptions { context: 32, kv_type: KvType::F32, ..Default::default() };
        let mut session = Session::open(model.clone(), &options).unwrap();
        session.set_sparsity(sparsity).unwrap();
        for &token in TOKENS {
            session.decode(u32::from(token)).unwrap();
        }
        // Sums have one order, in every library: the same bits.
        assert_eq!(session.logits().unwrap(), expected, "at {sparsity}");
    }
    assert_ne!(expected[..vocab], expected[vocab..], "sparsity was felt");
}

#[test]
fn what_else_the_file_holds_is_read() {
    let model = load(FILE).unwrap();
    let (config, recipe) = (model.config(), model.recipe());
    assert_eq!((config.architecture.as_str(), config.hidden_size, config.num_layers), ("qwen2", 32, 1));
    assert!(config.block.is_llamas(), "what a file of version 2 does not say is Llama's");
    assert_eq!((recipe.sparsity.as_slice(), model.max_sparsity()), ([0.3, 0.5].as_slice(), 0.5));
    let prompt = [rasp::text::Message::new("user", "Hi")];
    assert_eq!(model.chat_template().unwrap().render(&prompt, true).unwrap(), "<user>Hi\n<assistant>");
    let mut ids = Vec::new();
    model.tokenizer().encode("Hi", Default::default(), &mut ids).unwrap();
    assert!(ids.ends_with(&[72, 105]), "{ids:?}");
    assert_eq!(model.tokenizer().decode(&[72, 105], false).unwrap(), b"Hi");
}

#[test]
fn versions_that_are_not_read_are_refused_by_their_number() {
    for (version, what) in [("1", "older than this library: pack the model again"), ("9", "newer than this library")] {
        let error = load(&of_version(version)).err().expect("refused");
        assert_eq!(error.status(), Status::UnsupportedVersion);
        assert!(error.message().contains(&format!("format version {version:?}")), "{error}");
        assert!(error.message().contains(what), "{error}");
    }
}

//! What the packer writes and the tokenizer reads: settings, names, hashes. Part of the file format.

use serde::{Deserialize, Serialize};

/// No row, in an index or in `byte_ids`.
pub const NONE: u32 = u32::MAX;

/// The most slots a lookup in an index looks at. The packer makes the index larger until all entries obey; the bound
/// is what keeps a lookup short in an index that no packer made.
pub const PROBES: usize = 32;

/// No token is longer than this many bytes, so that a caller can hold any token in a fixed buffer.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// Code points that share a block of classes.
pub const CLASS_BLOCK: usize = 128;

/// Set in an automaton's transition if a match ends before the character read.
pub const MATCHED: u16 = 1 << 15;

/// The lowest of the bits that tell, in an automaton's backward transition, which look-aheads hold.
pub const AHEAD_SHIFT: u32 = 13;

/// The most look-aheads of an automaton that reach beyond one character.
pub const MAX_AHEADS: usize = 3;

/// Names of the tensors.
pub mod tensor {
    /// The tokens' bytes.
    pub const BYTES: &str = "tokenizer.bytes";
    /// Where each token's bytes begin.
    pub const OFFSETS: &str = "tokenizer.offsets";
    /// Kind and flags of each token.
    pub const KIND: &str = "tokenizer.kind";
    /// Ids by bytes.
    pub const INDEX: &str = "tokenizer.index";
    /// Ids of single bytes.
    pub const BYTE_IDS: &str = "tokenizer.byte_ids";
    /// Left, right, product.
    pub const MERGES: &str = "tokenizer.merges";
    /// Merges by left and right.
    pub const MERGE_INDEX: &str = "tokenizer.merge_index";

    /// Combining classes.
    pub const NFC_CLASSES: &str = "tokenizer.nfc.classes";
    /// Canonical decompositions.
    pub const NFC_DECOMPOSITIONS: &str = "tokenizer.nfc.decompositions";
    /// Canonical compositions.
    pub const NFC_COMPOSITIONS: &str = "tokenizer.nfc.compositions";
    /// Code point, where its compatibility decomposition begins, how long it is.
    pub const NFKC_ROWS: &str = "tokenizer.nfkc.rows";
    /// The characters of all compatibility decompositions.
    pub const NFKC_CHARS: &str = "tokenizer.nfkc.chars";
    /// Up to three characters, where what they become begins, how long it is.
    pub const CHARSMAP_ROWS: &str = "tokenizer.charsmap.rows";
    /// What characters become.
    pub const CHARSMAP_CHARS: &str = "tokenizer.charsmap.chars";
    /// How characters form clusters.
    pub const CHARSMAP_CLASSES: &str = "tokenizer.charsmap.classes";

    /// Scores of a Unigram model: the halves of an `f64`, low first.
    pub const SCORES: &str = "tokenizer.scores";

    /// A tensor of split `n`: `blocks`, `classes`, `next` or `ahead`.
    pub fn split(n: usize, part: &str) -> String {
        format!("tokenizer.split.{n}.{part}")
    }
}

/// Values of `tokenizer.kind`: one of the kinds, and flags.
pub mod kind {
    /// An ordinary token of the vocabulary.
    pub const NORMAL: u8 = 0;
    /// A special (control) token: it is no text, though it has a name.
    pub const CONTROL: u8 = 1;
    /// Text that was added to the vocabulary, recognised before all else.
    pub const ADDED: u8 = 2;
    /// Stands for one byte of a character that the vocabulary lacks.
    pub const BYTE: u8 = 3;
    /// No token: a row that pads the embedding.
    pub const UNUSED: u8 = 4;
    /// The bits that hold the kind.
    pub const MASK: u8 = 0x07;
    /// The token belongs to the vocabulary proper: merges and characters can give it.
    pub const MODEL: u8 = 0x40;
    /// A piece with exactly this token's bytes is this token: the merges would find it as well (or are ignored, as
    /// Llama 3 does), so they need not be tried. True of most words of a text.
    pub const WHOLE: u8 = 0x80;
}

/// The tokenizer's settings; `__metadata__["rasp.tokenizer"]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What a piece is taken apart into before merging.
    pub alphabet: Alphabet,
    /// Applied in order to the text between added tokens.
    pub normalizer: Vec<Rewrite>,
    /// The pre-tokenizer.
    pub stages: Vec<PreTokenizer>,
    /// Stands for characters that have neither a token nor byte-fallback tokens; without it they are dropped.
    pub unknown: Option<u32>,
    /// A run of unknown characters gives one token.
    pub fuse_unknown: bool,
    /// A character without a token is written with the tokens of its bytes.
    pub byte_fallback: bool,
    /// Tokens that are recognised in a text before it is split.
    pub added: Vec<AddedToken>,
    /// Put before a text (the beginning-of-text token, usually).
    pub prefix: Vec<u32>,
    /// Put after a text.
    pub suffix: Vec<u32>,
    /// Beginning of text.
    pub bos: Option<u32>,
    /// End of text, as the chat template names it.
    pub eos: Option<u32>,
    /// Tokens that end a generation.
    pub end: Vec<u32>,
    /// Decoding drops one space at the start, which encoding has put there.
    pub strip_space: bool,
    /// Pieces are cut where the sum of the tokens' scores is largest (Unigram), not by merges.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unigram: bool,
    /// The split whose matches are the characters of words, where an added token asks for it. Numbered as the stages'.
    #[serde(default, skip_serializing_if = "is_default")]
    pub word: Option<usize>,
}

/// What a file says by saying nothing: files older than a field do without it.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What merging starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alphabet {
    /// Bytes (GPT-2 and its heirs).
    Bytes,
    /// Characters (SentencePiece).
    Chars,
}

/// A step of the normalizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rewrite {
    /// Unicode normalization form C.
    Nfc,
    /// Unicode normalization form KC.
    Nfkc,
    /// SentencePiece's own, by a map of characters.
    Charsmap,
    /// Each character in lower case, whatever its neighbours.
    Lowercase,
    /// Puts a string before any text that is not empty.
    Prepend(String),
    /// Replaces every occurrence.
    Replace {
        /// What is replaced; not empty.
        from: String,
        /// What comes in its place.
        to: String,
    },
}

/// A step of the pre-tokenizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PreTokenizer {
    /// Cuts a piece into the matches of an automaton and what lies between them.
    Split {
        /// The automaton's number `N` in the tensors' names.
        table: usize,
        /// What lies between matches is dropped, not kept.
        drop_gaps: bool,
        /// Matches are dropped.
        #[serde(default, skip_serializing_if = "is_default")]
        drop_matches: bool,
        /// Which neighbours are one piece.
        #[serde(default, skip_serializing_if = "is_default")]
        join: Join,
        /// The automaton reads bytes, as if each were the code point of its value, and may cut characters. Only splits
        /// like it may follow.
        #[serde(default, skip_serializing_if = "is_default")]
        bytes: bool,
    },
    /// Puts a space before a piece that does not start with one.
    PrefixSpace {
        /// Only before the piece that starts the text.
        first_only: bool,
    },
}

/// Which neighbouring parts of a split are one piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// None: every match is a piece, and so is what lies between two.
    #[default]
    None,
    /// Matches that follow one another.
    Matches,
    /// A match and what lies before it.
    Before,
    /// A match and what lies after it.
    After,
}

/// A token recognised in a text before it is split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddedToken {
    /// The token's id.
    pub id: u32,
    /// What is looked for; not empty.
    pub pattern: String,
    /// The token is special: it is recognised only on request.
    pub special: bool,
    /// White space before it belongs to it.
    pub lstrip: bool,
    /// White space after it belongs to it.
    pub rstrip: bool,
    /// It is looked for in normalized text, not in the raw one.
    pub normalized: bool,
    /// It is recognised only where no character of a word is next to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub single_word: bool,
}

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// The hash of a token's bytes.
pub fn hash_bytes(bytes: &[u8]) -> u32 {
    let mut h = MIX ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word: [u8; 8] = word.try_into().unwrap_or_default();
        h = mix(h ^ u64::from_le_bytes(word));
    }
    let tail = words.remainder().iter().rev().fold(0, |t, &b| t << 8 | u64::from(b));
    (mix(h ^ tail) >> 16) as u32
}

/// The hash of a pair of ids.
pub fn hash_pair(left: u32, right: u32) -> u32 {
    (mix(u64::from(left) << 32 | u64::from(right)) >> 16) as u32
}

fn mix(h: u64) -> u64 {
    let h = (h ^ (h >> 29)).wrapping_mul(MIX);
    h ^ (h >> 32)
}

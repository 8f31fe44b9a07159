//! Text in and text out: the tokenizer, the incremental detokenizer, the chat template.
//!
//! A tokenizer is **compiled by the packer** (`packer/src/tokenizer/`) from Hugging Face's `tokenizer.json` or a GGUF
//! file's metadata into tables that are used in place from the mapped file. Nothing is parsed at load but a page of
//! settings: the vocabulary is never copied, and no regular-expression engine is part of this library. The ids equal
//! those of Hugging Face's `tokenizers`, which is what the packer's tests compare with.
//!
//! # The way of a text
//!
//! 1. `added`: added tokens that match the raw text are cut out (leftmost-longest). What lies between goes on.
//! 2. `normalize`: the rewrites of the settings (NFC or NFKC, a prefix, a replacement), in order.
//! 3. `added` again, for the added tokens that match normalized text.
//! 4. `split`: the stages of the pre-tokenizer. Each cuts every piece that the stage before it left.
//! 5. `merge`: byte-pair encoding of each piece; or `unigram`, where the tokens have scores.
//!
//! # The tables
//!
//! `__metadata__["rasp.tokenizer"]` is the JSON of [`Settings`]. The tensors (`V` tokens, `M` merges; all indexes are
//! open-addressing hash tables of a power of two of slots, each slot a row number or [`NONE`], where an entry lies at
//! most [`PROBES`] slots from where its hash points):
//!
//! | tensor | dtype | shape | |
//! | --- | --- | --- | --- |
//! | `tokenizer.bytes` | U8 | `[n]` | the tokens' bytes as they appear in text, one after the other |
//! | `tokenizer.offsets` | U32 | `[V+1]` | where each token's bytes begin |
//! | `tokenizer.kind` | U8 | `[V]` | a [`kind`] and flags |
//! | `tokenizer.index` | U32 | `[slots]` | token ids, by [`hash_bytes`] of their bytes; byte-fallback and unused tokens are not in it |
//! | `tokenizer.byte_ids` | U32 | `[256]` | the token of each byte, or [`NONE`] |
//! | `tokenizer.merges` | U32 | `[M, 3]` | left, right and product, best first: the row number is the rank |
//! | `tokenizer.merge_index` | U32 | `[slots]` | rows of `merges`, by [`hash_pair`] of left and right |
//! | `tokenizer.split.N.blocks` | U16 | `[8704]` | the class block of each 128 code points |
//! | `tokenizer.split.N.classes` | U8 | `[128·b]` | character classes, a block after the other |
//! | `tokenizer.split.N.next` | U16 | `[states, (classes+1)·2^k]` | the automaton of split `N`, see `split` |
//! | `tokenizer.split.N.ahead` | U16 | `[states, classes+1]` | its `k` look-aheads beyond one character, if there are any |
//! | `tokenizer.nfc.classes` | U32 | `[n, 2]` | sorted: code point, combining class. These three only where the normalizer has NFC or NFKC |
//! | `tokenizer.nfc.decompositions` | U32 | `[n, 5]` | sorted: code point, full canonical decomposition, zeros after it; no Hangul |
//! | `tokenizer.nfc.compositions` | U32 | `[n, 3]` | sorted: first, second, composite; no Hangul |
//! | `tokenizer.nfkc.rows` | U32 | `[n, 3]` | sorted: code point, then where in `chars` its full compatibility decomposition begins and its length; only with NFKC |
//! | `tokenizer.nfkc.chars` | U32 | `[n]` | the characters of those decompositions |
//! | `tokenizer.charsmap.rows` | U32 | `[n, 5]` | sorted: three characters (0: fewer), then where in `chars` what they become begins and its length; only with SentencePiece's own normalization, as the next two |
//! | `tokenizer.charsmap.chars` | U32 | `[n]` | the characters that they become |
//! | `tokenizer.charsmap.classes` | U32 | `[n, 3]` | sorted: first and last code point, and how they form clusters: 1 with what is before, 2 with what is behind, 3 with nothing |
//! | `tokenizer.scores` | U32 | `[V, 2]` | Unigram only: a token's score, an `f64` in halves, low first; not finite where it has none |
//!
//! Vocabularies of SentencePiece's making write a space as `▁`. The packer rewrites their tokens and rules to say the
//! space itself, so that a token's bytes are always what it adds to a text.

mod added;
mod calls;
mod charsmap;
mod chat;
mod json;
mod layout;
mod merge;
mod nfc;
mod normalize;
mod split;
mod stop;
mod stream;
mod tables;
mod tokenizer;
mod unigram;
mod utf8;

#[cfg(feature = "constrained")]
pub(crate) use calls::grammar as calls_grammar;
pub use calls::{Call, Part, Reply};
pub use chat::{Chat, ChatTemplate, ChatText, MAX_TEMPLATE_BYTES, Message};
pub use layout::{
    AHEAD_SHIFT, AddedToken, Alphabet, CLASS_BLOCK, Join, MATCHED, MAX_AHEADS, MAX_TOKEN_BYTES, NONE, PROBES,
    PreTokenizer, Rewrite, Settings, hash_bytes, hash_pair, kind, tensor,
};
pub use stop::{MAX_STOP_BYTES, MAX_STOPS};
pub(crate) use stream::TextStream;
pub use stream::{MAX_TEXT_BYTES, Shown};
pub use tokenizer::{EncodeOptions, Tokenizer};
pub use utf8::Utf8Stream;

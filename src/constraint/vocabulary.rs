//! A model's vocabulary as llguidance needs it.

use crate::text::{EncodeOptions, Tokenizer};
use crate::{Error, Result, Status};
use llguidance::earley::{BiasComputer, ParserRecognizer};
use llguidance::toktrie::{SimpleVob, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use std::sync::Arc;

/// The vocabulary as a tree of bytes: made once a model, when its first constraint is.
pub(crate) struct VocabularyTree {
    tree: TokTrie,
    tokenizer: Arc<Tokenizer>,
    /// Whether the tokenizer cuts the rest of a text as it would cut it in the text.
    canonical: bool,
}

impl VocabularyTree {
    /// `size` tokens, as many as there are logits; those beyond the tokenizer's are never allowed.
    pub(crate) fn new(tokenizer: &Arc<Tokenizer>, size: usize) -> Result<VocabularyTree> {
        let Some(&end) = tokenizer.end_tokens().first() else {
            return Err(Error::new(
                Status::Unsupported,
                "the model has no token that ends a text, so no constraint can end",
            ));
        };
        let words: Vec<Vec<u8>> = (0..size as u32)
            .map(|id| match tokenizer.token_bytes(id) {
                // Special tokens are marked, so that no text is ever made of them.
                Some(name) if tokenizer.is_special(id) => [&[TokTrie::SPECIAL_TOKEN_MARKER], name].concat(),
                Some(bytes) => bytes.to_vec(),
                None => Vec::new(),
            })
            .collect();
        let trie = TokTrie::from(&TokRxInfo::new(size as u32, end), &words);
        let tree = trie.with_eos_tokens(tokenizer.end_tokens());
        let mut vocabulary = VocabularyTree { tree, tokenizer: tokenizer.clone(), canonical: false };
        // Some put a space in front of every text, or write bytes otherwise.
        vocabulary.canonical = vocabulary.encode("name\": \"x").is_some();
        Ok(vocabulary)
    }

    pub(super) fn tree(&self) -> &TokTrie {
        &self.tree
    }

    /// The text's tokens, if they are the text's bytes.
    fn encode(&self, text: &str) -> Option<Vec<TokenId>> {
        let mut tokens = Vec::new();
        let options = EncodeOptions { add_special: false, parse_special: false };
        self.tokenizer.encode(text, options, &mut tokens).ok()?;
        (self.tree.decode_raw(&tokens) == text.as_bytes()).then_some(tokens)
    }
}

impl TokenizerEnv for VocabularyTree {
    fn tok_trie(&self) -> &TokTrie {
        &self.tree
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(|text| self.encode(text)).unwrap_or_else(|| self.tree.greedy_tokenize(bytes))
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.canonical
    }
}

/// All of the tree is walked for a mask.
impl BiasComputer for VocabularyTree {
    fn compute_bias(&self, parser: &mut ParserRecognizer<'_>, begun: &[u8]) -> SimpleVob {
        let mut mask = self.tree.alloc_token_set();
        self.tree.add_bias(parser, &mut mask, begun);
        mask
    }

    fn trie(&self) -> &TokTrie {
        &self.tree
    }
}

//! A model's vocabulary as llguidance needs it.

use crate::text::Tokenizer;
use crate::{Error, Result, Status};
use llguidance::earley::{BiasComputer, ParserRecognizer};
use llguidance::toktrie::{SimpleVob, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

/// The vocabulary as a tree of bytes: made once a model, when its first constraint is.
pub(crate) struct Vocabulary(TokTrie);

impl Vocabulary {
    /// `size` tokens, as many as there are logits; those beyond the tokenizer's are never allowed.
    pub(crate) fn new(tokenizer: &Tokenizer, size: usize) -> Result<Vocabulary> {
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
        Ok(Vocabulary(trie.with_eos_tokens(tokenizer.end_tokens())))
    }

    pub(super) fn tree(&self) -> &TokTrie {
        &self.0
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    /// No tokens are forced: the model chooses how to write what must come.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

/// All of the tree is walked for a mask.
impl BiasComputer for Vocabulary {
    fn compute_bias(&self, parser: &mut ParserRecognizer<'_>, begun: &[u8]) -> SimpleVob {
        let mut mask = self.0.alloc_token_set();
        self.0.add_bias(parser, &mut mask, begun);
        mask
    }

    fn trie(&self) -> &TokTrie {
        &self.0
    }
}

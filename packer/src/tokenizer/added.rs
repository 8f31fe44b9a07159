//! Added tokens: which there are, and what is looked for in a text for each.

use super::rules::{MARK, Rules, unmark};
use super::{bad, unsupported};
use rasp::Result;
use rasp::text::{AddedToken, Alphabet};
use std::collections::{BTreeMap, HashSet};
use tokenizers::{NormalizedString, Normalizer, Tokenizer};

/// Added tokens by id, as `tokenizers` has them, and the names of those that have no row.
///
/// A checkpoint may name tokens that its embedding has no row for: Gemma 3 has one that stands for an image. They
/// cannot be put to the model, and are left out; but a token of the vocabulary proper without a row is a mistake
/// somewhere.
pub(super) fn find(oracle: &Tokenizer, rows: usize) -> (BTreeMap<u32, tokenizers::AddedToken>, Vec<String>) {
    let all = oracle.get_added_tokens_decoder().into_iter().collect::<BTreeMap<_, _>>();
    let in_vocab = oracle.get_vocab(false);
    let has_row = |id: u32, token: &tokenizers::AddedToken| {
        (id as usize) < rows || in_vocab.get(&token.content).is_some_and(|of| *of == id)
    };
    let beyond = all.iter().filter(|&(&id, token)| !has_row(id, token));
    let names = beyond.map(|(id, token)| format!("{:?} ({id})", token.content)).collect();
    (all.into_iter().filter(|(id, token)| has_row(*id, token)).collect(), names)
}

/// What is looked for.
pub(super) fn patterns(
    oracle: &Tokenizer,
    tokens: &BTreeMap<u32, tokenizers::AddedToken>,
    rules: &Rules,
) -> Result<Vec<AddedToken>> {
    let mut added = Vec::new();
    for (&id, token) in tokens {
        let text = token.content.as_str();
        let mut pattern = text.to_string();
        if token.normalized {
            if let Some(normalizer) = oracle.get_normalizer() {
                let mut normalized = NormalizedString::from(text);
                normalizer.normalize(&mut normalized).map_err(|e| bad(e.to_string()))?;
                pattern = normalized.get().to_string();
            }
            if rules.alphabet == Alphabet::Chars {
                // Without a normalizer, marks and spaces are still two things when it is looked for.
                if !rules.marks && text.contains([' ', MARK]) {
                    return Err(unsupported(format!("added token {text:?}, normalized, before a Metaspace")));
                }
                // Marks are no white space, spaces are.
                if rules.marks && (token.lstrip || token.rstrip) {
                    return Err(unsupported(format!("added token {text:?}, normalized, that takes white space along")));
                }
                pattern = unmark(&pattern);
            }
        }
        if !pattern.is_empty() {
            added.push(AddedToken {
                id,
                pattern,
                special: token.special,
                lstrip: token.lstrip,
                rstrip: token.rstrip,
                normalized: token.normalized,
                single_word: token.single_word,
            });
        }
    }
    // Of two with the same pattern, `tokenizers` finds the special one.
    added.sort_by_key(|token| !token.special);
    let mut seen = HashSet::new();
    added.retain(|token| seen.insert((token.pattern.clone(), token.normalized)));
    Ok(added)
}

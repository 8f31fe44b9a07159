//! The tokenizer: text to ids and back.

use super::added::{Added, Segment, Special};
use super::charsmap::Charsmap;
use super::chat::ChatText;
use super::layout::{Alphabet, Join, MAX_TOKEN_BYTES, PreTokenizer, Rewrite, Settings, kind};
use super::merge::{Bpe, Scratch, reserve};
use super::nfc::Nfc;
use super::normalize::{RewriteTables, normalize};
use super::split::{Automaton, Text};
use super::tables::{Merges, Vocabulary, bad};
use super::unigram::{Unigram, UnigramScores};
use crate::format::{File, key};
use crate::{Error, Result, Status};
use std::ops::Range;
use std::sync::Arc;

/// Longer texts than this are refused; positions are kept in 32 bits, and no context is a thousandth as long.
const MAX_TEXT: usize = 1 << 30;

/// Nor does what a text becomes have more bytes than that.
const MAX_NORMALIZED: usize = u32::MAX as usize - 1;

/// The longest text of an added token: a token's, however normalizing lengthens it.
const MAX_PATTERN_BYTES: usize = 4 * MAX_TOKEN_BYTES;

/// More stages, or rewrites, than any tokenizer has.
const MAX_STEPS: usize = 8;

/// How [`Tokenizer::encode`] treats special tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Put the tokens before and after the text that the model expects (the beginning-of-text token, usually, or none).
    pub add_special: bool,
    /// Read the names of special tokens in the text (`<|im_end|>`) as those tokens. Leave it off for text that you do
    /// not trust: it is then only text.
    pub parse_special: bool,
}

/// Turns text into token ids and back. It never changes, and any threads may use it at once.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    merges: Merges,
    /// There if pieces are cut by scores, not by merges.
    scores: Option<UnigramScores>,
    settings: Settings,
    stages: Vec<ReadyStage>,
    /// There if a rewrite needs it.
    forms: RewriteTables,
    /// Added tokens that are looked for in the raw text.
    added: Added,
    /// Added tokens that are looked for in normalized text.
    added_normalized: Added,
}

/// A split with its automaton at hand.
struct Splitter {
    automaton: Arc<Automaton>,
    drop_gaps: bool,
    drop_matches: bool,
    join: Join,
    bytes: bool,
}

impl Splitter {
    /// Hands over where each piece begins and ends.
    fn split<T: Text + ?Sized>(&self, text: &T, mut piece: impl FnMut(usize, usize) -> Result<()>) -> Result<()> {
        // The piece in the making, and whether its last part is a match.
        let (mut from, mut to, mut last) = (0, 0, None);
        let mut pass = |from: usize, to: usize, matched: Option<bool>| match matched {
            Some(true) if self.drop_matches => Ok(()),
            Some(false) if self.drop_gaps => Ok(()),
            Some(_) => piece(from, to),
            None => Ok(()),
        };
        self.automaton.split(text, |part| {
            let joined = match self.join {
                Join::None => false,
                Join::Matches => last == Some(true) && part.matched,
                Join::Before => last == Some(false) && part.matched,
                Join::After => last == Some(true) && !part.matched,
            };
            if !joined {
                pass(from, to, last)?;
                from = to;
            }
            (to, last) = (part.end, Some(part.matched));
            Ok(())
        })?;
        pass(from, to, last)
    }
}

/// A stage, ready to be taken.
enum ReadyStage {
    Split(Splitter),
    PrefixSpace { first_only: bool },
}

impl Tokenizer {
    /// The tokenizer of a file. Every table is checked here, so that no text can lead outside of them.
    pub fn open(file: &File) -> Result<Tokenizer> {
        let mut settings: Settings = file.json(key::TOKENIZER)?;
        let vocabulary = Vocabulary::open(file).map_err(|e| e.context("tokenizer"))?;
        let merges = Merges::open(file, vocabulary.len()).map_err(|e| e.context("tokenizer"))?;
        check(&settings, vocabulary.len()).map_err(|e| e.context("tokenizer"))?;
        let mut automata: Vec<Arc<Automaton>> = Vec::new();
        let mut open = |table: usize| -> Result<Arc<Automaton>> {
            // Tables are numbered in the order of the stages that first use them.
            if table == automata.len() {
                automata.push(Arc::new(Automaton::open(file, table)?));
            }
            Ok(automata.get(table).ok_or_else(|| bad(format!("no split {table}")))?.clone())
        };
        let mut stages = Vec::new();
        for stage in &settings.stages {
            stages.push(match *stage {
                PreTokenizer::Split { table, drop_gaps, drop_matches, join, bytes } => {
                    ReadyStage::Split(Splitter { automaton: open(table)?, drop_gaps, drop_matches, join, bytes })
                }
                PreTokenizer::PrefixSpace { first_only } => ReadyStage::PrefixSpace { first_only },
            });
        }
        let word = settings.word.map(&mut open).transpose()?;
        let scores = match settings.unigram {
            true => Some(UnigramScores::open(file, vocabulary.len()).map_err(|e| e.context("tokenizer"))?),
            false => None,
        };
        let forms = [Rewrite::Nfc, Rewrite::Nfkc].map(|form| settings.normalizer.contains(&form));
        let nfc = match forms.contains(&true) {
            true => Some(Nfc::open(file, forms[1]).map_err(|e| e.context("tokenizer"))?),
            false => None,
        };
        let charsmap = match settings.normalizer.contains(&Rewrite::Charsmap) {
            true => Some(Charsmap::open(file).map_err(|e| e.context("tokenizer"))?),
            false => None,
        };
        let (normalized, raw) = std::mem::take(&mut settings.added).into_iter().partition(|t| t.normalized);
        Ok(Tokenizer {
            vocabulary,
            merges,
            scores,
            settings,
            stages,
            forms: RewriteTables { nfc, charsmap },
            added: Added::new(raw, word.clone()),
            added_normalized: Added::new(normalized, word),
        })
    }

    /// Appends the ids of `text`. If it fails, `out` is as it was.
    pub fn encode(&self, text: &str, options: EncodeOptions, out: &mut Vec<u32>) -> Result<()> {
        self.encode_around(text, options, &[], out)
    }

    /// Appends the ids of a conversation. Special tokens are recognised in the template's own words alone: what comes
    /// from messages and variables is text, as it is [without `parse_special`](EncodeOptions::parse_special), and
    /// neither makes nor breaks one. Nothing is put before or after: templates write what belongs there.
    ///
    /// Of messages that hold no special token's name the ids are those of [`encode`](Tokenizer::encode) with
    /// `parse_special`. If it fails, `out` is as it was.
    pub fn encode_chat(&self, chat: &ChatText, out: &mut Vec<u32>) -> Result<()> {
        let options = EncodeOptions { add_special: false, parse_special: true };
        self.encode_around(chat.text(), options, chat.inert(), out)
    }

    /// Appends the ids of a text with inert stretches. If it fails, `out` is as it was.
    fn encode_around(
        &self,
        text: &str,
        options: EncodeOptions,
        inert: &[Range<u32>],
        out: &mut Vec<u32>,
    ) -> Result<()> {
        let before = out.len();
        let outcome = self.encode_all(text, options, inert, out);
        if outcome.is_err() {
            out.truncate(before);
        }
        outcome
    }

    fn encode_all(&self, text: &str, options: EncodeOptions, inert: &[Range<u32>], out: &mut Vec<u32>) -> Result<()> {
        if text.len() > MAX_TEXT {
            return Err(Error::new(
                Status::OutOfRange,
                format_args!("a text of {} bytes; the longest is {MAX_TEXT}", text.len()),
            ));
        }
        let mut run = EncodeRun { tokenizer: self, scratch: Scratch::default(), out };
        if options.add_special {
            run.push(&self.settings.prefix)?;
        }
        let mut at_start = true;
        let special = Special { parse: options.parse_special, inert, from: 0 };
        self.added.split(text, special, |part| {
            match part {
                Segment::Token(id) => run.push(&[id])?,
                Segment::Text(raw) => {
                    let from = raw.as_ptr().addr() - text.as_ptr().addr();
                    run.between(raw, at_start, Special { from, ..special })?
                }
            }
            at_start = false;
            Ok::<(), Error>(())
        })?;
        if options.add_special {
            run.push(&self.settings.suffix)?;
        }
        Ok(())
    }

    /// How many ids there are. All are below this; some may be unused.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// What a token adds to a text; of a special token its name, of an unused one nothing. `None` if there is no such
    /// id. At most [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES) bytes, which need not be whole characters: see
    /// [`Utf8Stream`](super::Utf8Stream).
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocabulary.bytes(id)
    }

    /// True if the token is special: it steers the model and is no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.kind(id).is_some_and(|k| k & kind::MASK == kind::CONTROL)
    }

    /// The token with exactly these bytes, special tokens by their names.
    pub fn id_of(&self, bytes: &[u8]) -> Option<u32> {
        self.vocabulary.find(bytes)
    }

    /// The bytes of a text from its ids, special tokens left out or by name.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for (index, &id) in ids.iter().enumerate() {
            let bytes = self.token_bytes(id).ok_or_else(|| {
                Error::new(
                    Status::OutOfRange,
                    format_args!("id {id} at index {index}; the vocabulary has {} tokens", self.vocab_size()),
                )
            })?;
            if !(skip_special && self.is_special(id)) {
                let full =
                    |_| Error::new(Status::OutOfMemory, format_args!("no memory for the text of {} ids", ids.len()));
                text.try_reserve(bytes.len()).map_err(full)?;
                text.extend_from_slice(bytes);
            }
        }
        if self.settings.strip_space && text.first() == Some(&b' ') {
            text.remove(0);
        }
        Ok(text)
    }

    /// True if the text of a generation from nothing starts with a space that is not part of it (SentencePiece):
    /// [`decode`](Tokenizer::decode) drops it.
    pub fn strips_space(&self) -> bool {
        self.settings.strip_space
    }

    /// The token that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.settings.bos
    }

    /// The same, if it is put before every text.
    pub fn leading_bos(&self) -> Option<u32> {
        self.bos().filter(|bos| self.settings.prefix.first() == Some(bos))
    }

    /// The token that ends a text, as the chat template names it.
    pub fn eos(&self) -> Option<u32> {
        self.settings.eos
    }

    /// All tokens that end a generation: of a text, of a turn.
    pub fn end_tokens(&self) -> &[u32] {
        &self.settings.end
    }

    /// True if this token ends a generation.
    pub fn is_end(&self, id: u32) -> bool {
        self.settings.end.contains(&id)
    }

    /// Appends the tokens of a piece that nothing cuts any more.
    fn encode_piece(&self, piece: &str, scratch: &mut Scratch, out: &mut Vec<u32>) -> Result<()> {
        let Settings { byte_fallback, unknown, .. } = self.settings;
        match &self.scores {
            Some(scores) => Unigram { vocabulary: &self.vocabulary, scores, byte_fallback, unknown }.encode(piece, out),
            None => self.model().encode(piece, scratch, out),
        }
    }

    fn model(&self) -> Bpe<'_> {
        Bpe {
            vocabulary: &self.vocabulary,
            merges: &self.merges,
            alphabet: self.settings.alphabet,
            byte_fallback: self.settings.byte_fallback,
            unknown: self.settings.unknown,
            fuse_unknown: self.settings.fuse_unknown,
        }
    }
}

/// One call of `encode`.
struct EncodeRun<'a> {
    tokenizer: &'a Tokenizer,
    scratch: Scratch,
    out: &'a mut Vec<u32>,
}

impl EncodeRun<'_> {
    fn push(&mut self, ids: &[u32]) -> Result<()> {
        reserve(self.out, ids.len())?;
        self.out.extend_from_slice(ids);
        Ok(())
    }

    /// Text between added tokens.
    fn between(&mut self, raw: &str, at_start: bool, special: Special<'_>) -> Result<()> {
        let tokenizer = self.tokenizer;
        let (inert, edge) = special.stretch(0);
        if tokenizer.added_normalized.has_special() && special.parse && (inert || edge < raw.len()) {
            let (text, inert) = self.normalize_parts(raw, special)?;
            return self.added(&text, at_start, Special { inert: &inert, from: 0, ..special });
        }
        let text = normalize(&tokenizer.settings.normalizer, &tokenizer.forms, raw)?;
        self.added(&text, at_start, Special::anywhere(special.parse))
    }

    /// Text whose inert stretches are rewritten by themselves, as what lies between them is: so it is known where they
    /// are afterwards, and none of their characters joins one outside.
    fn normalize_parts(&self, raw: &str, special: Special<'_>) -> Result<(String, Vec<Range<u32>>)> {
        let Tokenizer { settings, forms, .. } = self.tokenizer;
        let (mut text, mut stretches) = (String::new(), Vec::new());
        let mut from = 0;
        while from < raw.len() {
            let (inert, edge) = special.stretch(from);
            let edge = edge.min(raw.len());
            // What is put before a text is put there once.
            let rewrites = settings.normalizer.iter().filter(|r| from == 0 || !matches!(r, Rewrite::Prepend(_)));
            let part = normalize(rewrites, forms, &raw[from..edge])?;
            let start = text.len();
            if start + part.len() > MAX_NORMALIZED {
                return Err(Error::new(Status::OutOfRange, format_args!("a text of more than {MAX_NORMALIZED} bytes")));
            }
            let full = |_| Error::new(Status::OutOfMemory, "no memory to normalize a chat");
            text.try_reserve(part.len()).map_err(full)?;
            text.push_str(&part);
            if inert {
                reserve(&mut stretches, 1)?;
                stretches.push(start as u32..text.len() as u32);
            }
            from = edge;
        }
        Ok((text, stretches))
    }

    /// Normalized text.
    fn added(&mut self, text: &str, at_start: bool, special: Special<'_>) -> Result<()> {
        let tokenizer = self.tokenizer;
        let mut at_start = at_start;
        tokenizer.added_normalized.split(text, special, |part| {
            match part {
                Segment::Token(id) => self.push(&[id])?,
                Segment::Text(text) => self.stage(&tokenizer.stages, text, at_start)?,
            }
            at_start = false;
            Ok(())
        })
    }

    /// A piece before the first of `stages`.
    fn stage(&mut self, stages: &[ReadyStage], piece: &str, at_start: bool) -> Result<()> {
        match stages.split_first() {
            None => self.tokenizer.encode_piece(piece, &mut self.scratch, self.out),
            Some((ReadyStage::Split(splitter), _)) if splitter.bytes => self.stage_bytes(stages, piece.as_bytes()),
            Some((ReadyStage::Split(splitter), rest)) => {
                splitter.split(piece, |from, to| self.stage(rest, &piece[from..to], at_start && from == 0))
            }
            Some((ReadyStage::PrefixSpace { first_only }, rest)) => {
                if piece.starts_with(' ') || (*first_only && !at_start) {
                    return self.stage(rest, piece, at_start);
                }
                let spaced = normalize(&[Rewrite::Prepend(" ".into())], &RewriteTables::default(), piece)?;
                self.stage(rest, &spaced, at_start)
            }
        }
    }

    /// A piece that only splits by bytes are left for.
    fn stage_bytes(&mut self, stages: &[ReadyStage], piece: &[u8]) -> Result<()> {
        match stages.split_first() {
            Some((ReadyStage::Split(splitter), rest)) => {
                splitter.split(piece, |from, to| self.stage_bytes(rest, &piece[from..to]))
            }
            _ => self.tokenizer.model().encode_bytes(piece, &mut self.scratch, self.out),
        }
    }
}

/// Fails unless the settings name only tokens that there are, and no work without bounds.
fn check(settings: &Settings, vocab: usize) -> Result<()> {
    let named = [settings.unknown, settings.bos, settings.eos].into_iter().flatten();
    let listed = [&settings.prefix, &settings.suffix, &settings.end].into_iter().flatten().copied();
    let added = settings.added.iter().map(|token| token.id);
    if let Some(id) = named.chain(listed).chain(added).find(|&id| id as usize >= vocab) {
        return Err(bad(format!("the settings name token {id} of {vocab}")));
    }
    if settings.added.iter().any(|token| token.pattern.is_empty()) {
        return Err(bad("an added token has no text"));
    }
    // Every place of a text may be compared with one to its end.
    if let Some(token) = settings.added.iter().find(|token| token.pattern.len() > MAX_PATTERN_BYTES) {
        let (id, len) = (token.id, token.pattern.len());
        return Err(bad(format!("the text of added token {id} has {len} bytes; {MAX_PATTERN_BYTES} are the most")));
    }
    if settings.normalizer.contains(&Rewrite::Nfc) && settings.normalizer.contains(&Rewrite::Nfkc) {
        return Err(bad("both normalization forms"));
    }
    let by_bytes = |stage: &PreTokenizer| matches!(stage, PreTokenizer::Split { bytes: true, .. });
    let last = settings.stages.iter().skip_while(|&stage| !by_bytes(stage));
    if last.clone().next().is_some() && (settings.alphabet != Alphabet::Bytes || settings.unigram)
        || !last.clone().all(by_bytes)
    {
        return Err(bad("a split by bytes where characters are needed"));
    }
    if settings.stages.len() > MAX_STEPS || settings.normalizer.len() > MAX_STEPS {
        return Err(bad(format!("more than {MAX_STEPS} stages or rewrites")));
    }
    if settings.normalizer.iter().any(|r| matches!(r, Rewrite::Replace { from, .. } if from.is_empty())) {
        return Err(bad("a rewrite replaces nothing"));
    }
    Ok(())
}

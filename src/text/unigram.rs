//! Unigram: of all ways to cut a piece into tokens, the one whose scores have the largest sum.
//!
//! Scores are logarithms of probabilities, and the best way is found from left to right (Viterbi): Kudo, *Subword
//! Regularization*, ACL 2018, arXiv:1804.10959, section 3.1. Sums are `f64`, ties go to the way found first (the longer
//! last token), and a character that is no token costs [`UNKNOWN_PENALTY`] more than the least likely token: so
//! Hugging Face's `tokenizers` has it.

use super::layout::{NONE, kind, tensor};
use super::merge::reserve;
use super::tables::{Vocabulary, bad};
use crate::format::{Dtype, File, View};
use crate::{Error, Result, Status};

const UNKNOWN_PENALTY: f64 = 10.0;

/// The bytes of `<0x0A>`.
const BYTE_NAME: usize = 6;

pub(super) struct UnigramScores {
    /// Halves of an `f64` for each token, low first.
    halves: View<u32>,
    /// The score of a character without a token.
    unknown: f64,
}

impl UnigramScores {
    pub fn open(file: &File, vocab: usize) -> Result<UnigramScores> {
        let halves = file.view::<u32>(tensor::SCORES, Dtype::U32, &[vocab, 2])?;
        let mut scores = UnigramScores { halves, unknown: 0.0 };
        let all = (0..vocab as u32).map(|id| scores.of(id)).filter(|score| score.is_finite());
        let least = all.fold(f64::INFINITY, f64::min);
        if least == f64::INFINITY {
            return Err(bad("no token has a score"));
        }
        scores.unknown = least - UNKNOWN_PENALTY;
        Ok(scores)
    }

    /// The score of a token; not finite where it has none.
    fn of(&self, id: u32) -> f64 {
        let at = 2 * id as usize;
        f64::from_bits(u64::from(self.halves[at]) | u64::from(self.halves[at + 1]) << 32)
    }
}

/// The best way to a place in the piece.
#[derive(Clone, Copy)]
struct BestPath {
    score: f64,
    /// Where its last token begins.
    from: u32,
    /// Its last token; [`NONE`] for a character without one.
    id: u32,
}

const UNREACHED: BestPath = BestPath { score: f64::NEG_INFINITY, from: NONE, id: NONE };

/// How pieces become tokens.
pub(super) struct Unigram<'a> {
    pub vocabulary: &'a Vocabulary,
    pub scores: &'a UnigramScores,
    pub byte_fallback: bool,
    pub unknown: Option<u32>,
}

impl Unigram<'_> {
    /// Appends the tokens of one piece.
    pub fn encode(&self, piece: &str, out: &mut Vec<u32>) -> Result<()> {
        let full = |_| Error::new(Status::OutOfMemory, format_args!("no memory to tokenize {} bytes", piece.len()));
        let mut places: Vec<BestPath> = Vec::new();
        places.try_reserve_exact(piece.len() + 1).map_err(full)?;
        places.resize(piece.len() + 1, UNREACHED);
        places[0].score = 0.0;
        for (at, c) in piece.char_indices() {
            let here = places[at].score;
            let mut alone = false;
            let mut reach = |end: usize, id: u32, score: f64| {
                let place = &mut places[end];
                if place.from == NONE || here + score > place.score {
                    *place = BestPath { score: here + score, from: at as u32, id };
                }
            };
            let longest = self.vocabulary.longest().min(piece.len() - at);
            for end in (at + c.len_utf8()..=at + longest).filter(|&end| piece.is_char_boundary(end)) {
                if let Some(id) = self.token(&piece[at..end]) {
                    reach(end, id, self.scores.of(id));
                    alone |= end == at + c.len_utf8();
                }
            }
            if !alone {
                reach(at + c.len_utf8(), NONE, self.scores.unknown);
            }
        }
        // Backwards along the best way; characters without a token that stand together are one.
        let first = out.len();
        let mut end = piece.len();
        while end > 0 {
            let BestPath { mut from, id, .. } = places[end];
            if id != NONE {
                reserve(out, 1)?;
                out.push(id);
            } else {
                while from > 0 && places[from as usize].id == NONE {
                    from = places[from as usize].from;
                }
                self.without_token(&piece[from as usize..end], out)?;
            }
            end = from as usize;
        }
        out[first..].reverse();
        Ok(())
    }

    /// The token that is this text. Special tokens are none: they are recognised before, on request.
    fn token(&self, text: &str) -> Option<u32> {
        let id = self.vocabulary.find_with(text.as_bytes(), kind::MODEL);
        let id = id.filter(|&id| self.vocabulary.kind(id).is_some_and(|k| k & kind::MASK != kind::CONTROL));
        // A text may also say the name of a byte's token, which is then taken for it.
        id.or_else(|| if text.len() == BYTE_NAME { self.byte_name(text) } else { None })
            .filter(|&id| self.scores.of(id).is_finite())
    }

    fn byte_name(&self, text: &str) -> Option<u32> {
        let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
        let upper = digits.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| upper)?;
        self.vocabulary.byte_id(byte).filter(|_| self.byte_fallback)
    }

    /// Appends what stands for characters without a token, backwards.
    fn without_token(&self, text: &str, out: &mut Vec<u32>) -> Result<()> {
        reserve(out, text.len())?;
        if let Some(id) = self.token(text) {
            out.push(id);
        } else if self.byte_fallback && text.bytes().all(|b| self.vocabulary.byte_id(b).is_some()) {
            out.extend(text.bytes().rev().filter_map(|b| self.vocabulary.byte_id(b)));
        } else {
            out.extend(self.unknown);
        }
        Ok(())
    }
}

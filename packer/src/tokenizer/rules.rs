//! Reads the rules of a `tokenizer.json`: normalizer, pre-tokenizer, post-processor, decoder.

use super::automaton::{self, AutomatonTables};
use super::charsmap::{self, Replacements, is_unmarking};
use super::pattern::{Pattern, PatternText};
use super::{GPT2_PATTERN, unsupported};
use rasp::Result;
use rasp::text::{Alphabet, Join, PreTokenizer, Rewrite};
use serde_json::Value;
use unicode_categories::UnicodeCategories;

/// What SentencePiece writes for a space.
pub(super) const MARK: char = '▁';

/// The rules, as rasp has them.
pub(super) struct Rules {
    pub alphabet: Alphabet,
    pub normalizer: Vec<Rewrite>,
    pub stages: Vec<PreTokenizer>,
    /// What the stages number.
    pub automata: Vec<AutomatonTables>,
    pub prefix: Vec<u32>,
    pub suffix: Vec<u32>,
    pub strip_space: bool,
    /// Tokens named `<0x0A>` are bytes.
    pub byte_tokens: bool,
    /// To `tokenizers`, normalized text has marks for spaces.
    pub marks: bool,
    /// What [`Rewrite::Charsmap`] goes by.
    pub charsmap: Option<Replacements>,
}

/// The text with spaces for marks: how a token of SentencePiece's looks in a text.
pub(super) fn unmark(text: &str) -> String {
    text.replace(MARK, " ")
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("?")
}

fn refuse<T>(part: &str, value: &Value) -> Result<T> {
    Err(unsupported(format!("{part} {value}")))
}

/// The steps of a part: of a sequence, those inside of it.
fn steps<'v>(value: &'v Value, inner: &str) -> Vec<&'v Value> {
    match value {
        Value::Null => Vec::new(),
        _ if kind(value) == "Sequence" => {
            let parts = value.get(inner).and_then(Value::as_array);
            parts.into_iter().flatten().flat_map(|part| steps(part, inner)).collect()
        }
        _ => vec![value],
    }
}

fn is_true(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

/// The `String` of a pattern; a `Regex` is none.
fn literal(value: &Value) -> Option<&str> {
    value.get("pattern").and_then(|p| text(p, "String"))
}

/// Reads the rules of a canonical `tokenizer.json`.
pub(super) fn read(json: &Value) -> Result<Rules> {
    let part = |name: &str| json.get(name).unwrap_or(&Value::Null);
    let (alphabet, strip_space, byte_tokens) = read_decoder(part("decoder"))?;
    let mut rules = Rules {
        alphabet,
        normalizer: Vec::new(),
        stages: Vec::new(),
        automata: Vec::new(),
        prefix: Vec::new(),
        suffix: Vec::new(),
        strip_space,
        byte_tokens,
        marks: false,
        charsmap: None,
    };
    rules.marks = rules.read_normalizer(part("normalizer"))?;
    let split = rules.read_pre_tokenizer(part("pre_tokenizer"))?;
    match alphabet {
        Alphabet::Bytes if !split => return Err(unsupported("a ByteLevel decoder without its pre-tokenizer")),
        Alphabet::Chars if !(rules.marks || split) => {
            return Err(unsupported(format!("a decoder that makes spaces of {MARK:?}, which no rule writes")));
        }
        _ => {}
    }
    rules.read_post_processor(part("post_processor"))?;
    Ok(rules)
}

/// How tokens become text: the alphabet, whether one leading space is dropped, whether there are byte tokens.
fn read_decoder(decoder: &Value) -> Result<(Alphabet, bool, bool)> {
    let steps = steps(decoder, "decoders");
    match steps.as_slice() {
        [only] if kind(only) == "ByteLevel" => return Ok((Alphabet::Bytes, false, false)),
        [only] if kind(only) == "Metaspace" && text(only, "replacement") == Some("▁") => {
            return Ok((Alphabet::Chars, text(only, "prepend_scheme") != Some("never"), false));
        }
        _ => {}
    }
    let (mut marks, mut strip, mut bytes) = (false, false, false);
    for step in steps {
        match kind(step) {
            "Replace" if literal(step) == Some("▁") && text(step, "content") == Some(" ") => marks = true,
            "ByteFallback" => bytes = true,
            "Fuse" => {}
            "Strip" if text(step, "content") == Some(" ") && step["start"] == 1 && step["stop"] == 0 => strip = true,
            _ => return refuse("decoder", decoder),
        }
    }
    if !marks {
        return refuse("decoder", decoder);
    }
    Ok((Alphabet::Chars, strip, bytes))
}

impl Rules {
    /// True if the normalizer writes marks for spaces. rasp goes the other way, and writes spaces for marks.
    fn read_normalizer(&mut self, normalizer: &Value) -> Result<bool> {
        let chars = self.alphabet == Alphabet::Chars;
        let plain = |s: &str| if chars { unmark(s) } else { s.to_string() };
        let mut marks = false;
        for step in steps(normalizer, "normalizers") {
            match (kind(step), literal(step), text(step, "content"), text(step, "prepend")) {
                ("NFC", ..) => self.normalizer.push(Rewrite::Nfc),
                ("NFKC", ..) => self.normalizer.push(Rewrite::Nfkc),
                ("Lowercase", ..) => self.normalizer.push(Rewrite::Lowercase),
                // It tells marks from spaces, which rasp does not behind a step that writes them.
                ("Precompiled", ..) if self.charsmap.is_none() && !(marks || self.writes_marks()) => {
                    let Some(map) = text(step, "precompiled_charsmap") else { return refuse("normalizer", step) };
                    self.charsmap = Some(charsmap::read(map)?);
                    self.normalizer.push(Rewrite::Charsmap);
                }
                ("Prepend", _, _, Some(prefix)) => self.normalizer.push(Rewrite::Prepend(plain(prefix))),
                ("Replace", Some(" "), Some("▁"), _) if chars => marks = true,
                ("Replace", Some(from), Some(to), _) if !(from.is_empty() || chars && from.contains([' ', MARK])) => {
                    self.normalizer.push(Rewrite::Replace { from: from.into(), to: plain(to) });
                }
                _ => return refuse("normalizer", step),
            }
        }
        if marks {
            self.unmark_text();
        }
        Ok(marks)
    }

    /// Whether a step may have written a mark, as which rasp writes a space.
    fn writes_marks(&self) -> bool {
        let writes = |step: &Rewrite| matches!(step, Rewrite::Prepend(_) | Rewrite::Replace { .. });
        self.alphabet == Alphabet::Chars && self.normalizer.iter().any(writes)
    }

    /// Marks of a text become spaces: first of all, but behind a map of characters.
    fn unmark_text(&mut self) {
        let unmark = Rewrite::Replace { from: MARK.into(), to: " ".into() };
        let map = self.normalizer.iter().position(|step| *step == Rewrite::Charsmap);
        let at = map.map_or(0, |map| map + 1);
        if self.normalizer.get(at) != Some(&unmark) {
            self.normalizer.insert(at, unmark);
        }
    }

    /// Adds a split of a text that looks so.
    fn split(&mut self, pattern: Pattern, text: PatternText, behavior: Behavior) -> Result<()> {
        let automaton = automaton::compile(&Pattern { text, ..pattern })?;
        // Such as Gemma 3's split at spaces, when there are none any more.
        if automaton.matches_nothing() && !behavior.drop_gaps {
            return Ok(());
        }
        let Behavior { drop_gaps, drop_matches, join } = behavior;
        let table = self.add_table(automaton);
        self.stages.push(PreTokenizer::Split {
            table,
            drop_gaps,
            drop_matches,
            join,
            bytes: text == PatternText::Bytes,
        });
        Ok(())
    }

    fn add_table(&mut self, automaton: AutomatonTables) -> usize {
        self.automata.push(automaton);
        self.automata.len() - 1
    }

    /// The number of the table whose matches are the characters of words.
    pub fn word_table(&mut self) -> Result<usize> {
        let automaton = automaton::compile(&Pattern::parse(r"\w")?)?;
        Ok(self.add_table(automaton))
    }

    /// True if there is a `ByteLevel` or `Metaspace`, whichever the alphabet asks for.
    fn read_pre_tokenizer(&mut self, pre_tokenizer: &Value) -> Result<bool> {
        let all = steps(pre_tokenizer, "pretokenizers");
        let chars = self.alphabet == Alphabet::Chars;
        let mut look = if self.marks { PatternText::Marks } else { PatternText::Plain };
        let is_unmarked = self.normalizer == [Rewrite::Charsmap] && self.charsmap.as_ref().is_some_and(is_unmarking);
        let mut found = false;
        for (i, step) in all.iter().enumerate() {
            let first = i == 0;
            match kind(step) {
                "ByteLevel" if !chars && !found => {
                    if is_true(step, "add_prefix_space") {
                        self.stages.push(PreTokenizer::PrefixSpace { first_only: false });
                    }
                    if is_true(step, "use_regex") {
                        self.split(Pattern::parse(GPT2_PATTERN)?, PatternText::Plain, Behavior::ISOLATED)?;
                    }
                    (look, found) = (PatternText::Bytes, true);
                }
                "Metaspace" if chars && (first || is_unmarked && !found) => {
                    if text(step, "replacement") != Some("▁") {
                        return refuse("pre-tokenizer", step);
                    }
                    self.unmark_text();
                    match text(step, "prepend_scheme") {
                        Some("always") => self.stages.push(PreTokenizer::PrefixSpace { first_only: false }),
                        Some("first") => self.stages.push(PreTokenizer::PrefixSpace { first_only: true }),
                        _ => {}
                    }
                    if is_true(step, "split") {
                        self.split(Pattern::parse(" [^ ]*|[^ ]+")?, PatternText::Plain, Behavior::ISOLATED)?;
                    }
                    (look, found) = (PatternText::Marks, true);
                }
                // Before a Metaspace a text may have marks and spaces, which rasp does not tell apart.
                _ if chars && look != PatternText::Marks && !is_unmarked => return refuse("pre-tokenizer", step),
                _ => match split_of(step)? {
                    Some((pattern, behavior)) => self.split(pattern, look, behavior)?,
                    None => return refuse("pre-tokenizer", step),
                },
            }
        }
        Ok(found)
    }

    fn read_post_processor(&mut self, post_processor: &Value) -> Result<()> {
        for step in steps(post_processor, "processors") {
            let id = |key: &str| step[key][1].as_u64().and_then(|id| u32::try_from(id).ok());
            match kind(step) {
                // It only moves offsets, which rasp does not give.
                "ByteLevel" => {}
                "TemplateProcessing" => self.read_template(step)?,
                "RobertaProcessing" | "BertProcessing" => match (id("cls"), id("sep")) {
                    (Some(cls), Some(sep)) => {
                        self.prefix.insert(0, cls);
                        self.suffix.push(sep);
                    }
                    _ => return refuse("post-processor", step),
                },
                _ => return refuse("post-processor", step),
            }
        }
        Ok(())
    }

    fn read_template(&mut self, step: &Value) -> Result<()> {
        let (mut before, mut after) = (Vec::new(), None);
        for piece in step["single"].as_array().into_iter().flatten() {
            if piece.get("Sequence").is_some() && after.is_none() {
                after = Some(Vec::new());
            } else if let Some(name) = piece.get("SpecialToken").and_then(|s| text(s, "id")) {
                let ids = step["special_tokens"][name]["ids"].as_array().into_iter().flatten();
                let ids = ids.filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok());
                after.as_mut().unwrap_or(&mut before).extend(ids);
            } else {
                return refuse("post-processor", step);
            }
        }
        let Some(after) = after else { return refuse("post-processor", step) };
        // A sequence of templates wraps the text from the inside out.
        self.prefix.splice(0..0, before);
        self.suffix.extend(after);
        Ok(())
    }
}

/// What becomes of a split's matches and of what lies between them.
#[derive(Clone, Copy)]
struct Behavior {
    drop_gaps: bool,
    drop_matches: bool,
    join: Join,
}

impl Behavior {
    const ISOLATED: Behavior = Behavior { drop_gaps: false, drop_matches: false, join: Join::None };
    const DROP_MATCHES: Behavior = Behavior { drop_matches: true, ..Behavior::ISOLATED };
    const DROP_GAPS: Behavior = Behavior { drop_gaps: true, ..Behavior::ISOLATED };

    /// By its name; inverted, matches and gaps change places.
    fn named(name: Option<&str>, invert: bool) -> Option<Behavior> {
        let join = |join| Behavior { join, ..Behavior::ISOLATED };
        Some(match (name?, invert) {
            ("Isolated", _) => Behavior::ISOLATED,
            ("Removed", false) => Behavior::DROP_MATCHES,
            ("Removed", true) => Behavior::DROP_GAPS,
            // Gaps never follow one another.
            ("Contiguous", false) => join(Join::Matches),
            ("Contiguous", true) => Behavior::ISOLATED,
            ("MergedWithPrevious", false) => join(Join::Before),
            ("MergedWithNext", false) => join(Join::After),
            _ => return None,
        })
    }
}

/// The pattern of a step that only splits, and what becomes of its parts; `None` if it is no such step.
fn split_of(step: &Value) -> Result<Option<(Pattern, Behavior)>> {
    let (char, behavior) = (|key: &str| text(step, key).filter(|c| c.chars().count() == 1), text(step, "behavior"));
    Ok(match kind(step) {
        "Digits" => {
            let together = !is_true(step, "individual_digits");
            Some((Pattern::chars(char::is_numeric, together), Behavior::ISOLATED))
        }
        "Punctuation" => Behavior::named(behavior, false).map(|behavior| {
            let is_punctuation = |c: char| c.is_ascii_punctuation() || c.is_punctuation();
            (Pattern::chars(is_punctuation, false), behavior)
        }),
        "WhitespaceSplit" => Some((Pattern::chars(char::is_whitespace, false), Behavior::DROP_MATCHES)),
        "Whitespace" => Some((Pattern::parse(r"\w+|[^\w\s]+")?, Behavior::DROP_GAPS)),
        "CharDelimiterSplit" => match char("delimiter") {
            Some(c) => Some((Pattern::parse(&regex_syntax::escape(c))?, Behavior::DROP_MATCHES)),
            None => None,
        },
        "Split" => {
            let escaped = literal(step).filter(|s| !s.is_empty()).map(regex_syntax::escape);
            let regex = step.get("pattern").and_then(|p| text(p, "Regex"));
            match (escaped.as_deref().or(regex), Behavior::named(behavior, is_true(step, "invert"))) {
                (Some(regex), Some(behavior)) => match Pattern::parse(regex)?.cut_before(behavior.join == Join::None) {
                    (pattern, false) => Some((pattern, behavior)),
                    // Of empty matches nothing is left but the cuts.
                    (pattern, true) => Some((pattern, Behavior::ISOLATED)),
                },
                _ => None,
            }
        }
        _ => None,
    })
}

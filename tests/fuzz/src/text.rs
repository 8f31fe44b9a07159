//! Tokenizers over any text, the text of tokens over any tokens, and the streams that put characters together.

use crate::Target;
use crate::base::{Aligned, Source, error, load, read, sound};
use rasp::capi::*;
use rasp::text::Utf8Stream;
use std::ptr::null;

/// Input: a kind of test, and what it takes.
pub struct Text {
    models: Vec<*mut rasp_model>,
    // After the models, which use them.
    _files: Vec<Aligned>,
}

const VOCABULARY: u32 = 288;

impl Text {
    pub fn new() -> Text {
        let files = ["bytes.rasp", "unigram.rasp"].map(|name| Aligned::new(&[&read(name)]));
        let models: Vec<_> = files.iter().map(|file| load(file.get(), false)).collect();
        assert!(models.iter().all(|model| !model.is_null()));
        Text { models, _files: files.into() }
    }

    fn encode(&self, model: usize, text: &str, flags: u32) -> Vec<u32> {
        let (mut tokens, mut count, mut error) = (vec![0; 4 * text.len() + 64], 0, error());
        let (start, room) = (tokens.as_mut_ptr(), tokens.len());
        // SAFETY: the model is alive; places of our own.
        let status = unsafe {
            rasp_tokenize(
                self.models[model],
                text.as_ptr().cast(),
                text.len(),
                flags,
                start,
                room,
                &mut count,
                &mut error,
            )
        };
        assert_eq!(sound(status, &error), 0, "any text can be tokenized: {}", crate::base::words(&error));
        tokens.truncate(count);
        assert!(tokens.iter().all(|&id| id < VOCABULARY));
        tokens
    }

    fn decode(&self, model: usize, tokens: &[u32], flags: u32) -> Option<Vec<u8>> {
        let (mut length, mut error) = (0, error());
        let mut text = vec![0; 64 * tokens.len() + 64];
        // SAFETY: the model is alive; places of our own.
        let status = unsafe {
            let (start, room) = (text.as_mut_ptr().cast(), text.len());
            rasp_detokenize(
                self.models[model],
                tokens.as_ptr(),
                tokens.len(),
                flags,
                start,
                room,
                &mut length,
                &mut error,
            )
        };
        text.truncate(length);
        (sound(status, &error) == 0).then_some(text)
    }

    /// A text to tokens and back.
    fn there_and_back(&self, flags: u32, text: &str) {
        for model in 0..self.models.len() {
            let tokens = self.encode(model, text, flags & 3);
            let back = self.decode(model, &tokens, 1).expect("tokens of ours have a text");
            // What no normalizer and no added token changes comes back as it was.
            if model == 0 && flags & 3 == 0 && text.is_ascii() && !text.contains("<mask>") && !text.contains("word") {
                assert_eq!(back, text.as_bytes());
            }
        }
    }

    /// Tokens to bytes: of all together, as of each; and the same as text, in whatever pieces.
    fn tokens(&self, mut source: Source) {
        let mut tokens = Vec::new();
        while !source.is_empty() {
            tokens.push(source.short() as u32 % (VOCABULARY + 1));
        }
        let inside = tokens.iter().all(|&token| token < VOCABULARY);
        for model in 0..self.models.len() {
            let whole = self.decode(model, &tokens, 0);
            assert_eq!(whole.is_some(), inside);
            let mut stream = rasp_text_stream::default();
            let mut shown = Vec::new();
            let mut together = Vec::new();
            for &token in tokens.iter().filter(|&&token| token < VOCABULARY) {
                let (mut bytes, mut n, mut error) = (null(), 0, error());
                // SAFETY: the model is alive; the bytes are its own.
                let piece = unsafe {
                    assert_eq!(rasp_token_bytes(self.models[model], token, &mut bytes, &mut n, &mut error), 0);
                    if n == 0 { &[][..] } else { std::slice::from_raw_parts(bytes, n) }
                };
                together.extend_from_slice(piece);
                // No bytes would end the text: a token that has none is no piece of it.
                if !piece.is_empty() {
                    push(&mut stream, piece, &mut shown);
                }
            }
            push(&mut stream, &[], &mut shown);
            assert_eq!(String::from_utf8_lossy(&together).as_bytes(), shown);
            if let Some(whole) = whole {
                // The first model's tokens are its text; the second's has its first space taken off.
                assert!(model > 0 || whole == together);
            }
        }
    }
}

fn push(stream: &mut rasp_text_stream, piece: &[u8], shown: &mut Vec<u8>) {
    let (mut length, mut error) = (0, error());
    let mut text = vec![0; 3 * piece.len() + RASP_TEXT_STREAM_EXTRA];
    // SAFETY: places of our own.
    let status = unsafe {
        let (start, room) = (text.as_mut_ptr(), text.len());
        rasp_text_stream_push(stream, piece.as_ptr(), piece.len(), start.cast(), room, &mut length, &mut error)
    };
    assert_eq!(sound(status, &error), 0);
    assert!(std::str::from_utf8(&text[..length]).is_ok(), "whole characters only");
    shown.extend_from_slice(&text[..length]);
}

/// Bytes cut anywhere are the text that they are together.
fn cut_anywhere(mut source: Source) {
    let cuts = source.bytes::<8>();
    let bytes = source.0;
    let mut stream = Utf8Stream::new();
    let (mut shown, mut rest) = (String::new(), bytes);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((usize::from(*cut) % 7 + 1).min(rest.len()));
        stream.push(piece, |text| shown.push_str(text));
        rest = after;
    }
    stream.finish(|text| shown.push_str(text));
    assert_eq!(shown, String::from_utf8_lossy(bytes));
}

/// The state of a stream is the host's, and may hold anything.
fn any_stream(mut source: Source) {
    let mut stream = rasp_text_stream { pending: source.bytes(), length: source.byte() };
    let (mut length, mut error) = (0, error());
    let mut text = vec![0; 3 * source.0.len() + RASP_TEXT_STREAM_EXTRA];
    // SAFETY: places of our own.
    unsafe {
        let (start, room) = (text.as_mut_ptr(), text.len());
        let (bytes, n) = (source.0.as_ptr(), source.0.len());
        sound(rasp_text_stream_push(&mut stream, bytes, n, start, room, &mut length, &mut error), &error);
    }
}

impl Target for Text {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let texts = ["the word <mask>  aaaa", "th\u{e9}e e\u{301} it's  12 \u{ac00}\u{fb01}<|end|>", "a\r\n\t b"];
        let mut seeds: Vec<Vec<u8>> = Vec::new();
        for kind in 0..7u8 {
            seeds.extend(texts.iter().map(|text| [&[kind], text.as_bytes()].concat()));
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) {
        let mut source = Source(&input[..input.len().min(2048)]);
        match source.byte() % 7 {
            flags @ 0..4 => self.there_and_back(flags.into(), &String::from_utf8_lossy(source.0)),
            4 => self.tokens(source),
            5 => cut_anywhere(source),
            _ => any_stream(source),
        }
    }
}

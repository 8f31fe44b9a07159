//! `.rasp` files: their header, and the tables of their tokenizer.

use crate::Target;
use crate::base::{Aligned, Source, load, read};
use crate::session::{use_model, use_tokenizer};
use rasp::capi::rasp_free;

/// A packed file: the JSON of its header, without what pads it, and its tensors.
pub fn parts(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    (file[8..8 + length].trim_ascii_end().to_vec(), file[8 + length..].to_vec())
}

pub fn put_together(header: &[u8], data: &[u8]) -> Aligned {
    let length = (8 + header.len()).next_multiple_of(64) - 8;
    let spaces = [b' '; 64];
    Aligned::new(&[&(length as u64).to_le_bytes(), header, &spaces[..length - header.len()], data])
}

/// Input: the header's JSON; then, after a byte of 0, patches of the data, six bytes each: where (in quarters of
/// kilobytes and bytes), and what. Or, after a first byte of 255, a whole file.
pub struct Header {
    bases: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Header {
    pub fn new() -> Header {
        Header { bases: ["bytes.rasp", "unigram.rasp"].map(|name| parts(&read(name))).to_vec() }
    }
}

impl Target for Header {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.bases.iter().map(|(header, _)| header.clone()).collect()
    }

    fn run(&mut self, input: &[u8]) {
        if let Some((255, file)) = input.split_first() {
            let file = Aligned::new(&[file]);
            let model = load(file.get(), true);
            if !model.is_null() {
                use_model(model);
                // SAFETY: it is not used any more.
                unsafe { rasp_free(model) };
            }
            return;
        }
        let end = input.iter().position(|&byte| byte == 0).unwrap_or(input.len());
        let (header, patches) = input.split_at(end);
        // Whole numbers are in the second base alone.
        let second = header.windows(4).any(|word| word == b"\"I8\"");
        let data = &mut self.bases[usize::from(second)].1;
        let mut undo = Vec::new();
        let mut patches = Source(&patches[patches.len().min(1)..]);
        while !patches.is_empty() && undo.len() < 32 {
            let at = (patches.short() * 4).min(data.len() - 4);
            undo.push((at, <[u8; 4]>::try_from(&data[at..at + 4]).expect("four bytes")));
            data[at..at + 4].copy_from_slice(&patches.bytes::<4>());
        }
        let file = put_together(header, data);
        undo.iter().rev().for_each(|(at, old)| data[*at..at + 4].copy_from_slice(old));
        let model = load(file.get(), input.len() % 2 == 1);
        if !model.is_null() {
            use_model(model);
            // SAFETY: it is not used any more.
            unsafe { rasp_free(model) };
        }
    }
}

/// Input: which file, how many patches, the patches (a tensor of the tokenizer's, a place in it, what), and a text.
pub struct Tables {
    bases: Vec<Base>,
}

struct Base {
    file: Aligned,
    /// Where each table of the tokenizer lies in the file.
    tables: Vec<std::ops::Range<usize>>,
    vocabulary: u32,
}

impl Tables {
    pub fn new() -> Tables {
        let base = |name: &str| {
            let (header, data) = parts(&read(name));
            let file = put_together(&header, &data);
            let start = file.get().len() - data.len();
            let bytes = rasp::format::Bytes::copy(file.get()).expect("memory");
            let opened = rasp::format::File::open(bytes).expect("a good file");
            let names = opened.tensors().map(|(name, _, _)| name).filter(|name| name.starts_with("tokenizer."));
            let tables = names.map(|name| opened.span(name).expect("it is there"));
            let tables: Vec<_> = tables.filter(|table| table.len() >= 4).collect();
            assert!(tables.iter().all(|table| table.start >= start));
            Base { file, tables, vocabulary: 288 }
        };
        Tables { bases: ["bytes.rasp", "unigram.rasp"].map(base).into() }
    }
}

impl Target for Tables {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let text = "the word <mask> aaaa th\u{e9}e e\u{301}\u{fb01} it's  12 \u{ac00}";
        let mut seeds = Vec::new();
        for (base, which) in self.bases.iter().zip(0u8..) {
            seeds.push([&[which, 0], text.as_bytes()].concat());
            for table in 0..base.tables.len() as u8 {
                seeds.push([&[which, 1, table, 0, 0, 1, 0, 0, 0], text.as_bytes()].concat());
            }
        }
        seeds
    }

    fn run(&mut self, input: &[u8]) {
        let mut source = Source(input);
        let which = usize::from(source.byte()) % self.bases.len();
        let base = &self.bases[which];
        let mut file = Aligned::new(&[base.file.get()]);
        for _ in 0..source.byte() % 16 {
            let table = &base.tables[usize::from(source.byte()) % base.tables.len()];
            let at = table.start + (source.short() * 2) % (table.len() - 3);
            file.get_mut()[at..at + 4].copy_from_slice(&source.bytes::<4>());
        }
        let model = load(file.get(), false);
        if !model.is_null() {
            use_tokenizer(model, base.vocabulary, &String::from_utf8_lossy(&source.0[..source.0.len().min(512)]));
            // SAFETY: it is not used any more.
            unsafe { rasp_free(model) };
        }
    }
}

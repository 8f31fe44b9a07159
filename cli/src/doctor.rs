//! `rasp doctor`: what a file is, what this machine can do with it, and which settings to use.

use crate::bench::{Samples, Spread, measure, prompt};
use crate::inspect::Sizes;
use crate::stream::StreamBuffer;
use crate::{number, say};
use rasp::format::File;
use rasp::{Model, Result, Session, SessionOptions};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Rounds that are counted, and seconds that one measurement should take.
const ROUNDS: usize = 3;
const SECONDS: f64 = 0.4;

/// Tokens of the prompt, and of the context whose memory is stated.
const PROMPT: usize = 32;
const CONTEXT: usize = 4096;

/// What one number of threads reaches.
struct ThreadSpeed {
    threads: usize,
    /// Gigabytes a second that so many threads read from memory.
    stream: f64,
    dense: MedianSpeed,
    /// At the sparsity that is judged; a dense file has none.
    sparse: Option<MedianSpeed>,
}

/// Medians of one sparsity.
#[derive(Clone, Copy)]
struct MedianSpeed {
    tokens_s: f64,
    bytes_per_token: f64,
}

impl MedianSpeed {
    fn of(samples: &Samples) -> MedianSpeed {
        MedianSpeed { tokens_s: Spread::of(&samples.decode).median, bytes_per_token: samples.bytes_per_token }
    }

    fn gb_s(self) -> f64 {
        self.tokens_s * self.bytes_per_token / 1e9
    }
}

impl ThreadSpeed {
    /// At the setting that sessions should have.
    fn best(&self) -> MedianSpeed {
        self.sparse.filter(|sparse| sparse.tokens_s > self.dense.tokens_s).unwrap_or(self.dense)
    }
}

pub fn run(args: &Args) -> Result<()> {
    let path = crate::cache::packed(&args.model)?;
    let model = crate::load(&path)?;
    let file = crate::open(&path)?;
    let judged = judged(&model);
    let speeds = thread_counts(crate::all_threads())
        .map(|threads| {
            say(&format!("measuring with {threads} thread{}", if threads == 1 { "" } else { "s" }));
            speed(&model, threads, judged)
        })
        .collect::<Result<Vec<_>>>()?;
    let context = CONTEXT.min(model.config().context_length);
    let session_bytes = Session::plan(&model, &SessionOptions { context, ..Default::default() })?.size;
    let verdict = verdict(&speeds, judged);
    let findings = Findings { model: &model, file: &file, context, session_bytes, judged, speeds, verdict };
    if args.json { crate::put_json(&findings.json()) } else { crate::put(&findings.text()) }
}

struct Findings<'a> {
    model: &'a Model,
    file: &'a File,
    /// Tokens of the session whose bytes are stated.
    context: usize,
    session_bytes: usize,
    judged: f32,
    speeds: Vec<ThreadSpeed>,
    verdict: Vec<String>,
}

/// The sparsity whose worth is measured: what sessions start at, or the sparsest level of at most a half.
fn judged(model: &Model) -> f32 {
    match model.default_sparsity() {
        0.0 => model.recipe().sparsity.iter().copied().filter(|&level| level <= 0.5).fold(0.0, f32::max),
        default => default,
    }
}

/// 1, 2, 4 and so on, and all that there are.
fn thread_counts(all: usize) -> impl Iterator<Item = usize> {
    let doubling = std::iter::successors(Some(1), |n| Some(2 * n)).take_while(move |&n| n < all);
    doubling.chain([all.min(rasp::session::MAX_THREADS)])
}

fn speed(model: &Arc<Model>, threads: usize, sparsity: f32) -> Result<ThreadSpeed> {
    const MOST: usize = 64;
    let options = SessionOptions { context: PROMPT + MOST + 2, threads, ..Default::default() };
    let mut session = Session::open(model.clone(), &options)?;
    let prompt = prompt(model, PROMPT)?;
    let (mut dense, mut sparse) = (Samples::new(0.0), Samples::new(sparsity));
    // The first token brings the file into memory, the next ones tell how many can be measured.
    measure(&mut session, &prompt, 1, &mut dense, false)?;
    let start = Instant::now();
    measure(&mut session, &prompt, 2, &mut dense, false)?;
    let n = ((2.0 * SECONDS / start.elapsed().as_secs_f64()) as usize).clamp(4, MOST);
    let stream = StreamBuffer::new(threads)?;
    let mut streams = Vec::new();
    for _ in 0..ROUNDS {
        measure(&mut session, &prompt, n, &mut dense, true)?;
        if sparsity > 0.0 {
            measure(&mut session, &prompt, n, &mut sparse, true)?;
        }
        streams.push(stream.gb_s());
    }
    Ok(ThreadSpeed {
        threads,
        stream: Spread::of(&streams).median,
        dense: MedianSpeed::of(&dense),
        sparse: (sparsity > 0.0).then(|| MedianSpeed::of(&sparse)),
    })
}

/// What to do, a sentence each. Of at least one number of threads.
fn verdict(speeds: &[ThreadSpeed], judged: f32) -> Vec<String> {
    let fastest = speeds.iter().map(|s| s.best().tokens_s).fold(0.0, f64::max);
    // A twentieth is what medians of a shared machine differ by.
    let Some(chosen) = speeds.iter().find(|s| s.best().tokens_s >= 0.95 * fastest) else { return vec![] };
    let best = chosen.best();
    let mut lines =
        vec![format!("use {} of {} threads: --threads {0}", chosen.threads, speeds[speeds.len() - 1].threads)];
    let judged = number(judged);
    lines.push(match chosen.sparse {
        None => "the file is dense: packed with levels (see `rasp pack --sparsity`) it can read less a token".into(),
        Some(sparse) => match sparse.tokens_s / chosen.dense.tokens_s {
            gain if gain < 1.03 => format!(
                "sparsity {judged} does not pay here ({gain:.2} times the dense speed): --sparsity 0 costs no quality"
            ),
            gain => format!("sparsity {judged} pays: {gain:.2} times the dense speed"),
        },
    });
    let share = best.gb_s() / chosen.stream;
    lines.push(match share {
        share if share >= 0.6 => {
            format!("memory is the limit ({:.0}% of what it streams): fewer bytes are faster", share * 100.0)
        }
        share => format!(
            "arithmetic is the limit ({:.0}% of what memory streams): fewer bytes gain less than their share",
            share * 100.0
        ),
    });
    lines
}

impl Findings<'_> {
    fn json(&self) -> Value {
        let model = self.model;
        let pace = |pace: MedianSpeed| json!({"decode_tok_s": pace.tokens_s, "bytes_per_token": pace.bytes_per_token});
        let speeds = self.speeds.iter().map(|s| {
            json!({"threads": s.threads, "stream_gb_s": s.stream, "dense": pace(s.dense), "sparse": s.sparse.map(pace)})
        });
        json!({
            "name": model.config().name, "dtype": model.weight_type().name(), "file_bytes": model.file_size(),
            "checksums": self.file.has_checksums(), "chat": model.chat_template().is_some(), "context": self.context,
            "session_bytes": self.session_bytes, "default_sparsity": number(model.default_sparsity()),
            "judged_sparsity": number(self.judged), "isa": model.isa().name(), "speeds": speeds.collect::<Vec<_>>(),
            "verdict": self.verdict,
        })
    }

    fn text(&self) -> String {
        let model = self.model;
        let mb = |bytes: usize| format!("{:.0} MB", bytes as f64 / 1e6);
        let mut text = format!(
            "{} ({}), {:.0} million parameters in {}, {}\n",
            model.config().name,
            model.config().architecture,
            Sizes::of(self.file).parameters as f64 / 1e6,
            model.weight_type().name(),
            mb(model.file_size())
        );
        text += &format!(
            "checksums: {}; chat template: {}; a session of {} tokens takes {} more\n",
            if self.file.has_checksums() { "yes, `rasp verify` compares them" } else { "none" },
            match model.chat_template().map(|template| template.check()) {
                None => "none".to_string(),
                Some(Ok(())) => "yes".into(),
                Some(Err(error)) => format!("cannot be used, {}", error.message()),
            },
            self.context,
            mb(self.session_bytes)
        );
        text += &self.levels();
        text += &format!("\n{}; tokens a second, and the share of what memory streams:\n", model.isa().name());
        let at = if self.judged > 0.0 { format!("at {}", number(self.judged)) } else { String::new() };
        text += &format!("threads   stream GB/s          dense{at:>15}\n");
        for s in &self.speeds {
            let cell = |pace: MedianSpeed| format!("{:>9.1} {:>4.0}%", pace.tokens_s, 100.0 * pace.gb_s() / s.stream);
            let sparse = s.sparse.map_or(String::new(), cell);
            text += &format!("{:>7} {:>13.1}{}{sparse}\n", s.threads, s.stream, cell(s.dense));
        }
        text.push('\n');
        for line in &self.verdict {
            text += &format!("- {line}\n");
        }
        text
    }

    /// The sparsities there are, and why sessions start at the one they do.
    fn levels(&self) -> String {
        let recipe = self.model.recipe();
        if recipe.sparsity.is_empty() {
            return "sparsity: none, the file is dense\n".into();
        }
        let level = |(n, &level): (usize, &f32)| match recipe.loss.get(n) {
            Some(loss) => format!("{} ({:+.1}%)", number(level), loss * 100.0),
            None => number(level).to_string(),
        };
        let levels: Vec<String> = recipe.sparsity.iter().enumerate().map(level).collect();
        let costs = if recipe.loss.is_empty() { "" } else { " (how much perplexity rose on held-back text)" };
        let start = crate::session_start(recipe.default_sparsity, recipe.quality);
        format!("sparsity: {}{costs}\n          {start}\n", levels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(threads: usize, stream: f64, dense: f64, sparse: Option<f64>) -> ThreadSpeed {
        let pace = |tokens_s, bytes_per_token| MedianSpeed { tokens_s, bytes_per_token };
        ThreadSpeed { threads, stream, dense: pace(dense, 1e8), sparse: sparse.map(|sparse| pace(sparse, 6e7)) }
    }

    #[test]
    fn threads_double_up_to_all() {
        let counts = |all| thread_counts(all).collect::<Vec<_>>();
        assert_eq!(counts(1), [1]);
        assert_eq!(counts(2), [1, 2]);
        assert_eq!(counts(6), [1, 2, 4, 6]);
        assert_eq!(counts(8), [1, 2, 4, 8]);
    }

    #[test]
    fn a_verdict_names_threads_gain_and_limit() {
        // The second thread's 4% are noise; sparse it reads 7.8 of 10 GB/s.
        let pays = verdict(&[speed(1, 10.0, 90.0, Some(130.0)), speed(2, 12.0, 91.0, Some(135.0))], 0.3);
        assert!(pays[0].contains("--threads 1") && pays[1].contains("0.3 pays: 1.44") && pays[2].contains("78%"));
        assert!(pays[2].starts_with("memory"));
        let not = verdict(&[speed(1, 30.0, 50.0, Some(49.0)), speed(2, 40.0, 100.0, Some(99.0))], 0.5);
        assert!(not[0].contains("--threads 2") && not[1].contains("does not pay") && not[2].contains("25%"));
        assert!(not[2].starts_with("arithmetic"));
        assert!(verdict(&[speed(1, 30.0, 50.0, None)], 0.0)[1].contains("dense"));
    }
}

//! `rasp bench`: tokens per second beside the memory bandwidth of the same run.
//!
//! In every round each sparsity runs once, and so does the bandwidth test, all with the same threads: what disturbs the
//! machine disturbs all of them, and ratios of medians hold where absolute numbers do not.

mod sessions;

use crate::adapter::{self, AdapterArgs};
use crate::answer::DraftMode;
use crate::constraint::Form;
use crate::stream::StreamBuffer;
use crate::{number, parse_count, say};
use rasp::session::{DraftStats, KvType};
use rasp::text::EncodeOptions;
use rasp::{Error, LoadOptions, Model, Result, Session, SessionOptions, Status};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// Threads that work on a token
    #[arg(long, default_value_t = 1, value_parser = parse_count)]
    threads: usize,
    /// Prompt tokens
    #[arg(long, value_name = "P", default_value_t = 128, value_parser = parse_count)]
    prompt: usize,
    /// A file whose text is the prompt, whole, in place of so many tokens of prose
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    text: Option<PathBuf>,
    /// Tokens to decode
    #[arg(short, long, default_value_t = 64, value_parser = parse_count)]
    n: usize,
    /// Sparsities (default: dense, and 0.3, 0.5 and 0.7 where the file goes that far)
    #[arg(long, value_delimiter = ',', value_parser = crate::parse_sparsity)]
    sparsity: Option<Vec<f32>>,
    /// Keys and values in f16, f32 or i8
    #[arg(long, value_name = "TYPE", default_value = "f16", value_parser = crate::parse_kv)]
    kv: KvType,
    /// Hold only a window's keys and values in layers that attend to one: less memory, the same tokens
    #[arg(long)]
    window_keys: bool,
    /// Decode with so many sessions at once, as one batch and in turn: a list of numbers
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = parse_count, conflicts_with = "Form")]
    sessions: Option<Vec<usize>>,
    /// Beside the file as it is mapped, the same read into memory in pages of 2 MB, round by round: what
    /// `rasp_load_options.large_pages` would gain here. Takes as much memory as the file is large
    #[arg(long, conflicts_with = "sessions")]
    large_pages: bool,
    /// What tokens are guessed by and checked several in a pass: lookup, what stood after an earlier match in the
    /// context; forced, what a constraint leaves no choice of; all of it; self, all of it and what the model says at a
    /// sparser level; or off. A list; the tokens are the same, and how fast they come hangs on the text
    #[arg(long, value_name = "HOW", value_delimiter = ',', default_value = "off", conflicts_with = "sessions")]
    drafts: Vec<DraftMode>,
    #[command(flatten)]
    form: Form,
    #[command(flatten)]
    adapters: AdapterArgs,
    /// Rounds; medians are reported
    #[arg(long, default_value_t = 5, value_parser = parse_count)]
    rounds: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Of every session: room for a prompt of so many tokens, the tokens, and the one that is sampled from the prompt.
    fn session_options(&self, prompt: usize) -> SessionOptions {
        SessionOptions {
            context: prompt.saturating_add(self.n).saturating_add(1),
            threads: self.threads,
            kv_type: self.kv,
            windows_alone: self.window_keys,
            drafts: self.drafts.iter().map(|drafts| drafts.options().most).max().unwrap_or(0),
            ..Default::default()
        }
    }
}

/// The prompt's text, repeated as often as it takes.
const TEXT: &str = "The river had risen in the night, and by morning the lower road was gone. People stood along the \
                    bank and talked in low voices about the year of the great flood, when the water reached the \
                    second step of the church. ";

/// What one sparsity showed, a number a round.
pub struct Samples {
    sparsity: f32,
    /// The model was read into large pages.
    large_pages: bool,
    drafts: DraftMode,
    drafted: DraftStats,
    /// Nothing comes behind the end of a constrained answer but ends: they are not counted.
    until_end: bool,
    pub kept: f64,
    pub bytes_per_token: f64,
    /// Tokens a second.
    pub decode: Vec<f64>,
    prefill: Vec<f64>,
    /// Milliseconds of every decoded token.
    steps: Vec<f64>,
}

pub fn run(args: &Args) -> Result<()> {
    let path = crate::cache::packed(&args.model)?;
    let model = crate::load(&path)?;
    let prompt = match &args.text {
        Some(path) => crate::answer::plain_tokens(&model, &crate::read_text(path)?)?,
        None => prompt(&model, args.prompt)?,
    };
    let options = args.session_options(prompt.len());
    let adapters = args.adapters.load(&model)?;
    let mut session = adapter::open(&model, options, &adapters)?;
    let sparsities = args.sparsity.clone().unwrap_or_else(|| {
        let mut list = vec![0.0];
        list.extend([0.3, 0.5, 0.7].into_iter().filter(|&s| s <= model.max_sparsity()));
        list
    });
    // A wrong one should not cost the rounds of those before it.
    sparsities.iter().try_for_each(|&sparsity| session.set_sparsity(sparsity))?;
    if let Some(counts) = &args.sessions {
        return sessions::run(args, counts, &sparsities, &model, &adapters);
    }
    let mut sessions = vec![session];
    if args.large_pages {
        let load = LoadOptions { large_pages: true, ..Default::default() };
        sessions.push(adapter::open(&Model::load(&path, &load)?, options, &adapters)?);
    }
    let mut until_end = false;
    for session in &mut sessions {
        // The model in large pages is another than the mapped one.
        let constraint = args.form.constraint(session.model())?;
        until_end = constraint.is_some();
        session.set_constraint(constraint)?;
    }
    let mut samples = Vec::new();
    for &sparsity in &sparsities {
        for large_pages in [false, true].into_iter().take(sessions.len()) {
            let of = |&drafts| Samples { large_pages, drafts, until_end, ..Samples::new(sparsity) };
            samples.extend(args.drafts.iter().map(of));
        }
    }
    let stream = StreamBuffer::new(args.threads)?;
    let mut bandwidth = Vec::new();
    // A round that is not counted: it brings the file into memory.
    for round in 0..=args.rounds {
        say(&format!("round {round} of {}{}", args.rounds, if round == 0 { " (to warm up)" } else { "" }));
        for s in &mut samples {
            measure(&mut sessions[usize::from(s.large_pages)], &prompt, args.n, s, round > 0)?;
        }
        if round > 0 {
            bandwidth.push(stream.gb_s());
        }
    }
    let bandwidth = Spread::of(&bandwidth);
    let granted = large_page_bytes();
    if args.json {
        let results: Vec<_> = samples.iter().map(Samples::json).collect();
        return crate::put_json(&json!({
            "stream_gb_s": bandwidth.median, "stream_gb_s_min": bandwidth.min, "stream_gb_s_max": bandwidth.max,
            "large_page_bytes": granted, "threads": args.threads, "prompt": prompt.len(), "n": args.n,
            "adapters": adapter::described(&adapters),
            "rounds": args.rounds,
            "isa": model.isa().name(), "dtype": model.weight_type().name(), "results": results,
        }));
    }
    let mut text = format!(
        "{} threads, {}, {}; stream {:.1} GB/s ({:.1} to {:.1})\n\n",
        args.threads,
        model.isa().name(),
        model.weight_type().name(),
        bandwidth.median,
        bandwidth.min,
        bandwidth.max
    );
    text +=
        "sparsity    kept   decode tok/s (min to max)   p99/p50      prefill tok/s   MB/token    GB/s   of stream\n";
    for s in &samples {
        let (decode, prefill) = (Spread::of(&s.decode), Spread::of(&s.prefill));
        let gb_s = s.bytes_per_token * decode.median / 1e9;
        text += &format!(
            "{:>8} {:>7.3}   {:>9.1} ({:.1} to {:.1}) {:>9.2} {:>18.1} {:>10.1} {:>7.1} {:>10.0}%{}\n",
            s.sparsity,
            s.kept,
            decode.median,
            decode.min,
            decode.max,
            quantile(&s.steps, 0.99) / quantile(&s.steps, 0.5),
            prefill.median,
            s.bytes_per_token / 1e6,
            gb_s,
            100.0 * gb_s / bandwidth.median,
            if s.large_pages { "   in large pages" } else { "" }
        );
        if s.drafts != DraftMode::Off {
            let DraftStats { drafted, accepted } = s.drafted;
            text.truncate(text.len() - 1);
            let tokens = s.steps.len() / args.rounds;
            text += &format!("   {accepted} of {tokens} tokens without a pass, {drafted} drafts\n");
        }
    }
    if args.large_pages {
        text += &match granted {
            Some(bytes) => format!("\nThis process has {:.0} MB in large pages.\n", bytes as f64 / 1e6),
            None => "\nThis system does not say how much it gave in large pages.\n".to_string(),
        };
    }
    crate::put(&text)
}

pub fn prompt(model: &Arc<Model>, length: usize) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let options = EncodeOptions { add_special: false, parse_special: false };
    model.tokenizer().encode(TEXT, options, &mut tokens)?;
    if tokens.is_empty() {
        return Err(Error::new(Status::Unsupported, "the tokenizer has no tokens for English text"));
    }
    Ok(tokens.iter().copied().cycle().take(length).collect())
}

/// One prompt and `n` decoded tokens, or those up to the end of the answer.
pub fn measure(session: &mut Session, prompt: &[u32], n: usize, samples: &mut Samples, count: bool) -> Result<()> {
    session.reset();
    session.set_sparsity(samples.sparsity)?;
    session.set_drafts(samples.drafts.options(), &[])?;
    let start = Instant::now();
    session.prefill(prompt)?;
    let prefill = prompt.len() as f64 / start.elapsed().as_secs_f64();
    // The first step samples from the prompt's logits without a pass.
    session.step()?;
    session.clear_stats();
    let mut steps = Vec::with_capacity(n);
    for _ in 0..n {
        let start = Instant::now();
        let token = session.step()?;
        steps.push(1e3 * start.elapsed().as_secs_f64());
        if samples.until_end && session.model().tokenizer().is_end(token) {
            break;
        }
    }
    let decode = 1e3 * steps.len() as f64 / steps.iter().sum::<f64>();
    if count {
        samples.steps.extend(steps);
        samples.prefill.push(prefill);
        samples.decode.push(decode);
        let stats = session.stats();
        samples.kept = stats.kept;
        samples.drafted = stats.drafts;
        let linear = stats.traffic.linear_bytes as f64 / stats.traffic.tokens as f64;
        samples.bytes_per_token = linear + stats.head_bytes as f64 / stats.traffic.tokens as f64;
    }
    Ok(())
}

impl Samples {
    pub fn new(sparsity: f32) -> Samples {
        Samples {
            sparsity,
            large_pages: false,
            drafts: DraftMode::Off,
            drafted: DraftStats::default(),
            until_end: false,
            kept: 1.0,
            bytes_per_token: 0.0,
            decode: vec![],
            prefill: vec![],
            steps: vec![],
        }
    }

    fn json(&self) -> serde_json::Value {
        let (decode, prefill) = (Spread::of(&self.decode), Spread::of(&self.prefill));
        let gb = self.bytes_per_token / 1e9;
        json!({
            "sparsity": number(self.sparsity), "large_pages": self.large_pages,
            "drafts": self.drafts.name(), "drafted": self.drafted.drafted, "accepted": self.drafted.accepted,
            "kept": self.kept,
            "bytes_per_token": self.bytes_per_token,
            "decode_tok_s": decode.median, "decode_tok_s_min": decode.min, "decode_tok_s_max": decode.max,
            "prefill_tok_s": prefill.median, "prefill_tok_s_min": prefill.min, "prefill_tok_s_max": prefill.max,
            "step_ms_p50": quantile(&self.steps, 0.5), "step_ms_p99": quantile(&self.steps, 0.99),
            "gb_s": gb * decode.median, "gb_s_min": gb * decode.min, "gb_s_max": gb * decode.max,
        })
    }
}

/// Bytes of this process that lie in large pages, where Linux says.
fn large_page_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| 1024 * kilobytes)
}

/// The least sample that so large a share of them does not exceed. Of at least one sample.
fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1]
}

pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(samples: &[f64]) -> Spread {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        Spread { median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0, min: sorted[0], max: sorted[n - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_even_and_odd_counts() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!([0.0, 0.5, 0.75, 0.99, 1.0].map(|q| quantile(&[4.0, 1.0, 2.0, 3.0], q)), [1.0, 2.0, 3.0, 4.0, 4.0]);
        let even = Spread::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
    }
}

//! `rasp eval ppl`: perplexity of a text, window by window.

use super::measure::{Sparse, WindowScores, measure};
use super::{Protocol, Setting};
use crate::adapter::{self, AdapterArgs};
use crate::progress::Reporter;
use crate::{number, parse_count};
use rasp::session::{KvType, Scorer};
use rasp::text::EncodeOptions;
use rasp::{Error, Model, Result, SessionOptions, Status};
use rasp_packer::Progress;
use serde_json::json;
use std::path::PathBuf;

/// The text is tokenized whole, without special tokens, and cut into windows `[ctx·i, ctx·i + ctx)`, each passed alone
/// from position 0; a last piece shorter than a window is left out. Where the tokenizer puts a token before every text,
/// it stands before every window as one of its `ctx` tokens (`--no-bos`: none does; `--bos`: fails where there is
/// none). All `ctx − 1` predictions of a window are scored under every protocol, but for those before `--from`; for
/// `decode` the first half of each window is the prompt.
///
/// `sparse` is the figure to quote. It has the predictions made from sparse tokens alone and the dense model's at the
/// same positions: `tokens` (how many), `ppl`, `dense_ppl`, `loss` (`ppl / dense_ppl − 1`: 0.02 is 2%), `kl` (the
/// Kullback-Leibler divergence of the sparse prediction from the dense one, `Σ p·ln(p/q)`, `p` the dense, in nats a
/// token) and `same_greedy` (the share of positions where both find the same token likeliest); null without a sparse
/// prediction. `ppl` and `nll` are of all that was scored, and under `paper` and `decode` mostly or half of that is
/// predicted densely: held to a dense `ppl` they make sparsity look cheaper than it is.
#[derive(clap::Args)]
pub struct Args {
    /// The model: a .rasp file; a GGUF file or a Hugging Face directory is packed first, once, into a cache
    model: PathBuf,
    /// The text
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens of a window
    #[arg(long, default_value_t = 512)]
    ctx: usize,
    /// Windows to score (default: all)
    #[arg(long, value_name = "N", value_parser = parse_count)]
    windows: Option<usize>,
    /// Put the beginning-of-text token before each window (default: if the tokenizer puts it before a text)
    #[arg(long, overrides_with = "no_bos")]
    bos: bool,
    /// Put nothing before a window
    #[arg(long)]
    no_bos: bool,
    /// Score what is predicted for positions from this one on, counted from 0 in each window
    #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = parse_count)]
    from: usize,
    /// Sparsity of sparse tokens
    #[arg(long, default_value_t = 0.0, value_parser = crate::parse_sparsity)]
    sparsity: f32,
    /// Which tokens are sparse
    #[arg(long, default_value = "strict")]
    protocol: Protocol,
    /// Keys and values in f16, f32 or i8
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = crate::parse_kv)]
    kv: KvType,
    /// Threads (default: all)
    #[arg(long, value_parser = parse_count)]
    threads: Option<usize>,
    #[command(flatten)]
    adapters: AdapterArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let model = crate::load(&args.model)?;
    if args.ctx < 2 {
        return Err(Error::new(Status::InvalidArgument, "--ctx must be at least 2: one token to predict another"));
    }
    if args.from >= args.ctx {
        let message = format!("--from {}: a window has positions 0 to {}", args.from, args.ctx - 1);
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let mut tokens = Vec::new();
    let options = EncodeOptions { add_special: false, parse_special: false };
    model.tokenizer().encode(&crate::read_text(&args.text)?, options, &mut tokens)?;
    let bos = bos(&model, args)?;
    let windows = windows(&tokens, args.ctx, bos);
    let count = windows.len().min(args.windows.unwrap_or(usize::MAX));
    if count == 0 {
        let message = format!("{} has {} tokens, a window takes {}", args.text.display(), tokens.len(), args.ctx);
        return Err(Error::new(Status::InvalidArgument, message));
    }
    let threads = args.threads.unwrap_or_else(crate::all_threads);
    let adapters = args.adapters.load(&model)?;
    let adapter_rank = adapter::rank(&adapters);
    let options = SessionOptions { context: args.ctx, threads, kv_type: args.kv, adapter_rank, ..Default::default() };
    let mut scorer = Scorer::open(model, &options)?;
    scorer.set_adapters(adapters.iter().cloned())?;
    scorer.set_sparsity(args.sparsity)?;
    let setting = Setting { sparsity: args.sparsity, protocol: args.protocol };
    let mut progress = Reporter::new();
    if let Some(asked) = args.windows.filter(|&asked| asked > count) {
        progress.note(&format!("the text has {count} whole windows, fewer than the {asked} asked for"));
    }
    progress.begin("scoring windows", count as u64);
    let mut measured = measure(&mut scorer, windows.take(count), &[setting], args.from, &mut progress)?;
    progress.end();
    let WindowScores { nll, tokens, kept, sparse } = measured.remove(0);
    let ppl = nll.exp();
    if args.json {
        return crate::put_json(&json!({
            "ppl": ppl, "nll": nll, "tokens": tokens, "windows": count, "ctx": args.ctx,
            "bos": bos.is_some(), "from": args.from,
            "adapters": adapter::described(&adapters),
            "sparsity": number(args.sparsity), "kept": kept, "protocol": args.protocol.name(), "sparse": sparse,
        }));
    }
    crate::put(&format!(
        "{}perplexity {ppl:.3} over {tokens} tokens in {count} windows of {}{}; sparsity {}, {}, {:.1}% of linear \
         weights read by sparse tokens\n",
        sparse.as_ref().map_or_else(String::new, words),
        args.ctx,
        if bos.is_some() { ", the beginning of a text before each" } else { "" },
        args.sparsity,
        args.protocol.name(),
        kept * 100.0
    ))
}

/// What sparse predictions lose, as lines.
fn words(sparse: &Sparse) -> String {
    let Sparse { tokens, ppl, dense_ppl, loss, kl, same_greedy } = sparse;
    format!(
        "predictions from sparse tokens ({tokens}): perplexity {ppl:.3}, {:+.1}% from the dense {dense_ppl:.3} at the \
         same positions\nKL divergence {kl:.4} nats a token, {:.1}% of greedy tokens the same\nall predictions: ",
        100.0 * loss,
        100.0 * same_greedy
    )
}

/// The token that stands before each window, if one does.
fn bos(model: &Model, args: &Args) -> Result<Option<u32>> {
    let tokenizer = model.tokenizer();
    match (args.bos, args.no_bos) {
        (true, _) => tokenizer.bos().map(Some).ok_or_else(|| {
            Error::new(Status::InvalidArgument, "--bos: the tokenizer has no token for the beginning of a text")
        }),
        (false, true) => Ok(None),
        (false, false) => Ok(tokenizer.leading_bos()),
    }
}

/// Whole windows of `ctx` tokens of a text, `bos` in front of each.
pub fn windows(tokens: &[u32], ctx: usize, bos: Option<u32>) -> impl ExactSizeIterator<Item = Vec<u32>> + '_ {
    let texts = tokens.chunks_exact(ctx - usize::from(bos.is_some()));
    texts.map(move |text| bos.iter().chain(text).copied().collect())
}

//! `rasp bench --sessions`: several sessions stepped as one batch, beside the same sessions stepped in turn.

use super::{Args, Spread, TEXT};
use crate::adapter::{self, ScaledAdapters};
use crate::{number, say};
use rasp::text::EncodeOptions;
use rasp::{Error, Model, Result, Session, Status};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

/// So many sessions at one sparsity; tokens a second of all together, a number a round.
struct SessionSamples {
    sparsity: f32,
    sessions: usize,
    kept: f64,
    batched: Vec<f64>,
    in_turn: Vec<f64>,
}

pub fn run(
    args: &Args,
    counts: &[usize],
    sparsities: &[f32],
    model: &Arc<Model>,
    adapters: &ScaledAdapters,
) -> Result<()> {
    let options = args.session_options(args.prompt);
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut sessions = (0..most).map(|_| adapter::open(model, options, adapters)).collect::<Result<Vec<_>>>()?;
    let prompts = (0..most).map(|n| prompt(model, args.prompt, n)).collect::<Result<Vec<_>>>()?;
    let each = |sparsity| counts.iter().map(move |&sessions| SessionSamples::new(sparsity, sessions));
    let mut samples: Vec<SessionSamples> = sparsities.iter().copied().flat_map(each).collect();
    // A round that is not counted: it brings the file into memory.
    for round in 0..=args.rounds {
        say(&format!("round {round} of {}{}", args.rounds, if round == 0 { " (to warm up)" } else { "" }));
        for s in &mut samples {
            // Who goes first has a colder processor, or a warmer one.
            for batched in [round % 2 == 0, round % 2 == 1] {
                let speed = measure(&mut sessions[..s.sessions], &prompts, args.n, s.sparsity, batched)?;
                if round > 0 {
                    if batched { s.batched.push(speed) } else { s.in_turn.push(speed) }
                }
            }
            s.kept = sessions[..s.sessions].iter().map(|session| session.stats().kept).sum::<f64>() / s.sessions as f64;
        }
    }
    if args.json {
        let results: Vec<_> = samples.iter().map(SessionSamples::json).collect();
        return crate::put_json(&json!({
            "threads": args.threads, "prompt": args.prompt, "n": args.n, "rounds": args.rounds,
            "adapters": adapter::described(adapters),
            "isa": model.isa().name(), "dtype": model.weight_type().name(), "results": results,
        }));
    }
    let mut text = format!("{} threads, {}, {}\n\n", args.threads, model.isa().name(), model.weight_type().name());
    text += "sparsity    kept   sessions   batched tok/s (min to max)   in turn tok/s (min to max)   ratio\n";
    for s in &samples {
        let [batched, in_turn, ratio] = s.spreads();
        let range = |s: &Spread| format!("{:.1} ({:.1} to {:.1})", s.median, s.min, s.max);
        text += &format!(
            "{:>8} {:>7.3} {:>10} {:>28} {:>28} {:>7.2}\n",
            s.sparsity,
            s.kept,
            s.sessions,
            range(&batched),
            range(&in_turn),
            ratio.median
        );
    }
    crate::put(&text)
}

/// A prompt that begins elsewhere for each session, so that they write different texts.
fn prompt(model: &Model, length: usize, session: usize) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let options = EncodeOptions { add_special: false, parse_special: false };
    model.tokenizer().encode(TEXT, options, &mut tokens)?;
    if tokens.is_empty() {
        return Err(Error::new(Status::Unsupported, "the tokenizer has no tokens for English text"));
    }
    Ok(tokens.iter().copied().cycle().skip(5 * session).take(length).collect())
}

/// Tokens a second of all sessions together, `n` decoded by each after its prompt.
fn measure(sessions: &mut [Session], prompts: &[Vec<u32>], n: usize, sparsity: f32, batched: bool) -> Result<f64> {
    for (session, prompt) in sessions.iter_mut().zip(prompts) {
        session.reset();
        session.set_sparsity(sparsity)?;
        session.prefill(prompt)?;
        // The first step samples from the prompt's logits without a pass.
        session.step()?;
        session.clear_stats();
    }
    let tokens = (n * sessions.len()) as f64;
    let mut all: Vec<&mut Session> = sessions.iter_mut().collect();
    let start = Instant::now();
    for _ in 0..n {
        let mut outcome = Ok(());
        if batched {
            Session::step_batch(&mut all, |_, token| {
                if let Err(error) = token {
                    outcome = Err(error);
                }
            })?;
        } else {
            outcome = all.iter_mut().try_for_each(|session| session.step().map(|_| ()));
        }
        outcome?;
    }
    Ok(tokens / start.elapsed().as_secs_f64())
}

impl SessionSamples {
    fn new(sparsity: f32, sessions: usize) -> SessionSamples {
        SessionSamples { sparsity, sessions, kept: 1.0, batched: vec![], in_turn: vec![] }
    }

    /// Both, and their ratio in the same round.
    fn spreads(&self) -> [Spread; 3] {
        let ratios: Vec<f64> = self.batched.iter().zip(&self.in_turn).map(|(a, b)| a / b).collect();
        [&self.batched, &self.in_turn, &ratios].map(|samples| Spread::of(samples))
    }

    fn json(&self) -> serde_json::Value {
        let [batched, in_turn, ratio] = self.spreads();
        json!({
            "sparsity": number(self.sparsity), "sessions": self.sessions, "kept": self.kept,
            "batched_tok_s": batched.median, "batched_tok_s_min": batched.min, "batched_tok_s_max": batched.max,
            "in_turn_tok_s": in_turn.median, "in_turn_tok_s_min": in_turn.min, "in_turn_tok_s_max": in_turn.max,
            "ratio": ratio.median, "ratio_min": ratio.min, "ratio_max": ratio.max,
        })
    }
}

//! research MODEL TEST CALIB key=val...
use rasp::{LoadOptions, Model, model::*, session::Scorer, text::EncodeOptions};
use std::{path::Path, sync::Arc};
fn windows(m: &Model, path: &str, n: usize, skip: usize) -> Vec<Vec<u32>> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = if path.ends_with("jsonl") {
        text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["text"].as_str().unwrap().to_string()).collect::<Vec<_>>().join("\n\n")
    } else { text };
    let mut t = Vec::new();
    m.tokenizer().encode(&text, EncodeOptions { add_special: false, parse_special: false }, &mut t).unwrap();
    t.chunks_exact(512).skip(skip).take(n).map(|c| c.to_vec()).collect()
}
fn eval(s: &mut Scorer, w: &[Vec<u32>], first: usize) -> (f64, f64) {
    s.take_traffic();
    let (mut sum, mut n) = (0.0, 0);
    for w in w { for x in s.score(w, first).unwrap() { sum -= x.log_prob; n += 1; } }
    let t = s.take_traffic();
    ((sum / n as f64).exp(), t.linear_bytes as f64 / (t.tokens as f64 * s.model().linear_bytes() as f64))
}
struct No; impl rasp::session::Observer for No {}
fn kept(s: &mut Scorer, w: &[Vec<u32>]) -> f64 {
    s.take_traffic();
    for w in w { s.observe(w, 0, &mut No).unwrap(); }
    let t = s.take_traffic();
    t.linear_bytes as f64 / (t.tokens as f64 * s.model().linear_bytes() as f64)
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let m: Arc<Model> = Model::load(Path::new(&a[1]), &LoadOptions::default()).unwrap();
    let test = if a[2] == "dev" { windows(&m, &a[3], 12, 10) } else { windows(&m, &a[2], a.get(5).map_or(16, |s| s.parse().unwrap()), 0) };
    let calib = windows(&m, &a[3], 2, 8);
    let mut s = Scorer::exact(m.clone(), 512, 2).unwrap();
    let n = m.layers().len() * 7;
    for target in a[4].split(',').map(|x| x.parse::<f64>().unwrap()) {
        // global threshold, bisected in log space on calibration, then corrected on the test for equal traffic
        for first in [0usize] {
            let (mut lo, mut hi) = (-14.0f64, 6.0f64);
            for _ in 0..12 { let mid = (lo + hi) / 2.0; s.set_thresholds(&vec![mid.exp() as f32; n]).unwrap();
                if kept(&mut s, &calib[..1]) > target { lo = mid } else { hi = mid } }
            let tau = ((lo + hi) / 2.0).exp() as f32;
            s.set_thresholds(&vec![tau; n]).unwrap();
            let k = kept(&mut s, &calib);
            let (p, kt) = eval(&mut s, &test, first);
            println!("target {target} first {first} tau {tau:.6} calib kept {k:.4} test ppl {p:.3} kept {kt:.4}");
        }
    }
}

use rasp::model::*;
use rasp::session::*;
use rasp::text::EncodeOptions;
use std::sync::Arc;
struct O {
    m: Arc<Model>,
    t: Vec<f32>,
    f: Vec<Vec<u32>>,
    n: u32,
    eval: Option<Vec<Vec<usize>>>,
    runs: Vec<[f64; 6]>,
}
fn runs(order: &[usize], keep: &dyn Fn(usize) -> bool) -> (usize, usize) {
    let n = order.len();
    let mut r = 0;
    let mut k = 0;
    let seg = n / 32;
    for s in 0..32 {
        let mut p = false;
        for i in 0..seg {
            let c = keep(order[i * 32 + s]);
            if c {
                k += 1;
                if !p {
                    r += 1
                }
            }
            p = c;
        }
    }
    (r, k)
}
impl Observer for O {
    fn group_input(&mut self, layer: usize, g: GroupKind, x: MatRef<'_>) {
        let m = self.m.clone();
        let l = &m.layers()[layer];
        let g = l.groups()[g as usize];
        for lin in g.linears() {
            let th = self.t[lin.index()];
            for row in 0..x.rows() {
                let x = x.row(row);
                let sc = lin.score().unwrap();
                let keep = |j: usize| x[j].abs() * sc[j] > th;
                match &self.eval {
                    None => {
                        let f = &mut self.f[lin.index()];
                        if f.is_empty() {
                            f.resize(x.len(), 0)
                        };
                        for j in 0..x.len() {
                            if keep(j) {
                                f[j] += 1
                            }
                        }
                    }
                    Some(ord) => {
                        let nat: Vec<usize> = (0..x.len()).map(|i| i).collect();
                        // natural: interleaved of contiguous k => physical neighbours are k and k+32
                        let (a, k) = runs(&nat, &keep);
                        let (b, _) = runs(&ord[lin.index()], &keep);
                        let r = &mut self.runs[lin.index() % 7];
                        r[0] += a as f64;
                        r[1] += b as f64;
                        r[2] += k as f64;
                        r[3] += x.len() as f64;
                    }
                }
            }
        }
    }
}
fn main() {
    let m = Model::load(std::path::Path::new(&std::env::args().nth(1).unwrap()), &Default::default()).unwrap();
    let text = std::fs::read_to_string("/work/shared/data/wikitext2_valid.txt").unwrap();
    let mut t = vec![];
    m.tokenizer()
        .encode(&text[..60000.min(text.len())], EncodeOptions { add_special: false, parse_special: false }, &mut t)
        .unwrap();
    let mut th = vec![0.0; m.layers().len() * 7];
    {
        let r = m.recipe();
        let i = r.sparsity.iter().position(|&s| (s - 0.5).abs() < 1e-6).unwrap();
        for l in m.layers() {
            for g in l.groups() {
                for n in g.linears() {
                    th[n.index()] = n.thresholds()[i];
                }
            }
        }
    }
    let mut o =
        O { m: m.clone(), t: th, f: vec![vec![]; m.layers().len() * 7], n: 0, eval: None, runs: vec![[0.; 6]; 7] };
    let mut s = Scorer::exact(m.clone(), 512, 2).unwrap();
    for w in t.chunks(512).take(4) {
        s.observe(w, w.len(), &mut o).unwrap();
    }
    let tot = 2048.0;
    for k in 0..7 {
        let mut all: Vec<f32> = vec![];
        for l in 0..m.layers().len() {
            all.extend(o.f[l * 7 + k].iter().map(|&f| f as f32 / tot))
        }
        all.sort_by(f32::total_cmp);
        print!("{k}: deciles");
        for d in 0..=10 {
            print!(" {:.2}", all[(all.len() - 1) * d / 10])
        }
        println!();
    }
    let ord =
        o.f.iter()
            .map(|f| {
                let mut v: Vec<usize> = (0..f.len()).collect();
                v.sort_by_key(|&j| std::cmp::Reverse(f[j]));
                v
            })
            .collect();
    o.eval = Some(ord);
    for w in t.chunks(512).skip(4).take(2) {
        s.observe(w, w.len(), &mut o).unwrap();
    }
    for k in 0..7 {
        let r = o.runs[k];
        println!("{k}: kept {:.3} run length natural {:.2} sorted {:.2}", r[2] / r[3], r[2] / r[0], r[2] / r[1]);
    }
}

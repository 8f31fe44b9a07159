//! Cases packed, and run through the engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rasp::format::Allocation;
use rasp::model::{Adapter, WeightType};
use rasp::session::{KvType, Scorer};
use rasp::{LoadOptions, Model, Result, Session, SessionOptions};
use rasp_packer::{PackOptions, Silent, pack};

use super::case::Case;

/// What a sparse token may read in these tests.
pub const SPARSITY: f32 = 0.5;
/// Text enough to calibrate on.
const TEXT: &str = "It was a bright cold day in April, and the clocks were striking thirteen. An owl sat on a fence \
                    and thought of the rain, the wind and the long road to the sea. In the end nothing came of it. ";

/// A case in a folder of its own, its packed file beside it.
pub struct Packed {
    pub case: Case,
    pub model: Arc<Model>,
}

/// Where the folder of a case is: below `target/tmp`, of whose place Cargo tells integration tests alone.
pub fn place(test: &str, case: &Case) -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let target = executable.ancestors().nth(3).expect("target/release/deps/TEST");
    target.join("tmp/families").join(test).join(&case.name)
}

/// That folder, empty.
pub fn folder(test: &str, case: &Case) -> PathBuf {
    let folder = place(test, case);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// How every case is packed: dense, and for one sparsity.
fn options(case: &Case, folder: &Path) -> PackOptions {
    let weight_type = match case.weight_type.as_str() {
        "bf16" => WeightType::BF16,
        "f16" => WeightType::F16,
        other => panic!("{}: no weights of type {other}", case.name),
    };
    PackOptions {
        context: case.context,
        weight_type: Some(weight_type),
        calibration: Some(folder.join("calibration.txt")),
        calibration_tokens: 128,
        sparsity: Some(vec![SPARSITY]),
        allocation: Allocation::Uniform,
        tune: 0,
        ..PackOptions::new(folder, folder.join("out.rasp"))
    }
}

impl Packed {
    /// Writes the checkpoint and packs it as `change` says.
    pub fn with(test: &str, case: Case, change: impl FnOnce(&mut PackOptions)) -> Result<Packed> {
        let folder = folder(test, &case);
        case.write(&folder);
        Packed::written(&folder, case, change)
    }

    /// Packs the checkpoint that lies in a folder.
    pub fn written(folder: &Path, case: Case, change: impl FnOnce(&mut PackOptions)) -> Result<Packed> {
        fs::write(folder.join("calibration.txt"), TEXT.repeat(8)).unwrap();
        let mut options = options(&case, folder);
        change(&mut options);
        pack(&options, &mut Silent)?;
        let model = Model::load(&options.output, &LoadOptions { verify: true, ..Default::default() })?;
        Ok(Packed { case, model })
    }

    /// Room for the tokens of a case.
    pub fn context(&self) -> usize {
        self.model.config().context_length.min(64)
    }

    /// A session whose cache rounds nothing.
    pub fn session(&self) -> Session {
        let options = SessionOptions { context: self.context(), kv_type: KvType::F32, ..Default::default() };
        Session::open(self.model.clone(), &options).unwrap()
    }

    /// The logits behind each token, in one pass: `[tokens, vocab]`, dense before token `sparse_from`.
    pub fn logits(&self, sparsity: f32, sparse_from: usize) -> Result<Vec<Vec<f32>>> {
        self.adapted_logits(sparsity, sparse_from, None)
    }

    /// The same with an adapter.
    pub fn adapted_logits(
        &self,
        sparsity: f32,
        sparse_from: usize,
        adapter: Option<Arc<Adapter>>,
    ) -> Result<Vec<Vec<f32>>> {
        let adapter_rank = adapter.as_ref().map_or(0, |adapter| adapter.rank());
        let options =
            SessionOptions { context: self.context(), kv_type: KvType::F32, adapter_rank, ..Default::default() };
        let mut scorer = Scorer::open(self.model.clone(), &options)?;
        scorer.set_adapters(adapter.map(|adapter| (adapter, 1.0)))?;
        scorer.set_sparsity(sparsity)?;
        let mut rows = Vec::new();
        scorer.logits(&self.case.tokens, sparse_from, |_, logits| {
            rows.push(logits.to_vec());
            Ok(())
        })?;
        Ok(rows)
    }
}

#![allow(missing_docs)]
use crate::import::TokenizerSource;
use rasp::Result;
use rasp::format::TensorSpec;
pub struct Compiled {
    pub tensors: Vec<(TensorSpec, Vec<u8>)>,
    pub settings_json: String,
}
pub fn compile(_: &TokenizerSource, _: usize) -> Result<Compiled> {
    Ok(Compiled { tensors: vec![], settings_json: "{}".into() })
}

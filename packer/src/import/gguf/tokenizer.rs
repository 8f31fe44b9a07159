//! The tokenizer's parts from GGUF metadata.

use rasp::Result;

use super::value::Metadata;
use crate::import::bad;
use crate::import::tokenizer::GgufTokenizer;

pub(super) fn read(meta: &Metadata) -> Result<GgufTokenizer> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let missing = |name: &str| bad(format!("key `{}` is missing", key(name)));
    let tokens = meta.strings(&key("tokens"))?.ok_or_else(|| missing("tokens"))?;
    if tokens.is_empty() {
        return Err(bad(format!("`{}` is empty", key("tokens"))));
    }
    let token_types = meta.ints(&key("token_type"))?.unwrap_or_default();
    let scores = meta.floats(&key("scores"))?.unwrap_or_default();
    for (name, len) in [("token_type", token_types.len()), ("scores", scores.len())] {
        if len != 0 && len != tokens.len() {
            return Err(bad(format!("`{}` has {len} elements for {} tokens", key(name), tokens.len())));
        }
    }
    let id = |name: &str| {
        let name = key(&format!("{name}_token_id"));
        match meta.int(&name)? {
            // Writers put −1, in either sign, for "none".
            None | Some(-1) | Some(0xFFFF_FFFF) => Ok(None),
            Some(id) => match u32::try_from(id) {
                Ok(id) if (id as usize) < tokens.len() => Ok(Some(id)),
                _ => Err(bad(format!("`{name}` is {id}, but there are {} tokens", tokens.len()))),
            },
        }
    };
    Ok(GgufTokenizer {
        model: meta.str(&key("model"))?.ok_or_else(|| missing("model"))?.to_string(),
        pre: meta.str(&key("pre"))?.map(str::to_string),
        token_types,
        scores,
        merges: meta.strings(&key("merges"))?.unwrap_or_default(),
        bos: id("bos")?,
        eos: id("eos")?,
        eot: id("eot")?,
        eom: id("eom")?,
        unk: id("unknown")?,
        pad: id("padding")?,
        add_bos: meta.bool(&key("add_bos_token"))?,
        add_eos: meta.bool(&key("add_eos_token"))?,
        add_space_prefix: meta.bool(&key("add_space_prefix"))?,
        remove_extra_whitespaces: meta.bool(&key("remove_extra_whitespaces"))?,
        charsmap: bytes(meta, &key("precompiled_charsmap"))?,
        tokens,
    })
}

/// An array of bytes, signed or not; empty where there is none.
fn bytes(meta: &Metadata, key: &str) -> Result<Vec<u8>> {
    let byte = |value: i32| match value {
        0..=255 => Ok(value as u8),
        -128..0 => Ok(value as i8 as u8),
        _ => Err(bad(format!("`{key}` has an element {value}, which is no byte"))),
    };
    meta.ints(key)?.unwrap_or_default().into_iter().map(byte).collect()
}

//! One model, written as older and newer versions of transformers write it.

use rasp_packer::import;
use serde_json::{Map, Value, json};

use crate::case::{self, Case};
use crate::{packed, pending};

/// Fails for each case that `rewrite` has written another way and that is not read as the same model; `None` leaves a
/// case out.
fn same_however_written(test: &str, rewrite: impl Fn(&Case) -> Option<Case>) {
    let (mut failed, mut checked) = (Vec::new(), 0);
    for case in case::all().into_iter().filter(|case| pending(case).is_none()) {
        let Some(other) = rewrite(&case) else { continue };
        checked += 1;
        let folder = packed::folder(test, &case);
        case.write(&folder);
        let whole = import::open(&folder).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        other.write_config(&folder);
        match import::open(&folder) {
            Ok(found) if found.shape == whole.shape => {}
            Ok(found) => failed.push(format!("  {}: {:?}, not {:?}", case.name, found.shape, whole.shape)),
            Err(e) => failed.push(format!("  {}: {e}", case.name)),
        }
    }
    assert!(checked > 0, "no case was written another way");
    assert!(failed.is_empty(), "{} of {checked}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn a_model_type_stands_in_for_architectures() {
    // MiniCPM's is of no class of transformers, but its own configurations have both.
    same_however_written("model_type", |case| Some(case.clone().without("architectures")));
}

/// What a configuration says of rotation, taken out of it: the newest way holds all in one object.
fn rope_parameters(text: &mut Map<String, Value>) -> Map<String, Value> {
    let mut parameters = Map::new();
    if let Some(Value::Object(scaling)) = text.remove("rope_scaling") {
        parameters.extend(scaling);
    }
    if let Some(kind) = parameters.remove("type") {
        parameters.insert("rope_type".into(), kind);
    }
    parameters.entry("rope_type").or_insert(json!("default"));
    for (old, new) in [
        ("rope_theta", "rope_theta"),
        ("rotary_emb_base", "rope_theta"),
        ("partial_rotary_factor", "partial_rotary_factor"),
        ("rotary_pct", "partial_rotary_factor"),
    ] {
        if let Some(value) = text.remove(old) {
            parameters.insert(new.into(), value);
        }
    }
    parameters
}

#[test]
fn rope_parameters_hold_what_stood_beside_each_other() {
    same_however_written("rope_parameters", |case| {
        let mut other = case.clone();
        let text = other.text().as_object_mut().unwrap();
        // Cohere 2 and GPT-NeoX share a key's name that means another thing to each.
        if !text.contains_key("rope_theta") || text["model_type"] == "cohere2" {
            return None;
        }
        let mut parameters = rope_parameters(text);
        // OLMo 3 has no base of its own for layers with a window, but scales only the others.
        let olmo3 = (text["model_type"] == "olmo3").then(|| parameters["rope_theta"].clone());
        if let Some(local) = text.remove("rope_local_base_freq").or(olmo3) {
            parameters = [
                ("full_attention".to_string(), Value::Object(parameters)),
                ("sliding_attention".into(), json!({"rope_type": "default", "rope_theta": local})),
            ]
            .into_iter()
            .collect();
        }
        text.insert("rope_parameters".into(), Value::Object(parameters));
        Some(other)
    });
}

#[test]
fn a_scaling_may_be_named_by_type_or_by_rope_type() {
    same_however_written("type", |case| {
        let mut other = case.clone();
        let scaling = other.text().get_mut("rope_scaling")?.as_object_mut()?;
        let (from, to) = if scaling.contains_key("type") { ("type", "rope_type") } else { ("rope_type", "type") };
        let kind = scaling.remove(from)?;
        scaling.insert(to.into(), kind);
        Some(other)
    });
}

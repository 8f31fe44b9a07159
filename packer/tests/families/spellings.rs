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

#[test]
fn classes_are_known_by_their_makers_names_too() {
    for (class, other, kind) in [
        ("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM", "ernie4_5"),
        ("StableLmForCausalLM", "StableLMEpochForCausalLM", "stablelm_epoch"),
    ] {
        same_however_written(other, |case| {
            let mut case = case.clone();
            (case.config["architectures"][0] == class).then_some(())?;
            case.config["architectures"][0] = other.into();
            case.config["model_type"] = kind.into();
            // The makers' own keys, as they stand in every file.
            case.config["compression_ratio"] = 1.0.into();
            case.config["rotary_scaling_factor"] = 1.0.into();
            Some(case)
        });
    }
}

/// Mistral Small 3.1 and Pixtral: the text model inside, its tensors under another name, and others beside them.
#[test]
fn a_text_model_may_be_part_of_one_that_sees() {
    let mut checked = 0;
    for case in case::all().into_iter().filter(|case| pending(case).is_none()) {
        let kind = case.config["model_type"].clone();
        if kind != "mistral" && kind != "llama" {
            continue;
        }
        let folder = packed::folder("alone", &case);
        case.write(&folder);
        let whole = import::open(&folder).unwrap();
        for (class, outer, model, head) in [
            ("Mistral3ForConditionalGeneration", "mistral3", "language_model.model.", "language_model.lm_head."),
            ("LlavaForConditionalGeneration", "llava", "model.language_model.", "lm_head."),
        ] {
            checked += 1;
            let mut wrapped = case.clone();
            wrapped.config = json!({"architectures": [class], "model_type": outer, "text_config": case.config,
                "vision_config": {"model_type": "pixtral"}, "vision_feature_layer": -1});
            for tensor in &mut wrapped.tensors {
                let inner = tensor.0.strip_prefix("model.").map(|rest| format!("{model}{rest}"));
                let named = inner.or_else(|| tensor.0.strip_prefix("lm_head.").map(|rest| format!("{head}{rest}")));
                tensor.0 = named.unwrap_or_else(|| panic!("{}", tensor.0));
            }
            for name in ["vision_tower.patch_conv.weight", "multi_modal_projector.linear_1.weight"] {
                wrapped.tensors.push(case::Tensor(name.into(), vec![3, 4], 1.0, 0.0));
            }
            let folder = packed::folder(outer, &case);
            wrapped.write(&folder);
            let found = import::open(&folder).unwrap_or_else(|e| panic!("{} as {class}: {e}", case.name));
            assert_eq!(found.shape, whole.shape, "{} as {class}", case.name);
            // By `model_type` alone, and a text model that is none of rasp's.
            wrapped.clone().without("architectures").write_config(&folder);
            import::open(&folder).unwrap_or_else(|e| panic!("{} as {outer}: {e}", case.name));
            wrapped.text()["model_type"] = "ministral3".into();
            wrapped.write_config(&folder);
            let Err(refused) = import::open(&folder) else { panic!("{} as Ministral 3", case.name) };
            for word in ["text_config", "scale depends on the position", "choose a model"] {
                assert!(refused.message().contains(word), "`{word}` is not in: {refused}");
            }
        }
    }
    assert!(checked > 0, "no case was wrapped");
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

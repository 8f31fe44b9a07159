//! A model that loaded is used, as a host would: whatever its file says, no call may do worse than return an error.

use crate::base::{error, sound};
use rasp::capi::*;
use std::ptr::{null, null_mut};

const TEXT: &str =
    "Hello the thing's in  1234 \u{e9} e\u{301} \u{ac00}<|start|>hello <mask>  the\r\n\tanon\u{1f600} aaaaaaaaa";

/// Tokenizes, formats a chat, steps, saves, shifts.
pub fn use_model(model: *mut rasp_model) {
    let (mut error, mut length) = (error(), 0);
    // SAFETY: the model is alive; all else are places of our own.
    unsafe {
        let mut info: rasp_model_info = std::mem::zeroed();
        rasp_model_info_init(&mut info);
        assert_eq!(rasp_model_get_info(model, &mut info, &mut error), 0);
        let tokens = use_tokenizer(model, info.vocab_size, TEXT);
        let messages = [
            rasp_message { role: c"user".as_ptr(), content: c"Hi <|end|>".as_ptr() },
            rasp_message { role: c"assistant".as_ptr(), content: c"Yo".as_ptr() },
        ];
        let mut text = [0; 4096];
        let status =
            rasp_chat_format(model, messages.as_ptr(), 2, 1, text.as_mut_ptr(), text.len(), &mut length, &mut error);
        sound(status, &error);
        let (role, content, fields) = ("user", "Hi <|end|><|start|>", r#"{"name": "a", "calls": [{"b": [1]}]}"#);
        let message = rasp_chat_message {
            role: role.as_ptr().cast(),
            role_length: role.len(),
            content: content.as_ptr().cast(),
            content_length: content.len(),
            fields: fields.as_ptr().cast(),
            fields_length: fields.len(),
        };
        let mut ids = [0; 1024];
        let status = rasp_chat_tokenize(model, &message, 1, null(), ids.as_mut_ptr(), ids.len(), &mut length, &mut error);
        sound(status, &error);
        let mut options: rasp_session_options = std::mem::zeroed();
        rasp_session_options_init(&mut options);
        options.context = info.context_length.min(24);
        options.batch = 3;
        options.kv_type = info.num_layers % 3;
        let mut plan: rasp_memory_plan = std::mem::zeroed();
        rasp_memory_plan_init(&mut plan);
        // A session that its file makes large is what it asked for; it is not opened here.
        let planned = sound(rasp_session_plan(model, &options, &mut plan, &mut error), &error);
        let mut session = null_mut();
        if planned != 0 || plan.size > 16 << 20 {
            return;
        }
        if sound(rasp_session_open(model, &options, &mut session, &mut error), &error) != 0 {
            return;
        }
        let tokens: Vec<u32> = if tokens.is_empty() { vec![0] } else { tokens };
        if sound(rasp_prefill(session, tokens.as_ptr(), tokens.len().min(5), &mut error), &error) == 0 {
            let mut token = 0;
            for round in 0..3 {
                if round == 1 {
                    sound(rasp_session_set_sparsity(session, info.max_sparsity, &mut error), &error);
                }
                if sound(rasp_step(session, &mut token, &mut error), &error) >= 0 {
                    assert!(token < info.vocab_size, "a token that there is not");
                    let mut logits = null();
                    if sound(rasp_logits(session, &mut logits, &mut length, &mut error), &error) == 0 {
                        let logits = std::slice::from_raw_parts(logits, length);
                        assert!(logits.iter().all(|logit| logit.is_finite()), "logits that are no numbers");
                    }
                }
            }
            sound(rasp_session_shift(session, 1, 1, &mut error), &error);
            sound(rasp_step(session, &mut token, &mut error), &error);
        }
        rasp_session_close(session);
    }
}

/// Every token's bytes, and a text there and back. Gives its tokens.
pub fn use_tokenizer(model: *mut rasp_model, vocabulary: u32, text: &str) -> Vec<u32> {
    let (mut error, mut count, mut length) = (error(), 0, 0);
    let mut last = Vec::new();
    // SAFETY: the model is alive; all else are places of our own.
    unsafe {
        for id in 0..vocabulary.min(4096) {
            let mut bytes = null();
            if rasp_token_bytes(model, id, &mut bytes, &mut length, &mut error) == 0 && length > 0 {
                std::hint::black_box(std::slice::from_raw_parts(bytes, length).iter().fold(0, |a, b| a ^ b));
            }
            rasp_token_is_end(model, id);
            rasp_token_is_special(model, id);
        }
        let mut tokens = vec![0; 4 * text.len() + 64];
        for flags in 0..4 {
            let (start, room) = (tokens.as_mut_ptr(), tokens.len());
            let status =
                rasp_tokenize(model, text.as_ptr().cast(), text.len(), flags, start, room, &mut count, &mut error);
            if sound(status, &error) != 0 {
                continue;
            }
            let ids = &tokens[..count];
            assert!(ids.iter().all(|&id| id < vocabulary), "an id that there is not");
            let mut bytes = vec![0; 1 << 16];
            let (start, room) = (bytes.as_mut_ptr(), bytes.len());
            let status = rasp_detokenize(model, ids.as_ptr(), count, flags & 1, start, room, &mut length, &mut error);
            sound(status, &error);
            last = ids.to_vec();
        }
    }
    last
}

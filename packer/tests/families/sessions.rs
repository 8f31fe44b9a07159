//! Whatever a session does, it computes the same: to the bit.

use rasp::{Sampling, Session, Status};

use crate::each;
use crate::packed::{Packed, SPARSITY};

/// The logits behind each token, decoded one by one.
fn decoded(session: &mut Session, tokens: &[u32]) -> Result<Vec<Vec<f32>>, String> {
    let one = |&token: &u32| -> rasp::Result<Vec<f32>> {
        session.decode(token)?;
        Ok(session.logits()?.to_vec())
    };
    tokens.iter().map(one).collect::<rasp::Result<_>>().map_err(|e| e.to_string())
}

fn same_bits(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) -> Result<(), String> {
    assert_eq!(found.len(), expected.len());
    let bits = |row: &Vec<f32>| row.iter().map(|l| l.to_bits()).collect::<Vec<_>>();
    match found.iter().zip(expected).position(|(a, b)| bits(a) != bits(b)) {
        None => Ok(()),
        Some(row) => Err(format!("{what}: other bits behind token {row}")),
    }
}

#[test]
fn masked_passes_decoding_and_prompts_in_pieces_give_the_same_bits() {
    each(|packed| {
        let tokens = &packed.case.tokens;
        for sparsity in [0.0, SPARSITY] {
            let expected = packed.logits(sparsity, 0).map_err(|e| e.to_string())?;
            let mut session = packed.session();
            session.set_sparsity(sparsity).unwrap();
            same_bits(&decoded(&mut session, tokens)?, &expected, &format!("decoding at {sparsity}"))?;
        }
        let (dense, sparse) = (packed.logits(0.0, 0).unwrap(), packed.logits(SPARSITY, 0).unwrap());
        if dense == sparse {
            return Err("sparsity changes nothing".into());
        }
        for piece in [1, 7, 20] {
            let mut session = packed.session();
            let mut rows = Vec::new();
            for part in tokens.chunks(piece) {
                session.prefill(part).unwrap();
                rows.push(session.logits().unwrap().to_vec());
            }
            let ends: Vec<_> = dense.iter().skip(piece - 1).step_by(piece).cloned().collect();
            same_bits(&rows[..ends.len()], &ends, &format!("prompts of {piece}"))?;
        }
        Ok(())
    });
}

/// Everything a session is, as bytes.
fn state(session: &Session) -> Vec<u8> {
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    bytes
}

#[test]
fn sessions_step_together_as_they_step_alone() {
    each(|packed| {
        let open = |n: usize| {
            let mut session = packed.session();
            session.set_sparsity([0.0, SPARSITY][n % 2]).unwrap();
            session.set_sampling(Sampling { temperature: 0.0, ..Default::default() }).unwrap();
            session.prefill(&packed.case.tokens[..[3, 14, 25, 36][n]]).unwrap();
            session
        };
        let mut alone: Vec<Session> = (0..4).map(open).collect();
        let mut together: Vec<Session> = (0..4).map(open).collect();
        for step in 0..packed.context().min(53) - 41 {
            let expected: Vec<u32> = alone.iter_mut().map(|s| s.step().unwrap()).collect();
            let mut found = vec![0; 4];
            let mut all: Vec<&mut Session> = together.iter_mut().collect();
            Session::step_batch(&mut all, |n, token| found[n] = token.unwrap()).unwrap();
            if found != expected || alone.iter().zip(&together).any(|(a, b)| state(a) != state(b)) {
                return Err(format!("step {step} differs"));
            }
        }
        Ok(())
    });
}

#[test]
fn a_saved_session_goes_on_elsewhere() {
    each(|packed| {
        let tokens = &packed.case.tokens;
        let expected = packed.logits(0.0, 0).map_err(|e| e.to_string())?;
        // Within a window of 16, at its edge, beyond it.
        for at in [9, 16, 37] {
            let mut session = packed.session();
            session.prefill(&tokens[..at]).unwrap();
            let saved = state(&session);
            drop(session);
            let mut session = packed.session();
            session.prefill(&tokens[..5]).unwrap();
            session.restore(&saved).map_err(|e| e.to_string())?;
            same_bits(&decoded(&mut session, &tokens[at..])?, &expected[at..], &format!("restored at {at}"))?;
        }
        Ok(())
    });
}

#[test]
fn a_rewind_past_the_edge_of_a_window_forgets_what_came_after() {
    each(|packed| {
        let tokens = &packed.case.tokens;
        let expected = packed.logits(0.0, 0).map_err(|e| e.to_string())?;
        let mut session = packed.session();
        session.prefill(&tokens[..40]).unwrap();
        for to in [39, 24, 5] {
            session.rewind(to).map_err(|e| e.to_string())?;
            same_bits(&decoded(&mut session, &tokens[to..])?, &expected[to..], &format!("rewound to {to}"))?;
        }
        Ok(())
    });
}

/// Families that cannot move what they have cached: learned positions, and keys that are normed after their rotation.
const FIXED: [&str; 3] = ["gpt2", "gpt2_hub", "hunyuan"];

/// A model of one layer remembers nothing of what is discarded but where it stood, and that is put right.
#[test]
fn a_shifted_layer_is_one_that_never_held_what_was_discarded() {
    const KEPT: usize = 3;
    each(|packed| {
        for case in packed.case.single_layers() {
            let one = Packed::with("one_layer", case, |_| {}).map_err(|e| e.to_string())?;
            let tokens = &one.case.tokens;
            let mut session = one.session();
            session.prefill(&tokens[..40]).unwrap();
            match session.shift(KEPT, 12) {
                Err(e) if e.status() == Status::Unsupported && FIXED.contains(&one.case.name.as_str()) => continue,
                shifted => shifted.map_err(|e| e.to_string())?,
            }
            let mut fresh = one.session();
            fresh.prefill(&[&tokens[..KEPT], &tokens[KEPT + 12..40]].concat()).unwrap();
            let (found, expected) = (decoded(&mut session, &tokens[40..])?, decoded(&mut fresh, &tokens[40..])?);
            let pairs = found.iter().flatten().zip(expected.iter().flatten());
            let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if apart.is_nan() || apart > 1e-3 {
                return Err(format!("logits are {apart} from those of a fresh session"));
            }
        }
        Ok(())
    });
}

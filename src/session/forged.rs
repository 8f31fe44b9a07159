//! Tests: saved states whose checksum is right and whose content is not.

use super::state::HEADER;
use super::{Session, SessionOptions};
use crate::hash::xxh64;
use crate::tiny;
use crate::{LoadOptions, Model, Sampling, Status};

/// A session with 9 tokens, the last one sampled, and its state.
fn saved() -> (Session, Vec<u8>) {
    let path =
        std::env::temp_dir().join(format!("rasp-forged-{}-{:?}", std::process::id(), std::thread::current().id()));
    tiny::Tiny::new().write(&path);
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut session = Session::open(model, &SessionOptions { context: 40, ..Default::default() }).unwrap();
    session.set_sampling(Sampling { temperature: 1.0, repetition_penalty: 1.1, ..Default::default() }).unwrap();
    session.prefill(&[1, 2, 3, 4, 5, 6]).unwrap();
    for _ in 0..3 {
        session.step().unwrap();
    }
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    (session, bytes)
}

fn seal(bytes: &mut [u8]) {
    let (content, checksum) = bytes.split_last_chunk_mut::<8>().unwrap();
    *checksum = xxh64(content, 0).to_le_bytes();
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let (mut session, good) = saved();
    let token = HEADER + 4 * 3;
    let sparsity = HEADER + 4 * 9 + 4 * 2;
    for (at, value, word) in [
        (12, 7, "has flags 0x7"),
        (12, 2, "not what 9 tokens take"),
        (12, 1, "not what 9 tokens take"),
        (12, 0, "not what 9 tokens take"),
        (36, 8, "not what 8 tokens take"),
        (40, 0.6f32.to_bits(), "none this model has"),
        (40, f32::NAN.to_bits(), "none this model has"),
        (44, f32::NAN.to_bits(), "temperature"),
        (52, 0, "top_p"),
        (60, (-1.0f32).to_bits(), "repetition_penalty"),
        (token, 257, "token 3 of the state"),
        (sparsity, 1.0f32.to_bits(), "none this model has"),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        seal(&mut bytes);
        let error = session.restore(&bytes).unwrap_err();
        assert!(error.status() == Status::BadState && error.message().contains(word), "byte {at}: {error}");
    }
    let mut bytes = good.clone();
    let last = bytes.len() - 12;
    bytes[last..last + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    seal(&mut bytes);
    assert!(session.restore(&bytes).unwrap_err().message().contains("no finite number"));
    let mut bytes = good.clone();
    bytes[36..40].fill(0);
    seal(&mut bytes);
    assert!(session.restore(&bytes).unwrap_err().message().contains("no tokens"));
    let mut bytes = good.clone();
    bytes[76..108].fill(0);
    seal(&mut bytes);
    assert!(session.restore(&bytes).unwrap_err().message().contains("random numbers"));
    let mut bytes = good.clone();
    bytes[36..40].copy_from_slice(&41u32.to_le_bytes());
    seal(&mut bytes);
    assert_eq!(session.restore(&bytes).unwrap_err().status(), Status::ContextFull);
    // None of them changed anything.
    let mut again = vec![0; session.state_size()];
    session.save(&mut again).unwrap();
    assert!(again == good);
}

/// The first version had no head's input: after a rewind there is none, and then the states are alike but for the
/// number.
#[test]
fn a_state_of_the_first_version_is_read() {
    let (mut session, with_head) = saved();
    session.rewind(5).unwrap();
    let mut bytes = vec![0; session.state_size()];
    session.save(&mut bytes).unwrap();
    bytes[8] = 1;
    seal(&mut bytes);
    session.restore(&bytes).unwrap();
    assert_eq!(session.tokens(), [1, 2, 3, 4, 5]);
    session.step().unwrap();
    // It cannot have had one.
    let mut bytes = with_head;
    bytes[8] = 1;
    seal(&mut bytes);
    assert!(session.restore(&bytes).unwrap_err().message().contains("which version 1 has not"));
    bytes[8] = 4;
    seal(&mut bytes);
    assert_eq!(session.restore(&bytes).unwrap_err().status(), Status::UnsupportedVersion);
    // One of windows, which this session does not hold; and one that does not say so.
    for (flags, word) in [(4 | 2, "windows alone"), (2, "windows alone")] {
        (bytes[8], bytes[12]) = (3, flags);
        seal(&mut bytes);
        let error = session.restore(&bytes).unwrap_err();
        assert!(error.status() == Status::BadState && error.message().contains(word), "{error}");
    }
}

/// Every byte but those of the checksum, which is made right again: refused, or a session that can be used.
#[cfg_attr(miri, ignore = "thousands of states")]
#[test]
fn any_state_that_is_taken_can_be_gone_on_with() {
    let (mut session, good) = saved();
    let (mut taken, mut refused) = (0, 0);
    for at in 0..good.len() - 8 {
        for bits in [0x01, 0x40, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= bits;
            seal(&mut bytes);
            match session.restore(&bytes) {
                Err(_) => refused += 1,
                Ok(()) => {
                    taken += 1;
                    // A cache of nonsense may give logits that are no numbers: an error, too.
                    let _ = (0..3).try_for_each(|_| session.step().map(drop));
                    let _ = session.rewind(4).and_then(|()| session.shift(1, 1));
                    session.restore(&good).unwrap();
                }
            }
        }
    }
    assert!(refused > 200 && taken > 4000, "{refused} refused, {taken} taken");
}

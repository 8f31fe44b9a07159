//! Builds the hash tables that `rasp::text` looks ids up in.

use rasp::text::{NONE, PROBES};
use rasp::{Error, Result, Status};

/// An open-addressing table of `(hash, row)` entries, at most two thirds full and grown until no lookup needs more than
/// [`PROBES`] slots.
pub(super) fn build(entries: &[(u32, u32)]) -> Result<Vec<u32>> {
    let least = (entries.len() * 3 / 2 + 1).next_power_of_two();
    for slots in [least, 2 * least, 4 * least, 8 * least] {
        if let Some(table) = fill(entries, slots) {
            return Ok(table);
        }
    }
    Err(Error::new(Status::Unsupported, format!("the hashes of {} table entries fall together", entries.len())))
}

fn fill(entries: &[(u32, u32)], slots: usize) -> Option<Vec<u32>> {
    let mut table = vec![NONE; slots];
    for &(hash, row) in entries {
        let free = (0..PROBES).map(|probe| (hash as usize + probe) % slots).find(|&slot| table[slot] == NONE)?;
        table[free] = row;
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_near_their_hash_or_the_table_grows() {
        let entries: Vec<(u32, u32)> = (0..1000).map(|i| (rasp::text::hash_pair(i, 7), i)).collect();
        let table = build(&entries).unwrap();
        for (hash, row) in entries {
            let near = (0..PROBES).any(|p| table[(hash as usize + p) % table.len()] == row);
            assert!(near, "{row}");
        }
        assert_eq!(build(&[]).unwrap(), [NONE]);
        let same: Vec<(u32, u32)> = (0..40).map(|i| (5, i)).collect();
        assert_eq!(build(&same).unwrap_err().status(), Status::Unsupported);
    }
}

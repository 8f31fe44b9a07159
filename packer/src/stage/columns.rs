//! From matrices with a row an output to one with a row an input channel.

/// Linears side by side: a row an input channel, their outputs in columns.
pub(super) struct SideBySide<T> {
    rows: Vec<T>,
    width: usize,
    /// Columns filled so far.
    filled: usize,
}

impl<T: Copy + Default> SideBySide<T> {
    /// As many columns as all linears have outputs.
    pub(super) fn new(width: usize) -> SideBySide<T> {
        SideBySide { rows: Vec::new(), width, filled: 0 }
    }

    /// Adds the transpose of a row-major matrix with rows of `cols`, a tile at a time so that both stay in the cache.
    pub(super) fn add(&mut self, from: &[T], cols: usize) {
        const TILE: usize = 32;
        self.rows.resize(cols * self.width, T::default());
        let outputs = from.len() / cols;
        for row0 in (0..outputs).step_by(TILE) {
            for col0 in (0..cols).step_by(TILE) {
                for col in col0..cols.min(col0 + TILE) {
                    let line = &mut self.rows[col * self.width + self.filled..][..outputs];
                    for row in row0..outputs.min(row0 + TILE) {
                        line[row] = from[row * cols + col];
                    }
                }
            }
        }
        self.filled += outputs;
    }

    /// The rows in the order of their channels.
    pub(super) fn into_rows(self) -> Vec<T> {
        self.rows
    }

    /// The rows where `places` has them, one a channel.
    pub(super) fn into_placed_rows(self, places: impl Iterator<Item = usize>) -> Vec<T> {
        let mut placed = vec![T::default(); self.rows.len()];
        for (row, place) in self.rows.chunks_exact(self.width).zip(places) {
            placed[place * self.width..][..self.width].copy_from_slice(row);
        }
        placed
    }
}

/// The transpose of a row-major `[rows, cols]`.
pub(super) fn transposed<T: Copy + Default>(from: &[T], rows: usize, cols: usize) -> Vec<T> {
    let mut columns = SideBySide::new(rows);
    columns.add(from, cols);
    columns.into_rows()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_lands_in_its_columns() {
        for (rows, cols) in [(1, 1), (3, 40), (70, 33)] {
            let first: Vec<u16> = (0..2 * cols).map(|i| 60000 + i as u16).collect();
            let second: Vec<u16> = (0..rows * cols).map(|i| i as u16).collect();
            let width = rows + 2;
            let columns = || {
                let mut columns = SideBySide::new(width);
                columns.add(&first, cols);
                columns.add(&second, cols);
                columns
            };
            let to = columns().into_rows();
            for (row, col) in (0..width).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                let expected = if row < 2 { first[row * cols + col] } else { second[(row - 2) * cols + col] };
                assert_eq!(to[col * width + row], expected);
            }
            let backwards = columns().into_placed_rows((0..cols).rev());
            assert!(backwards.chunks(width).rev().eq(to.chunks(width)));
        }
    }
}

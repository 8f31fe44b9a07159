//! Which rows of a checkpoint's tensor are a linear's, in the order in which the engine has them: fused tensors are taken
//! apart, and the channels of each head are put where the engine's rotation wants them.

use rasp::format::LinearShape;
use rasp::model::{GroupKind, LinearKind};

use super::config::Shape;
use super::names::{Fused, Names};

/// Whether rotary position embedding turns its output.
fn is_rotated(linear: LinearKind) -> bool {
    matches!(linear, LinearKind::Q | LinearKind::K)
}

/// The group of linears that a linear may be fused with.
pub(crate) fn group(linear: LinearKind) -> GroupKind {
    match linear {
        LinearKind::Q | LinearKind::K | LinearKind::V => GroupKind::Qkv,
        LinearKind::O => GroupKind::O,
        LinearKind::Gate | LinearKind::Up => GroupKind::GateUp,
        LinearKind::Down => GroupKind::Down,
    }
}

/// `[rows, columns]` of the tensor that holds a linear, as `[outputs, inputs]`.
pub(crate) fn source_shape(shape: &Shape, names: &Names, linear: LinearKind) -> [usize; 2] {
    let config = &shape.config;
    let group = group(linear);
    let LinearShape { inputs, outputs } =
        if names.is_fused(group) { config.group_shape(group) } else { config.linear_shape(linear) };
    [outputs, inputs]
}

/// The rows of that tensor that are the linear's; `None`: all of them, as they are.
pub(crate) fn rows(shape: &Shape, names: &Names, linear: LinearKind) -> Option<Vec<usize>> {
    let config = &shape.config;
    let group = group(linear);
    let outputs = config.linear_shape(linear).outputs;
    let order = shape.fold.head_order(config.head_dim).filter(|_| is_rotated(linear));
    let fused = names.is_fused(group);
    if !fused && order.is_none() {
        return None;
    }
    let dim = config.head_dim;
    // The output, were the head's channels in the source's order.
    let output = |row: usize| order.as_ref().map_or(row, |order| row / dim * dim + order[row % dim]);
    let place = |row: usize| match (fused, group, names.fused) {
        (false, ..) => row,
        (true, GroupKind::Qkv, Fused::Groups) => {
            let (head, channel) = (row / dim, row % dim);
            let queries = config.num_heads / config.num_kv_heads;
            let (group, within) = match linear {
                LinearKind::Q => (head / queries, head % queries),
                LinearKind::K => (head, queries),
                _ => (head, queries + 1),
            };
            (group * (queries + 2) + within) * dim + channel
        }
        (true, ..) => {
            let before = config.group_linears(group).iter().take_while(|other| **other != linear);
            before.map(|other| config.linear_shape(*other).outputs).sum::<usize>() + row
        }
    };
    Some((0..outputs).map(|row| place(output(row))).collect())
}

/// Those rows of a row-major matrix, or of none.
pub(crate) fn gathered<T: Copy>(data: Vec<T>, cols: usize, rows: Option<&[usize]>) -> Vec<T> {
    match rows {
        Some(rows) if !data.is_empty() => {
            rows.iter().flat_map(|row| &data[row * cols..(row + 1) * cols]).copied().collect()
        }
        _ => data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::config::Fold;
    use crate::import::names;
    use rasp::format::Config;
    use rasp::model::Block;

    fn shape(fold: impl Fn(&mut Fold), gated: bool) -> Shape {
        let config = Config { block: Block { gated, ..Block::default() }, head_dim: 4, ..Config::example() };
        let mut own = Fold::none(&config);
        fold(&mut own);
        Shape { fold: Fold { rotary_dim: own.rotary_dim.min(4), ..own }, config, ropes: Vec::new() }
    }

    #[test]
    fn what_is_as_the_engine_has_it_is_left_alone() {
        let shape = shape(|_| (), true);
        assert!(LinearKind::ALL.iter().all(|&linear| rows(&shape, &names::HF, linear).is_none()));
        assert_eq!(gathered(vec![1, 2, 3], 1, None), [1, 2, 3]);
        assert_eq!(gathered(vec![1, 2, 3, 4], 2, Some(&[1, 0])), [3, 4, 1, 2]);
        // A grid without minima has none for any row.
        assert!(gathered(Vec::<u16>::new(), 2, Some(&[1, 0])).is_empty());
    }

    /// Four query heads of width 4 in two groups.
    #[test]
    fn fused_tensors_are_taken_apart() {
        let stacked = shape(|_| (), true);
        let own = |linear| rows(&stacked, &names::HF_PHI3, linear).unwrap();
        assert_eq!(own(LinearKind::Q), (0..16).collect::<Vec<_>>());
        assert_eq!(own(LinearKind::K), (16..24).collect::<Vec<_>>());
        assert_eq!(own(LinearKind::V), (24..32).collect::<Vec<_>>());
        assert_eq!((own(LinearKind::Gate)[0], own(LinearKind::Up)[0]), (0, 96));
        assert_eq!(source_shape(&stacked, &names::HF_PHI3, LinearKind::K), [32, 64]);

        let grouped = shape(|_| (), false);
        let own = |linear| rows(&grouped, &names::HF_FALCON, linear).unwrap();
        // [q q k v | q q k v]
        assert_eq!(own(LinearKind::Q), [(0..8), (16..24)].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(own(LinearKind::K), [(8..12), (24..28)].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(own(LinearKind::V), [(12..16), (28..32)].into_iter().flatten().collect::<Vec<_>>());
    }

    /// Scores of a query and a key by the source's rotation and by the engine's, on reordered rows.
    #[test]
    fn scores_do_not_change() {
        for (rotary_dim, interleaved) in [(4, true), (2, false), (2, true)] {
            let shape = shape(|fold| (fold.rotary_dim, fold.interleaved) = (rotary_dim, interleaved), true);
            let order = shape.fold.head_order(4).unwrap();
            let head = [[0.3f64, -1.0, 0.7, 2.0], [1.5, 0.25, -0.5, 0.9]];
            let turn = |x: [f64; 4], pairs: &[(usize, usize)], position: f64| {
                let mut y = x;
                for (i, &(a, b)) in pairs.iter().enumerate() {
                    let (sin, cos) = (position * 0.3 / (i + 1) as f64).sin_cos();
                    (y[a], y[b]) = (x[a] * cos - x[b] * sin, x[a] * sin + x[b] * cos);
                }
                y
            };
            let pairs: Vec<(usize, usize)> = (0..rotary_dim / 2)
                .map(|i| if interleaved { (2 * i, 2 * i + 1) } else { (i, i + rotary_dim / 2) })
                .collect();
            let engine: Vec<(usize, usize)> = (0..rotary_dim / 2).map(|i| (i, i + 2)).collect();
            let reordered = head.map(|x| std::array::from_fn(|at| x[order[at]]));
            let score = |head: [[f64; 4]; 2], pairs: &[(usize, usize)]| {
                let (q, k) = (turn(head[0], pairs, 7.0), turn(head[1], pairs, 3.0));
                q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>()
            };
            assert!((score(head, &pairs) - score(reordered, &engine)).abs() < 1e-12, "{rotary_dim} {interleaved}");
        }
    }
}

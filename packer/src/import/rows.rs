//! Which rows of a checkpoint's tensor are a linear's, in the order in which the engine has them: fused tensors are
//! taken apart, and the channels of each head are put where the engine's rotation wants them.

use std::ops::Range;

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

/// The rows of that tensor that are a linear's.
pub(crate) struct LinearRows {
    /// Where they lie, perhaps among others.
    pub(crate) span: Range<usize>,
    /// Each of them in the engine's order, counted from the span's first; `None`: the whole span as it is.
    pub(crate) order: Option<Vec<usize>>,
}

impl LinearRows {
    pub(crate) fn of(shape: &Shape, names: &Names, linear: LinearKind) -> LinearRows {
        let Some(mut order) = order(shape, names, linear) else {
            return LinearRows { span: 0..shape.config.linear_shape(linear).outputs, order: None };
        };
        let start = order.iter().copied().min().unwrap_or(0);
        let end = order.iter().copied().max().map_or(start, |last| last + 1);
        order.iter_mut().for_each(|row| *row -= start);
        let as_it_is = order.iter().copied().eq(0..end - start);
        LinearRows { span: start..end, order: (!as_it_is).then_some(order) }
    }

    /// A linear's rows of `cols` values out of its span; of none, none.
    pub(crate) fn gathered<T: Copy>(&self, span: Vec<T>, cols: usize) -> Vec<T> {
        match &self.order {
            Some(order) if !span.is_empty() => {
                order.iter().flat_map(|row| &span[row * cols..(row + 1) * cols]).copied().collect()
            }
            _ => span,
        }
    }
}

/// Their numbers in the tensor; `None`: all of them, as they are.
fn order(shape: &Shape, names: &Names, linear: LinearKind) -> Option<Vec<usize>> {
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
        for linear in LinearKind::ALL {
            let rows = LinearRows::of(&shape, &names::HF, linear);
            assert!(rows.order.is_none() && rows.span == (0..shape.config.linear_shape(linear).outputs));
        }
        assert_eq!(LinearRows { span: 0..3, order: None }.gathered(vec![1, 2, 3], 1), [1, 2, 3]);
        let turned = LinearRows { span: 0..2, order: Some(vec![1, 0]) };
        assert_eq!(turned.gathered(vec![1, 2, 3, 4], 2), [3, 4, 1, 2]);
        // A grid without minima has none for any row.
        assert!(turned.gathered(Vec::<u16>::new(), 2).is_empty());
    }

    /// Four query heads of width 4 in two groups.
    #[test]
    fn fused_tensors_are_taken_apart() {
        let stacked = shape(|_| (), true);
        let own = |linear| order(&stacked, &names::HF_PHI3, linear).unwrap();
        assert_eq!(own(LinearKind::Q), (0..16).collect::<Vec<_>>());
        assert_eq!(own(LinearKind::K), (16..24).collect::<Vec<_>>());
        assert_eq!(own(LinearKind::V), (24..32).collect::<Vec<_>>());
        assert_eq!((own(LinearKind::Gate)[0], own(LinearKind::Up)[0]), (0, 96));
        assert_eq!(source_shape(&stacked, &names::HF_PHI3, LinearKind::K), [32, 64]);
        let part = LinearRows::of(&stacked, &names::HF_PHI3, LinearKind::K);
        assert!(part.span == (16..24) && part.order.is_none());

        let grouped = shape(|_| (), false);
        let own = |linear| order(&grouped, &names::HF_FALCON, linear).unwrap();
        // [q q k v | q q k v]
        assert_eq!(own(LinearKind::Q), [(0..8), (16..24)].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(own(LinearKind::K), [(8..12), (24..28)].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(own(LinearKind::V), [(12..16), (28..32)].into_iter().flatten().collect::<Vec<_>>());
        let part = LinearRows::of(&grouped, &names::HF_FALCON, LinearKind::K);
        assert_eq!((part.span.clone(), part.gathered((8..28).collect(), 1)), (8..28, own(LinearKind::K)));
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

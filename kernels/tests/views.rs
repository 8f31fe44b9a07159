//! The views refuse what would lie outside their data: the kernels rely on it.

use rasp_kernels::{Active, Elems, Isa, Kernels, MatMut, MatRef, Matrix, interleaved_place};

#[test]
fn a_view_lies_within_its_data() {
    let data = [0u16; 100];
    let new = |rows, cols, stride| Matrix::new(Elems::Bf16(&data), rows, cols, stride).is_some();
    assert!(new(10, 10, 10));
    assert!(!new(10, 11, 10));
    assert!(!new(11, 10, 10));
    assert!(new(3, 20, 40));
    assert!(!new(3, 21, 40));
    assert!(new(0, 1000, 1000) && new(1000, 0, 1000) && new(1, 100, usize::MAX));
    assert!(!new(2, 1, usize::MAX) && !new(usize::MAX, 1, usize::MAX) && !new(3, 1, usize::MAX / 2));
    assert!(!new(1, usize::MAX, 0) && !new(usize::MAX, usize::MAX, 1));

    let data = [0.0f32; 100];
    assert!(MatRef::new(&data, 10, 10, 10).is_some() && MatRef::new(&data, 10, 11, 10).is_none());
    let mut data = data;
    assert!(MatMut::new(&mut data, 10, 10, 10).is_some());
    assert!(MatMut::new(&mut data, 2, 10, 9).is_none(), "rows that overlap");
    assert!(MatMut::new(&mut data, 1, 10, 0).is_some(), "one row cannot");
}

#[test]
fn parts_of_views() {
    let data: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let w = Matrix::new(Elems::F32(&data), 10, 8, 10).unwrap();
    let at = |w: Matrix<'_>, k: usize, c: usize| match w.elems() {
        Elems::F32(data) => data[k * w.stride() + c],
        _ => unreachable!(),
    };
    let part = w.row_range(2..5).columns(3..8);
    assert_eq!((part.rows(), part.cols(), part.stride()), (3, 5, 10));
    assert_eq!(at(part, 2, 4), 47.0);
    for empty in [w.columns(8..8), w.row_range(10..10), w.columns(0..0).row_range(9..10)] {
        assert!(empty.rows() == 0 || empty.cols() == 0);
    }
    // A wide empty view has parts too: nothing of it is anywhere.
    let empty = Matrix::new(Elems::F32(&[]), usize::MAX, 0, usize::MAX).unwrap();
    assert_eq!(empty.row_range(5..usize::MAX).columns(0..0).cols(), 0);
    let empty = Matrix::new(Elems::F32(&[]), 0, usize::MAX, 3).unwrap();
    assert_eq!(empty.columns(7..9).row_range(0..0).cols(), 2);

    let mut data = data.clone();
    let mut y = MatMut::new(&mut data, 10, 10, 10).unwrap();
    y.reborrow().columns(4..6).row_mut(3)[1] = -1.0;
    assert_eq!(y.row(3)[5], -1.0);
    let (mut left, mut right) = y.split_at_col(5);
    left.row_mut(9)[4] = -2.0;
    right.row_mut(9)[0] = -3.0;
    assert_eq!((data[94], data[95]), (-2.0, -3.0));
}

#[test]
fn interleaved_rows_are_dealt_to_eight_runs() {
    // 19 rows: 8 runs of 2, and 3 over.
    let places: Vec<usize> = (0..19).map(|k| interleaved_place(k, 19)).collect();
    assert_eq!(places, [0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15, 16, 17, 18]);
    let data: Vec<f32> = (0..19).map(|i| i as f32).collect();
    let w = Matrix::interleaved(Elems::F32(&data), 19, 1, 1).unwrap();
    for (k, place) in places.into_iter().enumerate() {
        let Elems::F32(row) = w.row(k) else { unreachable!() };
        assert_eq!((w.place(k), row), (place, &[place as f32][..]));
    }
}

#[test]
fn ranges_of_interleaved_rows() {
    // 43 rows: 8 runs of 5, and 3 over.
    let data: Vec<f32> = (0..43 * 2).map(|i| i as f32).collect();
    let w = Matrix::interleaved(Elems::F32(&data), 43, 2, 2).unwrap();
    let first = |w: Matrix<'_>, k: usize| match w.row(k) {
        Elems::F32(row) => row[0],
        _ => unreachable!(),
    };
    for range in [0..43, 0..8, 8..24, 32..40, 0..40, 16..17, 24..31, 40..43, 41..42] {
        let part = w.row_range(range.clone());
        assert_eq!(part.rows(), range.len());
        for k in 0..part.rows() {
            assert_eq!(first(part, k), first(w, range.start + k), "row {k} of {range:?}");
        }
        // And of that the columns, and parts again.
        assert_eq!(part.columns(1..2).rows(), range.len());
    }
    let again = w.row_range(8..40).row_range(8..32);
    assert_eq!(first(again, 9), first(w, 25));
}

#[test]
#[should_panic(expected = "interleaved rows")]
fn a_range_of_interleaved_rows_begins_with_a_round() {
    let w = Matrix::interleaved(Elems::F32(&[0.0; 48]), 16, 3, 3).unwrap();
    w.row_range(1..8);
}

#[test]
fn active_channels_are_checked() {
    assert!(Active::from_checked(&[], 0).is_some());
    assert!(Active::from_checked(&[0, 3, 9], 10).is_some());
    assert!(Active::from_checked(&[0, 3, 10], 10).is_none());
    assert!(Active::from_checked(&[0, 3, 3], 10).is_none());
    assert!(Active::from_checked(&[3, 0], 10).is_none());
    assert!(Active::from_checked(&[0], 0).is_none());
}

#[test]
fn dispatch() {
    for isa in Isa::ALL {
        assert_eq!(Isa::parse(isa.name()), Some(isa));
        assert_eq!(Kernels::for_isa(isa).map(|menu| menu.isa()), Kernels::available().find(|&i| i == isa));
    }
    assert_eq!(Isa::parse("AVX2"), None);
    assert_eq!(Kernels::available().next(), Some(Isa::Scalar));
    assert_eq!(Some(Kernels::best().isa()), Kernels::available().last());
}

#[test]
#[should_panic(expected = "gemv_floats: y.len() == w.cols()")]
fn shapes_are_asserted() {
    let w = Matrix::new(Elems::F32(&[0.0; 6]), 2, 3, 3).unwrap();
    Kernels::best().gemv(&mut [0.0; 2], &[0.0; 2], w);
}

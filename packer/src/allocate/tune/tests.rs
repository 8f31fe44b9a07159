//! Slopes by hand and against finite differences.

use super::*;
use crate::test_model::{TOKENS, model};

#[test]
fn the_heads_gradient_is_that_of_finite_differences() {
    let model = model();
    let windows: &[&[u32]] = &[&TOKENS];
    let pass = WindowPass { model: &model, window: windows[0] };
    let mut streams = pass.streams(Masks::DENSE);
    let (dense, x) = (streams.pop().unwrap(), streams.pop().unwrap());
    assert!(divergence_gradient(&model, &dense, &dense).unwrap().0.abs() < 1e-5);
    let (divergence, gradient) = divergence_gradient(&model, &x, &dense).unwrap();
    assert!(divergence > 0.0);
    for at in (0..x.data().len()).step_by(53) {
        let moved = |by: f32| {
            let mut moved = x.clone();
            moved.data_mut()[at] += by;
            divergence_gradient(&model, &moved, &dense).unwrap().0
        };
        let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        let found = f64::from(gradient.data()[at]);
        assert!((found - slope).abs() < 2e-2 * slope.abs().max(0.05), "element {at}: {found} for {slope}");
    }
}

#[test]
fn a_slope_is_steepest_at_the_threshold() {
    let mut slopes = Slopes::new(3);
    let x = Mat::new(vec![9.0, 9.0, 9.0, -2.0, 1.0, 100.0], 2, 3);
    let h = Mat::new(vec![1.0, 1.0, 1.0, 3.0, 5.0, 7.0], 2, 3);
    // The first token is dense. Then: at the threshold, at half of it, far above it.
    slopes.take(&x, &h, &[0.5, 0.5, 0.5], 1.0, 1);
    assert_eq!((slopes.kept, slopes.of), (1, 3));
    let half = 2.0 * 0.25 / (1.25f32 * 1.25);
    assert_eq!((slopes.share[0], slopes.loss[0]), (0.5, -3.0));
    assert!((slopes.share[1] - half).abs() < 1e-6 && (slopes.loss[1] - 5.0 * half).abs() < 1e-5);
    let far = 2.0 * 2500.0 / (2501.0f32 * 2501.0);
    assert!((slopes.share[2] - far).abs() < 1e-6);
}

#[test]
fn channels_compete_within_their_linear() {
    let scores = [vec![1.0f32; 4]];
    let point = Point { threshold: 1.0, thresholds: vec![1.0], tails: Vec::new() };
    let mut tuned = Tuned::new(&scores, point);
    // All help, the first more than the others: its score rises, the others fall, by as much together.
    let found = Slopes { loss: vec![-4.0, -1.0, -1.0, -2.0], share: vec![1.0; 4], kept: 2, of: 4 };
    tuned.linears[0].step(&found, 0, 10);
    let factors = &tuned.linears[0].log_factors;
    assert!(factors[0] > 0.0 && factors[1] < 0.0 && factors[1] == factors[2], "{factors:?}");
    assert!(factors[3].abs() < 1e-7 && factors.iter().sum::<f32>().abs() < 1e-6, "{factors:?}");
    let usual = (factors.iter().map(|f| f * f).sum::<f32>() / 4.0).sqrt();
    assert!(usual < 1.01 * first_rate(10) && usual > 0.9 * first_rate(10), "{usual}");
    // Where no score is near the threshold nothing moves.
    let before = tuned.linears[0].log_factors.clone();
    tuned.linears[0].share = 0.0;
    tuned.linears[0].step(&Slopes::new(4), 1, 10);
    assert_eq!(tuned.linears[0].log_factors, before);
}

#[test]
fn more_steps_go_further_each_less_far() {
    let together = |steps: usize| {
        let mut tuned =
            Tuned::new(&[vec![1.0f32; 2]], Point { threshold: 1.0, thresholds: vec![1.0], tails: Vec::new() });
        let found = Slopes { loss: vec![-2.0, -1.0], share: vec![1.0; 2], kept: 1, of: 2 };
        (0..steps).for_each(|step| tuned.linears[0].step(&found, step, steps));
        tuned.linears[0].log_factors[0]
    };
    assert!(first_rate(96) < first_rate(24) && first_rate(24) < 0.03);
    let (few, many, most) = (together(24), together(96), together(2000));
    assert!(0.3 < few && few < 0.4 && 0.7 < many && many < 0.85 && 1.1 < most && most < 1.4, "{few}, {many}, {most}");
}

//! The head in 8 bits, for greedy decoding's first look (`rasp::model`, `look.rs`, has the inequality).

/// What is known of each row so far.
#[derive(Default)]
pub(crate) struct HeadLook {
    /// The value of 1 in the row's whole numbers.
    pub(crate) scale: Vec<f32>,
    /// At least the norm of what rounding took.
    pub(crate) error: Vec<f32>,
    /// At least the row's norm, before rounding and after.
    pub(crate) norm: Vec<f32>,
}

impl HeadLook {
    /// Adds a row, as the file holds it; returns its whole numbers, from -127 to 127.
    pub(crate) fn add(&mut self, row: &[f32]) -> Vec<i8> {
        let largest = row.iter().fold(0.0f32, |largest, w| largest.max(w.abs()));
        let scale = largest / 127.0;
        let whole = |w: f32| if scale > 0.0 { (w / scale).round().clamp(-127.0, 127.0) as i8 } else { 0 };
        let rounded: Vec<i8> = row.iter().map(|&w| whole(w)).collect();
        let lost = |(&w, &q): (&f32, &i8)| f64::from(w) - f64::from(scale) * f64::from(q);
        let error = norm(row.iter().zip(&rounded).map(lost));
        let size = norm(row.iter().map(|&w| f64::from(w)));
        self.scale.push(scale);
        self.error.push(at_least(error));
        self.norm.push(at_least(size + error));
        rounded
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// An f32 that is no smaller, rounding of the norm included.
fn at_least(x: f64) -> f32 {
    ((x * (1.0 + 1e-9)) as f32).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_of_a_row_is_true_of_it() {
        let mut look = HeadLook::default();
        assert_eq!(look.add(&[1.27, -0.63, 0.004, 0.0]), [127, -63, 0, 0]);
        assert_eq!(look.add(&[0.0; 4]), [0; 4]);
        assert_eq!(look.add(&[f32::MIN_POSITIVE / 4.0; 2]).len(), 2);
        assert!((look.scale[0] - 0.01).abs() < 1e-8 && look.scale[1] == 0.0);
        assert!((look.error[0] - 0.004).abs() < 1e-5, "{}", look.error[0]);
        assert!(look.norm[0] > 1.4176 && look.norm[0] < 1.43);
        assert!(look.error[1] > 0.0 && look.error[1] < 1e-40);
    }
}

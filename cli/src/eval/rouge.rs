//! ROUGE-L (Lin 2004, section 3.1): F1 of the longest common subsequence of words.

/// Words are runs of ASCII letters and digits, lower-cased, as in the `rouge_score` package without its stemmer.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let runs = lower.split(|c: char| !c.is_ascii_alphanumeric());
    runs.filter(|run| !run.is_empty()).map(str::to_string).collect()
}

/// F1 between 0 and 1; 0 if either text has no words.
pub fn rouge_l(candidate: &str, reference: &str) -> f64 {
    let (a, b) = (words(candidate), words(reference));
    // One row of the table of longest common subsequences.
    let mut row = vec![0; b.len() + 1];
    for word in &a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    let common = f64::from(row[b.len()]);
    match common {
        0.0 => 0.0,
        common => 2.0 * common / (a.len() + b.len()) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_example() {
        // Lin 2004, section 3.1: LCS of 3, 2 and 3 words against a reference of 4.
        let reference = "police killed the gunman";
        assert_eq!(rouge_l("police kill the gunman", reference), 0.75);
        assert_eq!(rouge_l("the gunman kill police", reference), 0.5);
        assert_eq!(rouge_l("Police killed; the gunman!", reference), 1.0);
        assert_eq!(rouge_l("", reference), 0.0);
        assert_eq!(rouge_l("none of it", "at all"), 0.0);
    }
}

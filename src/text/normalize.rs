//! Rewriting text before it is split.

use super::charsmap::Charsmap;
use super::layout::Rewrite;
use super::nfc::Nfc;
use super::tables::bad;
use crate::{Error, Result, Status};
use std::borrow::Cow;

/// No rewriting makes a text longer than this many times what it was (form C itself makes it at most three times
/// longer). It bounds the memory that settings can ask for.
const GROWTH: usize = 16;

/// No text is longer than its places can be told with 32 bits, [`NONE`](super::layout::NONE) left out.
const MOST: usize = u32::MAX as usize - 1;

/// The tables that rewrites go by, where they need them.
#[derive(Default)]
pub(super) struct RewriteTables {
    pub nfc: Option<Nfc>,
    pub charsmap: Option<Charsmap>,
}

/// The text after all rewrites, borrowed where they change nothing.
pub(super) fn normalize<'t, 'r>(
    rewrites: impl IntoIterator<Item = &'r Rewrite>,
    forms: &RewriteTables,
    text: &'t str,
) -> Result<Cow<'t, str>> {
    let limit = text.len().saturating_mul(GROWTH).saturating_add(1024).min(MOST);
    let mut text = Cow::Borrowed(text);
    for rewrite in rewrites {
        let rewritten = match rewrite {
            Rewrite::Nfc | Rewrite::Nfkc => match &forms.nfc {
                Some(nfc) => nfc.normalize(&text)?,
                None => return Err(bad("there are no normalization tables")),
            },
            Rewrite::Charsmap => match &forms.charsmap {
                Some(charsmap) => charsmap.normalize(&text, limit)?,
                None => return Err(bad("there is no map of characters")),
            },
            Rewrite::Lowercase => lowercase(&text, limit)?,
            Rewrite::Prepend(_) if text.is_empty() => None,
            Rewrite::Prepend(prefix) => {
                let mut longer = with_capacity(text.len().saturating_add(prefix.len()), limit)?;
                longer.push_str(prefix);
                longer.push_str(&text);
                Some(longer)
            }
            Rewrite::Replace { from, to } => replace(&text, from, to, limit)?,
        };
        if let Some(rewritten) = rewritten {
            within(rewritten.len(), limit)?;
            text = Cow::Owned(rewritten);
        }
    }
    Ok(text)
}

fn within(len: usize, limit: usize) -> Result<()> {
    if len > limit { Err(bad("the tokenizer's normalizer makes text many times longer")) } else { Ok(()) }
}

fn with_capacity(len: usize, limit: usize) -> Result<String> {
    within(len, limit)?;
    let mut text = String::new();
    text.try_reserve_exact(len)
        .map_err(|_| Error::new(Status::OutOfMemory, format_args!("no memory to normalize {len} bytes of text")))?;
    Ok(text)
}

/// No final sigma, no language's own rules.
fn lowercase(text: &str, limit: usize) -> Result<Option<String>> {
    let lower = || text.chars().flat_map(char::to_lowercase);
    if lower().eq(text.chars()) {
        return Ok(None);
    }
    let mut lowered = with_capacity(lower().map(char::len_utf8).sum(), limit)?;
    lowered.extend(lower());
    Ok(Some(lowered))
}

fn replace(text: &str, from: &str, to: &str, limit: usize) -> Result<Option<String>> {
    let count = text.matches(from).count();
    if count == 0 {
        return Ok(None);
    }
    let len = (text.len() - count * from.len()).saturating_add(count.saturating_mul(to.len()));
    let mut replaced = with_capacity(len, limit)?;
    for (i, between) in text.split(from).enumerate() {
        if i > 0 {
            replaced.push_str(to);
        }
        replaced.push_str(between);
    }
    Ok(Some(replaced))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rewrites: &[Rewrite], text: &str) -> String {
        normalize(rewrites, &RewriteTables::default(), text).unwrap().into_owned()
    }

    #[test]
    fn rewrites_apply_in_order() {
        let rewrites = [Rewrite::Prepend("_".into()), Rewrite::Replace { from: "_a".into(), to: "bb".into() }];
        assert_eq!(run(&rewrites, ""), "");
        assert_eq!(run(&rewrites, "a_ac"), "bbbbc");
        assert!(matches!(normalize(&rewrites[1..], &RewriteTables::default(), "plain").unwrap(), Cow::Borrowed(_)));
        for form in [Rewrite::Nfc, Rewrite::Charsmap] {
            assert_eq!(normalize(&[form], &RewriteTables::default(), "a").unwrap_err().status(), Status::BadFile);
        }
        assert_eq!(run(&[Rewrite::Lowercase], "ΣΑΣ İb ǅ"), "σασ i\u{307}b ǆ");
        assert!(matches!(
            normalize(&[Rewrite::Lowercase], &RewriteTables::default(), "plain").unwrap(),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn growth_is_bounded() {
        let double = Rewrite::Replace { from: "a".into(), to: "aaaaaaaa".into() };
        let rewrites = vec![double; 8];
        assert_eq!(
            normalize(&rewrites, &RewriteTables::default(), &"a".repeat(1000)).unwrap_err().status(),
            Status::BadFile
        );
    }
}

//! Which session takes a prompt: one that holds its beginning need not pass it again.
//!
//! What a session may keep are tokens that passed as a prompt's do: densely. Their keys and values are then those of a
//! fresh session to the bit, and so is the answer, whatever the server was asked before.

/// A session as the choice sees it.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The tokens that may be kept.
    pub tokens: &'a [u32],
    /// Whether it may take a prompt.
    pub idle: bool,
    /// Whether it may be copied: it is not in the middle of a prompt.
    pub whole: bool,
    /// When it was last given a prompt; larger is later.
    pub used: u64,
}

/// Where a prompt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub session: usize,
    /// Tokens that need not pass.
    pub kept: usize,
    /// The session to copy these from, if they are another's.
    pub from: Option<usize>,
}

/// So many tokens are worth a copy of their keys and values.
const WORTH_A_COPY: usize = 32;

/// The place of a prompt; `None` while no session is idle.
///
/// A session is taken as it is if it holds all of the prompt, or if the prompt goes on from its tokens, at least from
/// three quarters of them. Else the prompt goes to the session that was used longest ago, so that another conversation
/// stays where it is, and what the two have in common (a system message) is copied.
pub fn place(sessions: &[Held<'_>], prompt: &[u32]) -> Option<Placement> {
    // The last one passes in any case, for its logits.
    let most = prompt.len().saturating_sub(1);
    let common = |held: &Held<'_>| held.tokens.iter().zip(&prompt[..most]).take_while(|(a, b)| a == b).count();
    let idle = || sessions.iter().enumerate().filter(|(_, held)| held.idle);
    let (oldest, _) = idle().min_by_key(|(_, held)| held.used)?;
    let here = |session: usize, held: &Held<'_>| Placement { session, kept: common(held), from: None };
    let (longest, held) = idle().max_by_key(|(_, held)| (common(held), held.used))?;
    let kept = common(held);
    if kept > 0 && (kept == most || 4 * kept >= 3 * held.tokens.len()) {
        // One that is at work may hold more of it.
        let best = here(longest, held);
        return Some(copied(sessions, best, common).unwrap_or(best));
    }
    let best = here(oldest, &sessions[oldest]);
    Some(copied(sessions, best, common).unwrap_or(best))
}

/// The same place with more of the prompt from another session, if one holds so much more.
fn copied(sessions: &[Held<'_>], place: Placement, common: impl Fn(&Held<'_>) -> usize) -> Option<Placement> {
    let others = sessions.iter().enumerate().filter(|&(n, held)| n != place.session && held.whole);
    let (from, kept) = others.map(|(n, held)| (n, common(held))).max_by_key(|&(_, kept)| kept)?;
    (kept >= place.kept + WORTH_A_COPY).then_some(Placement { kept, from: Some(from), ..place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tokens: &[u32], used: u64) -> Held<'_> {
        Held { tokens, idle: true, whole: true, used }
    }

    #[test]
    fn a_conversation_goes_on_where_it_is() {
        let (first, second): (Vec<u32>, Vec<u32>) = ((0..100).collect(), (1000..1100).collect());
        let sessions = [held(&first, 1), held(&second, 2)];
        let prompt: Vec<u32> = (1000..1130).collect();
        assert_eq!(place(&sessions, &prompt), Some(Placement { session: 1, kept: 100, from: None }));
        // The same prompt again: all but its last token.
        assert_eq!(place(&sessions, &second), Some(Placement { session: 1, kept: 99, from: None }));
        // Nothing in common: the one that was used longest ago.
        assert_eq!(place(&sessions, &[7; 9]), Some(Placement { session: 0, kept: 0, from: None }));
        assert_eq!(place(&sessions, &[]), Some(Placement { session: 0, kept: 0, from: None }));
    }

    #[test]
    fn what_two_conversations_share_is_copied() {
        let mut long: Vec<u32> = (0..300).collect();
        let sessions = [held(&[], 1), held(&long, 2)];
        let prompt: Vec<u32> = (0..50).chain(900..950).collect();
        assert_eq!(place(&sessions, &prompt), Some(Placement { session: 0, kept: 50, from: Some(1) }));
        // Too little to be worth it.
        let prompt: Vec<u32> = (0..20).chain(900..950).collect();
        assert_eq!(place(&sessions, &prompt), Some(Placement { session: 0, kept: 0, from: None }));
        // With one session there is no choice.
        assert_eq!(place(&sessions[1..], &prompt), Some(Placement { session: 0, kept: 20, from: None }));
        // One that works can be copied, one in the middle of a prompt cannot.
        let at_work = Held { idle: false, ..held(&long, 2) };
        let same = Some(Placement { session: 0, kept: 299, from: Some(1) });
        assert_eq!(place(&[held(&[], 1), at_work], &long), same);
        assert_eq!(place(&[held(&[0, 1], 1), at_work], &long), same);
        let passing = Held { whole: false, ..at_work };
        assert_eq!(place(&[held(&[], 1), passing], &long), Some(Placement { session: 0, kept: 0, from: None }));
        assert_eq!(place(&[at_work, passing], &long), None);
        long.clear();
    }
}

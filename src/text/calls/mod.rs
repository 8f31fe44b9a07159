//! Calls of tools in answers, in the forms that chat templates teach, told from text and thoughts as they come.

mod format;
#[cfg(feature = "constrained")]
mod grammar;
mod json;
mod literal;
mod reading;
mod reply;
#[cfg(test)]
mod tests;
mod tools;

#[cfg(feature = "constrained")]
pub(crate) use grammar::grammar;
pub use reading::Call;
pub use reply::{Part, Reply};

use format::{Format, Thinking};

/// Notes that bytes were looked at or moved: a test holds their number to the answer's.
#[inline(always)]
fn looked(_bytes: usize) {
    #[cfg(test)]
    tests::LOOKED.with(|all| all.set(all.get() + _bytes));
}

/// How the models of a template call tools and think, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms {
    format: Option<&'static Format>,
    thinking: Option<&'static Thinking>,
}

impl Forms {
    pub(super) fn of(template: &str) -> Forms {
        Forms { format: Format::of(template), thinking: Thinking::of(template) }
    }

    pub(super) fn format_name(&self) -> Option<&'static str> {
        self.format.map(|format| format.name)
    }

    /// Whether the name of a special token is in a mark that an answer is told apart by.
    pub(super) fn has_mark(&self, name: &[u8]) -> bool {
        let thinking = self.thinking.into_iter().flat_map(|thinking| [thinking.open, thinking.close]);
        let mut marks = self.format.into_iter().flat_map(Format::marks).chain(thinking);
        !name.is_empty() && marks.any(|mark| mark.as_bytes().windows(name.len()).any(|part| part == name))
    }
}

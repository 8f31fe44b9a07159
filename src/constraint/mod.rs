//! Constrained output: text that a JSON schema, a regular expression or a grammar allows, and no other.
//!
//! The work is done by llguidance, behind the cargo feature `constrained`. Without it the types are here and making a
//! constraint fails with [`Unsupported`](crate::Status::Unsupported): nothing of it is linked.

#[cfg(not(feature = "constrained"))]
mod absent;
#[cfg(feature = "constrained")]
mod guided;
#[cfg(feature = "constrained")]
mod parser;
#[cfg(feature = "constrained")]
mod vocabulary;

#[cfg(not(feature = "constrained"))]
pub use absent::Constraint;
#[cfg(not(feature = "constrained"))]
pub(crate) use absent::Guide;
#[cfg(feature = "constrained")]
pub(crate) use guided::Guide;

#[cfg(feature = "constrained")]
pub use guided::Constraint;
#[cfg(feature = "constrained")]
pub(crate) use vocabulary::VocabularyTree;

/// What the source of a constraint is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// A JSON schema: the text is a value of it. One space follows `,` and `:`, and there is no other white space
    /// between its parts (a small model may else never stop writing it), unless the schema says `x-guidance`.
    JsonSchema,
    /// A regular expression in the syntax of the crate `regex`, which the whole text matches.
    Regex,
    /// A context-free grammar in llguidance's variant of Lark; its rule `start` is the whole text.
    Grammar,
    /// The tools of a chat, a list in JSON, or an object that has `tools` besides what else the chat template's
    /// variables are. The text is free until a call begins, in the form of the model's template; a call is of one of
    /// these functions, its arguments are of its schema. With a `tool_choice` of `"required"`, or of a function by its
    /// name as OpenAI has it, the text is one call, after a thought where the model begins with one.
    Tools,
}

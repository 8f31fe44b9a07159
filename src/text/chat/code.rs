//! A compiled template: one list of operations over a stack of values. Jumps are relative, so that a stretch can be
//! moved.

use super::memory::Value;

/// A stretch of a text: bytes from `start` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u32,
    pub len: u32,
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
    Concat,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

/// What a call is given, on the stack: `positional` values, then pairs of a name and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub positional: u16,
    pub named: u16,
}

impl Arguments {
    /// Values on the stack.
    pub fn values(self) -> usize {
        usize::from(self.positional) + 2 * usize::from(self.named)
    }
}

/// An operation. Names are spans of the template.
#[derive(Clone, Copy, Debug)]
pub(super) enum Instruction {
    /// Writes a stretch of the template.
    Text(Span),
    /// Writes the value on top.
    Emit,
    Push(Value),
    Pop,
    /// Takes away what lies below the top.
    Nip,
    Load(Span),
    Store(Span),
    /// Sets an attribute of the namespace of the first name.
    StoreAttribute(Span, Span),
    /// Takes a list apart into so many values, the first on top.
    Unpack(u16),
    Jump(i32),
    /// Jumps if the top, which goes, is false.
    JumpIfFalse(i32),
    /// Jumps if the top is false, and takes it away otherwise.
    And(i32),
    /// Jumps if the top is true, and takes it away otherwise.
    Or(i32),
    Not,
    Negate,
    Plus,
    Binary(Binary),
    /// Compares the two on top, of which the second stays below the outcome.
    CompareKeep(Binary),
    List(u32),
    Tuple(u32),
    Dict(u32),
    Attribute(Span),
    Item,
    /// Of an object, a start, a stop and a step.
    Slice,
    /// Takes apart the lists and dictionaries among what the next operation is given.
    Spread(Arguments),
    Filter(Span, Arguments),
    Test(Span, Arguments),
    Call(Arguments),
    Method(Span, Arguments),
    /// What is written from here on is kept.
    Capture,
    /// What was written since is on top.
    EndCapture,
    /// Begins a loop over the top.
    Loop {
        recursive: bool,
    },
    /// The next item is on top, or the loop is over and the jump is made.
    Next(i32),
    /// The item in hand passes the loop's condition.
    Keep,
    /// Begins anew with the items that were kept.
    Restart,
    /// An item went through all of the body.
    Done,
    /// Ends a loop; on top is whether any item went through all of the body.
    EndLoop,
    /// What `loop` is from here on.
    BindLoop,
    Scope,
    EndScope,
    /// The macro of this number is on top; its body ends so far on.
    Macro(u32, i32),
    /// The end of a macro, or of a parameter's default.
    Return,
    /// The call that follows has this macro for its `caller`.
    CallBlock(u32),
}

/// A macro, or the block of a `call`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Macro {
    pub name: Span,
    /// Its parameters: a range of [`Program::parameters`].
    pub first: u32,
    pub count: u32,
    /// Where its body begins.
    pub body: u32,
    /// Whether it takes more than its parameters: values, named ones, a block.
    pub varargs: bool,
    pub kwargs: bool,
    pub caller: bool,
}

/// A parameter of a macro.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub name: Span,
    /// Where the code of its default begins, which ends with [`Instruction::Return`].
    pub default: Option<u32>,
}

/// What a template was compiled to.
#[derive(Default)]
pub(super) struct Program {
    /// The template, line ends made alike, and after it the strings that it writes with escapes.
    pub text: String,
    /// What `loop` is called.
    pub loop_name: Span,
    pub ops: Vec<Instruction>,
    /// Where in the template each operation stands.
    pub places: Vec<u32>,
    pub macros: Vec<Macro>,
    pub parameters: Vec<Parameter>,
}

impl Program {
    /// The bytes of a span of the template.
    pub fn str(&self, span: Span) -> &str {
        self.text.get(span.start as usize..span.start as usize + span.len as usize).unwrap_or_default()
    }

    /// The line of a place, from 1 on.
    pub fn line(&self, place: u32) -> usize {
        let before = &self.text.as_bytes()[..(place as usize).min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }
}

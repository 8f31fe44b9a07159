//! From a template to a [`Program`]: statements. Blocks are kept on a list of ours, so that nesting them takes no
//! stack.

mod statements;

use super::code::{Arguments, Instruction, Program, Span};
use super::lexer::{Lexer, Token};
use super::memory::Value;
use super::{Fault, Why, fault, out_of_memory};

/// Blocks inside of each other at most.
const NESTING: usize = 128;

const LOOP: &str = "loop";

pub(super) struct Compiler<'t> {
    pub lexer: Lexer<'t>,
    pub source: &'t str,
    pub token: Token,
    /// Where the token in hand begins, or a little before.
    pub place: u32,
    pub program: Program,
    /// Expressions open inside of each other.
    pub depth: usize,
    blocks: Vec<OpenBlock>,
}

/// A filter, the operations that push what it is given, and how much that is.
type FilterCall = (Span, Vec<Instruction>, Arguments);

/// A block that has begun, with the operations to be told where it ends.
enum OpenBlock {
    /// The jump that leaves the condition before, and those to the end, which are a chain through their targets.
    If {
        otherwise: Option<usize>,
        ends: Option<usize>,
    },
    For {
        next: usize,
        leave: Option<usize>,
        otherwise: Option<usize>,
    },
    /// `with`, and the tag's own words for an end.
    Scope,
    /// `generation`: what the assistant has said. Its variables are its own.
    Generation,
    /// `set`, its name, and the filters that the text passes.
    Set {
        name: Span,
        attribute: Option<Span>,
        filters: Vec<FilterCall>,
    },
    Filter {
        filters: Vec<FilterCall>,
    },
    Macro {
        index: usize,
        op: usize,
    },
    /// `call`: the operation that begins the caller, and where the call itself was compiled to.
    Call {
        index: usize,
        op: usize,
        call: Vec<Instruction>,
    },
}

/// Takes a list's operations out, from one on.
pub(super) fn cut(ops: &mut Vec<Instruction>, from: usize) -> Result<Vec<Instruction>, Fault> {
    let mut rest = Vec::new();
    rest.try_reserve(ops.len() - from).map_err(|_| out_of_memory())?;
    rest.extend(ops.drain(from..));
    Ok(rest)
}

/// The program of a template whose line ends are `\n`.
pub(super) fn compile(source: &str) -> Result<Program, Fault> {
    let mut program = Program::default();
    program.text.try_reserve(source.len() + LOOP.len()).map_err(|_| out_of_memory())?;
    program.text.push_str(source);
    program.loop_name = Span { start: source.len() as u32, len: LOOP.len() as u32 };
    program.text.push_str(LOOP);
    let mut compiler = Compiler {
        lexer: Lexer::new(source),
        source,
        token: Token::End,
        place: 0,
        program,
        depth: 0,
        blocks: Vec::new(),
    };
    compiler.template()?;
    Ok(compiler.program)
}

impl<'t> Compiler<'t> {
    pub fn advance(&mut self) -> Result<(), Fault> {
        self.place = self.lexer.place();
        self.token = self.lexer.next()?;
        Ok(())
    }

    pub fn fail<T>(&self, why: impl Into<Why>) -> Result<T, Fault> {
        fault(self.place as usize, why)
    }

    pub fn str(&self, span: Span) -> &'t str {
        self.source.get(span.start as usize..(span.start + span.len) as usize).unwrap_or_default()
    }

    pub fn emit(&mut self, op: Instruction) -> Result<usize, Fault> {
        let (ops, places) = (&mut self.program.ops, &mut self.program.places);
        ops.try_reserve(1).and_then(|()| places.try_reserve(1)).map_err(|_| out_of_memory())?;
        ops.push(op);
        places.push(self.place);
        Ok(ops.len() - 1)
    }

    pub fn emit_all(&mut self, ops: &[Instruction]) -> Result<(), Fault> {
        ops.iter().try_for_each(|op| self.emit(*op).map(|_| ()))
    }

    pub fn here(&self) -> usize {
        self.program.ops.len()
    }

    /// Lets the jump of an operation lead to where the program is.
    pub fn land(&mut self, op: usize) {
        self.land_at(op, self.here());
    }

    pub fn land_at(&mut self, op: usize, to: usize) {
        let way = to as i32 - op as i32;
        match &mut self.program.ops[op] {
            Instruction::Jump(to)
            | Instruction::JumpIfFalse(to)
            | Instruction::And(to)
            | Instruction::Or(to)
            | Instruction::Next(to)
            | Instruction::Macro(_, to) => *to = way,
            _ => {}
        }
    }

    /// Lands a chain of jumps, each of which leads to the one before.
    fn land_chain(&mut self, mut last: Option<usize>) {
        while let Some(op) = last {
            let Instruction::Jump(before) = self.program.ops[op] else { return };
            self.land(op);
            last = (before != 0).then(|| (op as i32 + before) as usize);
        }
    }

    /// A jump that joins a chain.
    fn chain(&mut self, last: Option<usize>) -> Result<usize, Fault> {
        let here = self.here();
        self.emit(Instruction::Jump(last.map_or(0, |last| last as i32 - here as i32)))
    }

    pub fn is(&self, operator: &str) -> bool {
        matches!(self.token, Token::Operator(found) if found == operator)
    }

    pub fn is_name(&self, name: &str) -> bool {
        matches!(self.token, Token::Name(span) if self.str(span) == name)
    }

    pub fn skip(&mut self, operator: &str) -> Result<bool, Fault> {
        let found = self.is(operator);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub fn skip_name(&mut self, name: &str) -> Result<bool, Fault> {
        let found = self.is_name(name);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub fn expect(&mut self, operator: &'static str) -> Result<(), Fault> {
        if self.skip(operator)? { Ok(()) } else { self.fail(Why::Missing(operator)) }
    }

    pub fn name(&mut self) -> Result<Span, Fault> {
        let Token::Name(span) = self.token else { return self.fail("a name is missing") };
        self.advance()?;
        Ok(span)
    }

    fn template(&mut self) -> Result<(), Fault> {
        loop {
            self.advance()?;
            match self.token {
                Token::Data(span) => {
                    if span.len > 0 {
                        self.emit(Instruction::Text(span))?;
                    }
                }
                Token::VariableBegin => {
                    self.advance()?;
                    self.tuple_or_expression()?;
                    if self.token != Token::VariableEnd {
                        return self.fail("\"}}\" is missing");
                    }
                    self.emit(Instruction::Emit)?;
                }
                Token::BlockBegin => {
                    self.advance()?;
                    self.statement()?;
                    if self.token != Token::BlockEnd {
                        return self.fail("\"%}\" is missing");
                    }
                }
                Token::End if self.blocks.is_empty() => return Ok(()),
                Token::End => return self.fail("the template ends inside of a block"),
                _ => return self.fail("a tag is missing"),
            }
        }
    }

    fn open(&mut self, block: OpenBlock) -> Result<(), Fault> {
        if self.blocks.len() >= NESTING {
            return self.fail("blocks inside of blocks, more than 128 deep");
        }
        self.blocks.try_reserve(1).map_err(|_| out_of_memory())?;
        self.blocks.push(block);
        Ok(())
    }

    fn statement(&mut self) -> Result<(), Fault> {
        let tag = self.name()?;
        match self.str(tag) {
            "if" => {
                self.expression()?;
                let otherwise = Some(self.emit(Instruction::JumpIfFalse(0))?);
                self.open(OpenBlock::If { otherwise, ends: None })
            }
            "elif" => {
                let Some(OpenBlock::If { otherwise: Some(otherwise), ends }) = self.blocks.pop() else {
                    return self.fail("`elif` without `if`");
                };
                let ends = Some(self.chain(ends)?);
                self.land(otherwise);
                self.expression()?;
                let otherwise = Some(self.emit(Instruction::JumpIfFalse(0))?);
                self.open(OpenBlock::If { otherwise, ends })
            }
            "else" => match self.blocks.pop() {
                Some(OpenBlock::If { otherwise: Some(otherwise), ends }) => {
                    let ends = Some(self.chain(ends)?);
                    self.land(otherwise);
                    self.open(OpenBlock::If { otherwise: None, ends })
                }
                Some(OpenBlock::For { next, leave, otherwise: None }) => {
                    let otherwise = Some(self.end_loop(next, leave)?);
                    self.open(OpenBlock::For { next, leave: None, otherwise })
                }
                _ => self.fail("`else` without `if` or `for`"),
            },
            "endif" => {
                let Some(OpenBlock::If { otherwise, ends }) = self.blocks.pop() else {
                    return self.fail("`endif` without `if`");
                };
                self.land_chain(ends);
                otherwise.into_iter().for_each(|op| self.land(op));
                Ok(())
            }
            "for" => self.begin_for(),
            "endfor" => {
                let Some(OpenBlock::For { next, leave, otherwise }) = self.blocks.pop() else {
                    return self.fail("`endfor` without `for`");
                };
                match otherwise {
                    Some(otherwise) => self.land(otherwise),
                    None => {
                        let over = self.end_loop(next, leave)?;
                        self.land(over);
                    }
                }
                Ok(())
            }
            "break" | "continue" => self.leave(tag),
            "set" => self.set(),
            "endset" => {
                let Some(OpenBlock::Set { name, attribute, filters }) = self.blocks.pop() else {
                    return self.fail("`endset` without `set`");
                };
                self.emit(Instruction::EndCapture)?;
                self.apply(&filters)?;
                self.store(name, attribute)
            }
            "with" => {
                let mut names = Vec::new();
                while self.token != Token::BlockEnd {
                    names.try_reserve(1).map_err(|_| out_of_memory())?;
                    names.push(self.name()?);
                    self.expect("=")?;
                    self.expression()?;
                    if !self.skip(",")? {
                        break;
                    }
                }
                self.emit(Instruction::Scope)?;
                names.iter().rev().try_for_each(|name| self.emit(Instruction::Store(*name)).map(|_| ()))?;
                self.open(OpenBlock::Scope)
            }
            "endwith" => match self.blocks.pop() {
                Some(OpenBlock::Scope) => self.emit(Instruction::EndScope).map(|_| ()),
                _ => self.fail("`endwith` without `with`"),
            },
            // Marks what an assistant has said, for training; it stays as it is.
            "generation" => {
                self.emit(Instruction::Scope)?;
                self.open(OpenBlock::Generation)
            }
            "endgeneration" => match self.blocks.pop() {
                Some(OpenBlock::Generation) => self.emit(Instruction::EndScope).map(|_| ()),
                _ => self.fail("`endgeneration` without `generation`"),
            },
            "print" => loop {
                self.expression()?;
                self.emit(Instruction::Emit)?;
                if !self.skip(",")? {
                    return Ok(());
                }
            },
            "filter" => {
                let filters = self.filters()?;
                self.emit(Instruction::Capture)?;
                self.open(OpenBlock::Filter { filters })
            }
            "endfilter" => {
                let Some(OpenBlock::Filter { filters }) = self.blocks.pop() else {
                    return self.fail("`endfilter` without `filter`");
                };
                self.emit(Instruction::EndCapture)?;
                self.apply(&filters)?;
                self.emit(Instruction::Emit).map(|_| ())
            }
            "macro" => {
                let name = self.name()?;
                let (index, op) = self.begin_macro(name)?;
                self.open(OpenBlock::Macro { index, op })
            }
            "endmacro" => {
                let Some(OpenBlock::Macro { index, op }) = self.blocks.pop() else {
                    return self.fail("`endmacro` without `macro`");
                };
                if self.token != Token::BlockEnd {
                    self.name()?;
                }
                self.end_macro(index)?;
                self.land(op);
                let name = self.program.macros[index].name;
                self.emit(Instruction::Store(name)).map(|_| ())
            }
            "call" => {
                // The block is a macro of its own; the call comes after it.
                let (index, op) = self.begin_macro(tag)?;
                let from = self.here();
                self.expression()?;
                if !matches!(self.program.ops.last(), Some(Instruction::Call(_))) {
                    return self.fail("`call` calls a macro");
                }
                let call = cut(&mut self.program.ops, from)?;
                self.program.places.truncate(from);
                self.open(OpenBlock::Call { index, op, call })
            }
            "endcall" => {
                let Some(OpenBlock::Call { index, op, call }) = self.blocks.pop() else {
                    return self.fail("`endcall` without `call`");
                };
                self.end_macro(index)?;
                self.land(op);
                // What `Macro` has pushed is the block; the call itself is told of it.
                self.emit(Instruction::Pop)?;
                let (last, before) = call.split_last().ok_or_else(out_of_memory)?;
                self.emit_all(before)?;
                self.emit(Instruction::CallBlock(index as u32))?;
                self.emit(*last)?;
                self.emit(Instruction::Emit).map(|_| ())
            }
            _ => self.fail(Why::Tag(tag)),
        }
    }

    pub fn push(&mut self, value: Value) -> Result<(), Fault> {
        self.emit(Instruction::Push(value)).map(|_| ())
    }
}

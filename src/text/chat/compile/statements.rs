//! The longer statements: loops, assignments, filters of blocks, and macros.

use super::{Compiler, FilterCall, OpenBlock, cut};
use crate::text::chat::code::{Arguments, Instruction, Macro, Parameter, Program, Span};
use crate::text::chat::lexer::Token;
use crate::text::chat::{Fault, out_of_memory};

/// Brackets of targets inside of each other at most.
const TARGETS: usize = 8;

impl Compiler<'_> {
    pub(super) fn begin_for(&mut self) -> Result<(), Fault> {
        let from = self.here();
        self.targets()?;
        // They are stored once there is an item.
        let targets = cut(&mut self.program.ops, from)?;
        self.program.places.truncate(from);
        if !self.skip_name("in")? {
            return self.fail("`in` is missing");
        }
        self.without_condition()?;
        // Several values are a tuple.
        let mut count = 1;
        while self.skip(",")? {
            if self.token == Token::BlockEnd || self.is_name("if") || self.is_name("recursive") {
                break;
            }
            self.without_condition()?;
            count += 1;
        }
        if count > 1 {
            self.emit(Instruction::Tuple(count))?;
        }
        let begin = self.emit(Instruction::Loop { recursive: false })?;
        if self.skip_name("if")? {
            // All items pass the condition first: how many are left is known before the first is used.
            let next = self.emit(Instruction::Next(0))?;
            self.emit_all(&targets)?;
            self.expression()?;
            let skip = self.emit(Instruction::JumpIfFalse(0))?;
            self.emit(Instruction::Keep)?;
            self.land(skip);
            let back = self.emit(Instruction::Jump(0))?;
            self.land_at(back, next);
            self.land(next);
            self.emit(Instruction::Restart)?;
        }
        let recursive = self.skip_name("recursive")?;
        let next = self.emit(Instruction::Next(0))?;
        self.program.ops[begin] = Instruction::Loop { recursive };
        self.emit(Instruction::BindLoop)?;
        self.emit_all(&targets)?;
        self.open(OpenBlock::For { next, leave: None, otherwise: None })
    }

    /// The end of a loop's body. The operation that jumps over what stands for no items.
    pub(super) fn end_loop(&mut self, next: usize, leave: Option<usize>) -> Result<usize, Fault> {
        self.emit(Instruction::Done)?;
        let back = self.emit(Instruction::Jump(0))?;
        self.land_at(back, next);
        self.land(next);
        self.land_chain(leave);
        self.emit(Instruction::EndLoop)?;
        // On top is whether an item went through all of the body: else what stands for none is written, after `break`
        // too.
        self.emit(Instruction::Not)?;
        self.emit(Instruction::JumpIfFalse(0))
    }

    pub(super) fn leave(&mut self, tag: Span) -> Result<(), Fault> {
        // Scopes and captures that were opened inside of the loop end with it at run time.
        let is_loop = |block: &OpenBlock| {
            let own = matches!(block, OpenBlock::Macro { .. } | OpenBlock::Call { .. } | OpenBlock::Generation);
            own || matches!(block, OpenBlock::For { otherwise: None, .. })
        };
        let at = self.blocks.iter().rposition(is_loop);
        let Some((at, &OpenBlock::For { next, leave, .. })) = at.and_then(|at| Some((at, self.blocks.get(at)?))) else {
            return self.fail("`break` and `continue` stand inside of a loop");
        };
        if self.str(tag) == "continue" {
            let jump = self.emit(Instruction::Jump(0))?;
            self.land_at(jump, next);
            return Ok(());
        }
        let jump = self.chain(leave)?;
        if let Some(OpenBlock::For { leave, .. }) = self.blocks.get_mut(at) {
            *leave = Some(jump);
        }
        Ok(())
    }

    /// The targets of an assignment: stores what is on top.
    fn targets(&mut self) -> Result<(), Fault> {
        self.targets_within(0)
    }

    /// Names with commas between them, and the same in brackets in the place of a name.
    fn targets_within(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > TARGETS {
            return self.fail("names in brackets, more than 8 deep");
        }
        let from = self.here();
        let mut count = 0u16;
        loop {
            count = count.checked_add(1).ok_or_else(out_of_memory)?;
            if self.skip("(")? {
                self.targets_within(depth + 1)?;
                self.expect(")")?;
            } else {
                let name = self.name()?;
                if ["true", "false", "none", "True", "False", "None"].contains(&self.str(name)) {
                    return self.fail("a constant cannot be set");
                }
                self.emit(Instruction::Store(name))?;
            }
            if !self.skip(",")? || self.is(")") || self.is("=") || self.is_name("in") {
                break;
            }
        }
        if count > 1 {
            let stores = cut(&mut self.program.ops, from)?;
            self.program.places.truncate(from);
            self.emit(Instruction::Unpack(count))?;
            self.emit_all(&stores)?;
        }
        Ok(())
    }

    pub(super) fn set(&mut self) -> Result<(), Fault> {
        let from = self.here();
        let name = match self.token {
            Token::Name(name) => name,
            _ if self.is("(") => Span::default(),
            _ => return self.fail("a name is missing"),
        };
        self.targets()?;
        let targets = cut(&mut self.program.ops, from)?;
        self.program.places.truncate(from);
        let attribute = if self.skip(".")? { Some(self.name()?) } else { None };
        if attribute.is_some() && targets.len() != 1 {
            return self.fail("several attributes cannot be set at once");
        }
        if self.skip("=")? {
            self.tuple_or_expression()?;
            return match attribute {
                Some(_) => self.store(name, attribute),
                None => self.emit_all(&targets),
            };
        }
        if targets.len() != 1 {
            return self.fail("a block is one text");
        }
        let filters = if self.is("|") {
            self.advance()?;
            self.filters()?
        } else {
            Vec::new()
        };
        self.emit(Instruction::Capture)?;
        self.open(OpenBlock::Set { name, attribute, filters })
    }

    pub(super) fn store(&mut self, name: Span, attribute: Option<Span>) -> Result<(), Fault> {
        let op = attribute.map_or(Instruction::Store(name), |attribute| Instruction::StoreAttribute(name, attribute));
        self.emit(op).map(|_| ())
    }

    /// Filters one after the other, with what each is given.
    pub(super) fn filters(&mut self) -> Result<Vec<FilterCall>, Fault> {
        let mut filters = Vec::new();
        loop {
            let name = self.name()?;
            let from = self.here();
            let arguments = if self.is("(") { self.arguments()? } else { Arguments { positional: 0, named: 0 } };
            let given = cut(&mut self.program.ops, from)?;
            self.program.places.truncate(from);
            filters.try_reserve(1).map_err(|_| out_of_memory())?;
            filters.push((name, given, arguments));
            if !self.skip("|")? {
                return Ok(filters);
            }
        }
    }

    pub(super) fn apply(&mut self, filters: &[FilterCall]) -> Result<(), Fault> {
        for (name, given, arguments) in filters {
            self.emit_all(given)?;
            self.emit(Instruction::Filter(*name, *arguments))?;
        }
        Ok(())
    }

    /// The parameters of a macro; its body follows.
    pub(super) fn begin_macro(&mut self, name: Span) -> Result<(usize, usize), Fault> {
        let index = self.program.macros.len();
        let op = self.emit(Instruction::Macro(index as u32, 0))?;
        let mut own: Vec<Parameter> = Vec::new();
        if self.skip("(")? {
            while !self.skip(")")? {
                let name = self.name()?;
                let mut default = None;
                if self.skip("=")? {
                    default = Some(self.here() as u32);
                    self.expression()?;
                    self.emit(Instruction::Return)?;
                }
                own.try_reserve(1).map_err(|_| out_of_memory())?;
                own.push(Parameter { name, default });
                if !self.is(")") {
                    self.expect(",")?;
                }
            }
        }
        let Program { macros, parameters, .. } = &mut self.program;
        parameters.try_reserve(own.len()).and_then(|()| macros.try_reserve(1)).map_err(|_| out_of_memory())?;
        let first = parameters.len() as u32;
        parameters.extend_from_slice(&own);
        let body = self.program.ops.len() as u32;
        let (varargs, kwargs, caller) = (false, false, false);
        self.program.macros.push(Macro { name, first, count: own.len() as u32, body, varargs, kwargs, caller });
        Ok((index, op))
    }

    /// The end of a macro's body, which tells what else than its parameters it takes.
    pub(super) fn end_macro(&mut self, index: usize) -> Result<(), Fault> {
        self.emit(Instruction::Return)?;
        let [mut varargs, mut kwargs, mut caller] = [false; 3];
        let body = self.program.macros[index].body as usize;
        for op in &self.program.ops[body..] {
            let Instruction::Load(name) = op else { continue };
            match self.program.str(*name) {
                "varargs" => varargs = true,
                "kwargs" => kwargs = true,
                "caller" => caller = true,
                _ => {}
            }
        }
        let own = &mut self.program.macros[index];
        (own.varargs, own.kwargs, own.caller) = (varargs, kwargs, caller);
        Ok(())
    }
}

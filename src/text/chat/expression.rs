//! From a template to a [`Program`](super::code::Program): expressions, by precedence as in Jinja2. Chains of
//! operators, signs, filters and conditions are loops; only brackets and operators that bind more tightly take stack.

use super::code::{Arguments, Binary, Instruction, Span};
use super::compile::{Compiler, cut};
use super::lexer::Token;
use super::memory::Value;
use super::{Fault, out_of_memory};

/// Operands inside of each other at most: each takes some of the stack.
const OPERANDS: usize = 32;

const OR: u8 = 1;
const AND: u8 = 2;
const COMPARE: u8 = 4;
const SUM: u8 = 5;
const POWER: u8 = 8;

/// An operator between two operands, and how tightly it binds.
fn operator(text: &str) -> Option<(Binary, u8)> {
    Some(match text {
        "==" => (Binary::Equal, COMPARE),
        "!=" => (Binary::NotEqual, COMPARE),
        "<" => (Binary::Less, COMPARE),
        "<=" => (Binary::LessEqual, COMPARE),
        ">" => (Binary::Greater, COMPARE),
        ">=" => (Binary::GreaterEqual, COMPARE),
        "in" => (Binary::In, COMPARE),
        "not" => (Binary::NotIn, COMPARE),
        "+" => (Binary::Add, SUM),
        "-" => (Binary::Subtract, SUM),
        "~" => (Binary::Concat, SUM + 1),
        "*" => (Binary::Multiply, SUM + 2),
        "/" => (Binary::Divide, SUM + 2),
        "//" => (Binary::FloorDivide, SUM + 2),
        "%" => (Binary::Modulo, SUM + 2),
        "**" => (Binary::Power, POWER),
        _ => return None,
    })
}

impl Compiler<'_> {
    /// An expression, or several with commas between them, which are a tuple.
    pub fn tuple_or_expression(&mut self) -> Result<(), Fault> {
        self.expression()?;
        if !self.is(",") {
            return Ok(());
        }
        let mut count = 1;
        while self.skip(",")? {
            if matches!(self.token, Token::VariableEnd | Token::BlockEnd) || self.is(")") {
                break;
            }
            self.expression()?;
            count += 1;
        }
        self.emit(Instruction::Tuple(count)).map(|_| ())
    }

    /// An expression: `a if b else c`, and all below it.
    pub fn expression(&mut self) -> Result<(), Fault> {
        let mut ends = Vec::new();
        loop {
            let from = self.here();
            self.without_condition()?;
            if !self.skip_name("if")? {
                break;
            }
            // The condition comes first.
            let value = cut(&mut self.program.ops, from)?;
            self.program.places.truncate(from);
            self.without_condition()?;
            let otherwise = self.emit(Instruction::JumpIfFalse(0))?;
            self.emit_all(&value)?;
            ends.try_reserve(1).map_err(|_| out_of_memory())?;
            ends.push(self.emit(Instruction::Jump(0))?);
            self.land(otherwise);
            if !self.skip_name("else")? {
                self.push(Value::Undefined(Span { start: 0, len: 0 }))?;
                break;
            }
        }
        ends.into_iter().for_each(|op| self.land(op));
        Ok(())
    }

    pub fn without_condition(&mut self) -> Result<(), Fault> {
        self.binary(OR)
    }

    /// Operands with operators between them that bind at least as tightly as `least`.
    fn binary(&mut self, least: u8) -> Result<(), Fault> {
        if self.depth >= OPERANDS {
            return self.fail("brackets and operators inside of each other, more than 32 deep");
        }
        self.depth += 1;
        let mut nots = 0;
        while self.skip_name("not")? {
            nots += 1;
        }
        if nots > 0 {
            self.binary(COMPARE)?;
            for _ in 0..nots {
                self.emit(Instruction::Not)?;
            }
        } else {
            self.unary()?;
        }
        loop {
            let text = match self.token {
                Token::Operator(text) => text,
                Token::Name(span) => self.str(span),
                _ => break,
            };
            match text {
                "or" if least <= OR => {
                    self.advance()?;
                    let jump = self.emit(Instruction::Or(0))?;
                    self.binary(AND)?;
                    self.land(jump);
                }
                "and" if least <= AND => {
                    self.advance()?;
                    let jump = self.emit(Instruction::And(0))?;
                    self.binary(AND + 1)?;
                    self.land(jump);
                }
                _ => match operator(text) {
                    Some((_, COMPARE)) if least <= COMPARE => self.comparison()?,
                    Some((op, tight)) if least <= tight && tight > COMPARE => {
                        self.advance()?;
                        if tight == POWER {
                            self.unary()?
                        } else {
                            self.binary(tight + 1)?
                        }
                        self.emit(Instruction::Binary(op))?;
                    }
                    _ => break,
                },
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// `a < b`, or `a < b < c`, of which the first operand is there.
    fn comparison(&mut self) -> Result<(), Fault> {
        let mut ends: Vec<usize> = Vec::new();
        loop {
            let text = match self.token {
                Token::Operator(text) => text,
                Token::Name(span) => self.str(span),
                _ => "",
            };
            let Some((op, COMPARE)) = operator(text) else { return self.fail("an operator is missing") };
            self.advance()?;
            if op == Binary::NotIn && !self.skip_name("in")? {
                return self.fail("`in` is missing after `not`");
            }
            self.binary(SUM)?;
            let more = match self.token {
                Token::Operator(text) => matches!(operator(text), Some((_, COMPARE))),
                Token::Name(span) => matches!(self.str(span), "in" | "not"),
                _ => false,
            };
            if !more {
                self.emit(Instruction::Binary(op))?;
                break;
            }
            self.emit(Instruction::CompareKeep(op))?;
            ends.try_reserve(1).map_err(|_| out_of_memory())?;
            ends.push(self.emit(Instruction::And(0))?);
        }
        if !ends.is_empty() {
            // What failed early has its second operand still below it.
            let over = self.emit(Instruction::Jump(0))?;
            ends.into_iter().for_each(|op| self.land(op));
            self.emit(Instruction::Nip)?;
            self.land(over);
        }
        Ok(())
    }

    /// Signs, an operand, what hangs on it, and filters and tests.
    fn unary(&mut self) -> Result<(), Fault> {
        let first = self.place;
        let mut signs = 0usize;
        let start = self.lexer;
        while self.is("-") || self.is("+") {
            self.advance()?;
            signs += 1;
        }
        self.primary()?;
        self.postfix()?;
        if signs > 0 {
            // They are read once more, the innermost last: one operation for an even or odd number of minuses.
            let mut lexer = start;
            let mut minuses = usize::from(self.source[..lexer.place() as usize].ends_with('-'));
            for _ in 1..signs {
                minuses += usize::from(lexer.next()? == Token::Operator("-"));
            }
            self.place = first;
            self.emit(Instruction::Plus)?;
            for _ in 0..minuses % 2 {
                self.emit(Instruction::Negate)?;
            }
        }
        loop {
            if self.skip("|")? {
                let name = self.name()?;
                let arguments = if self.is("(") { self.arguments()? } else { Arguments { positional: 0, named: 0 } };
                self.emit(Instruction::Filter(name, arguments))?;
            } else if self.skip_name("is")? {
                let negated = self.skip_name("not")?;
                let name = self.name()?;
                let arguments = match self.token {
                    _ if self.is("(") => self.arguments()?,
                    Token::Str(_) | Token::Int(_) | Token::Float(_) => self.argument()?,
                    Token::Name(span) if !["else", "or", "and", "if", "is", "in", "not"].contains(&self.str(span)) => {
                        self.argument()?
                    }
                    _ if self.is("[") || self.is("{") => self.argument()?,
                    _ => Arguments { positional: 0, named: 0 },
                };
                let bare = arguments.values() == 0;
                self.emit(Instruction::Test(name, arguments))?;
                if bare && self.is_name("is") {
                    return self.fail("tests cannot follow one another");
                }
                if negated {
                    self.emit(Instruction::Not)?;
                }
            } else {
                return Ok(());
            }
        }
    }

    /// The one argument of a test without brackets.
    fn argument(&mut self) -> Result<Arguments, Fault> {
        self.primary()?;
        self.postfix()?;
        Ok(Arguments { positional: 1, named: 0 })
    }

    fn primary(&mut self) -> Result<(), Fault> {
        match self.token {
            Token::Int(n) => self.push(Value::Int(n))?,
            Token::Float(x) => self.push(Value::Float(x))?,
            Token::Str(_) => {
                let text = self.string()?;
                return self.push(Value::Str(text));
            }
            Token::Name(span) => match self.str(span) {
                "true" | "True" => self.push(Value::Bool(true))?,
                "false" | "False" => self.push(Value::Bool(false))?,
                "none" | "None" => self.push(Value::None)?,
                _ => {
                    self.emit(Instruction::Load(span))?;
                }
            },
            Token::Operator("(") => {
                self.advance()?;
                if self.skip(")")? {
                    return self.emit(Instruction::Tuple(0)).map(|_| ());
                }
                self.tuple_or_expression()?;
                return self.expect(")");
            }
            Token::Operator("[") => {
                self.advance()?;
                let mut count = 0;
                while !self.skip("]")? {
                    self.expression()?;
                    count += 1;
                    if !self.is("]") {
                        self.expect(",")?;
                    }
                }
                return self.emit(Instruction::List(count)).map(|_| ());
            }
            Token::Operator("{") => {
                self.advance()?;
                let mut count = 0;
                while !self.skip("}")? {
                    self.expression()?;
                    self.expect(":")?;
                    self.expression()?;
                    count += 1;
                    if !self.is("}") {
                        self.expect(",")?;
                    }
                }
                return self.emit(Instruction::Dict(count)).map(|_| ());
            }
            _ => return self.fail("a value is missing"),
        }
        self.advance()
    }

    /// Attributes, items, slices and calls.
    fn postfix(&mut self) -> Result<(), Fault> {
        loop {
            if self.skip(".")? {
                if let Token::Int(n) = self.token {
                    self.advance()?;
                    self.push(Value::Int(n))?;
                    self.emit(Instruction::Item)?;
                    continue;
                }
                let name = self.name()?;
                let op = if self.is("(") {
                    Instruction::Method(name, self.arguments()?)
                } else {
                    Instruction::Attribute(name)
                };
                self.emit(op)?;
            } else if self.skip("[")? {
                self.subscript()?;
            } else if self.is("(") {
                let arguments = self.arguments()?;
                self.emit(Instruction::Call(arguments))?;
            } else {
                return Ok(());
            }
        }
    }

    fn subscript(&mut self) -> Result<(), Fault> {
        let mut bounds = 0;
        loop {
            if self.is(":") || self.is("]") {
                self.push(Value::None)?;
            } else {
                self.expression()?;
            }
            bounds += 1;
            if bounds == 3 || !self.skip(":")? {
                break;
            }
        }
        self.expect("]")?;
        if bounds == 1 {
            return self.emit(Instruction::Item).map(|_| ());
        }
        if bounds == 2 {
            self.push(Value::None)?;
        }
        self.emit(Instruction::Slice).map(|_| ())
    }

    /// What is given to a call: values, then names and values.
    pub fn arguments(&mut self) -> Result<Arguments, Fault> {
        self.expect("(")?;
        let mut arguments = Arguments { positional: 0, named: 0 };
        let (mut spread, mut pairs) = (false, false);
        while !self.skip(")")? {
            if arguments.values() > 200 {
                return self.fail("a call with more than 100 arguments");
            }
            let mut ahead = self.lexer;
            match self.token {
                // A list of values and a dictionary of named ones, which are taken apart once they are there.
                Token::Operator("*") if !spread => {
                    self.advance()?;
                    self.push(Value::None)?;
                    self.expression()?;
                    arguments.named += 1;
                    spread = true;
                }
                Token::Operator("**") if !pairs => {
                    self.advance()?;
                    self.push(Value::Bool(true))?;
                    self.expression()?;
                    arguments.named += 1;
                    pairs = true;
                }
                _ if pairs => return self.fail("a value after a dictionary of named ones"),
                Token::Name(name) if ahead.next()? == Token::Operator("=") => {
                    self.advance()?;
                    self.advance()?;
                    self.push(Value::Str(name))?;
                    self.expression()?;
                    arguments.named += 1;
                }
                _ if arguments.named > 0 => return self.fail("a value without a name after one with a name"),
                _ => {
                    self.expression()?;
                    arguments.positional += 1;
                }
            }
            if !self.is(")") {
                self.expect(",")?;
            }
        }
        if spread || pairs {
            self.emit(Instruction::Spread(arguments))?;
        }
        Ok(arguments)
    }

    /// Strings, one after the other, which are one; escapes are read.
    fn string(&mut self) -> Result<Span, Fault> {
        let Token::Str(first) = self.token else { return self.fail("a text is missing") };
        self.advance()?;
        if !self.str(first).contains('\\') && !matches!(self.token, Token::Str(_)) {
            return Ok(first);
        }
        let start = self.program.text.len();
        self.unescape(first)?;
        while let Token::Str(next) = self.token {
            self.unescape(next)?;
            self.advance()?;
        }
        Ok(Span { start: start as u32, len: (self.program.text.len() - start) as u32 })
    }

    fn unescape(&mut self, span: Span) -> Result<(), Fault> {
        let text = self.str(span);
        // No escape is longer than what it stands for.
        self.program.text.try_reserve(text.len()).map_err(|_| out_of_memory())?;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                self.program.text.push(c);
                continue;
            }
            let rest = chars.as_str();
            let number = |digits: usize, radix: u32| {
                let digits = rest.get(1..1 + digits).filter(|d| d.chars().all(|c| c.is_digit(radix)))?;
                char::from_u32(u32::from_str_radix(digits, radix).ok()?).map(|c| (c, 1 + digits.len()))
            };
            let octal = || {
                let len = rest.chars().take(3).take_while(|c| c.is_digit(8)).count();
                char::from_u32(u32::from_str_radix(rest.get(..len)?, 8).ok()?).map(|c| (c, len))
            };
            let simple = |c| Some((c, 1));
            let (c, taken) = match chars.clone().next() {
                Some('n') => simple('\n'),
                Some('t') => simple('\t'),
                Some('r') => simple('\r'),
                Some('a') => simple('\x07'),
                Some('b') => simple('\x08'),
                Some('f') => simple('\x0c'),
                Some('v') => simple('\x0b'),
                Some(c @ ('\\' | '\'' | '"')) => simple(c),
                Some('\n') => {
                    chars.next();
                    continue;
                }
                Some('x') => number(2, 16),
                Some('u') => number(4, 16),
                Some('U') => number(8, 16),
                Some('0'..='7') => octal(),
                _ => Some(('\\', 0)),
            }
            .map_or_else(|| self.fail("an escape in a text that is no character"), Ok)?;
            self.program.text.push(c);
            chars = rest[taken..].chars();
        }
        Ok(())
    }
}

//! Runs a [`Program`]: a stack of values, and lists of the loops, scopes, captures and calls that are open.

mod calls;
mod inputs;

use super::Chat;
use super::code::{Arguments, Instruction, Macro, Program, Span};
use super::memory::{ItemList, Memory, RenderBudget, Value, failed, push};
use super::methods::Given;
use super::operators::{float, kind, number};
use super::writer::TextWriter;
use crate::{Result, Status};

/// Calls inside of each other at most.
const CALLS: usize = 400;

/// A loop under way.
struct Loop {
    items: ItemList,
    /// The item after the one in hand.
    next: usize,
    /// Those that pass the condition.
    kept: Vec<Value>,
    /// What is open outside of it.
    base: FrameBase,
    /// Where a loop that calls itself begins, if it may.
    again: Option<usize>,
    depth: u32,
    /// Where to go on, if it was called by itself.
    back: Option<usize>,
    /// Its number, by which `loop` means it.
    id: u32,
    /// What `loop.changed` saw last.
    last: Option<Value>,
    /// Whether an item went through all of the body.
    done: bool,
}

/// How much is open.
#[derive(Clone, Copy)]
struct FrameBase {
    variables: usize,
    scopes: usize,
    captures: usize,
    stack: usize,
}

/// A macro under way.
struct MacroCall {
    back: usize,
    /// Its variables begin here; those before are not seen, but for the template's own and for `seen`.
    variables: usize,
    /// For the block of a `call`: the variables where that stands.
    seen: (usize, usize),
    loops: usize,
    base: FrameBase,
    /// The macro whose parameters are being set, the next of them, and the values of those before.
    parameters: Option<(Macro, usize)>,
    caller: Option<Value>,
}

struct Machine<'p> {
    program: &'p Program,
    memory: Memory<'p>,
    at: usize,
    stack: Vec<Value>,
    out: TextWriter,
    variables: Vec<(Span, Value)>,
    /// How many variables there were when each scope began.
    scopes: Vec<usize>,
    /// How long the output was when each capture began.
    captures: Vec<usize>,
    loops: Vec<Loop>,
    calls: Vec<MacroCall>,
    /// The block of the `call` whose macro is called next, and the variables it sees.
    caller: Option<Value>,
    /// Blocks of `call`: the macro, and the variables that it sees.
    callers: Vec<(u32, (usize, usize))>,
    loop_ids: u32,
    /// What the next operation is given, where that is known only now.
    given: Option<Arguments>,
}

/// Renders a template: the text, and what of it is inert.
pub(super) fn render(
    program: &Program,
    budget: RenderBudget,
    chat: &Chat<'_>,
    tokens: &[(&str, &str)],
) -> Result<TextWriter> {
    let memory = Memory::new(&program.text, budget);
    let mut machine = Machine {
        program,
        memory,
        at: 0,
        stack: Vec::new(),
        out: TextWriter::new(budget.bytes),
        variables: Vec::new(),
        scopes: Vec::new(),
        captures: Vec::new(),
        loops: Vec::new(),
        calls: Vec::new(),
        caller: None,
        callers: Vec::new(),
        loop_ids: 0,
        given: None,
    };
    machine.context(chat, tokens)?;
    while let Some(op) = program.ops.get(machine.at) {
        let place = program.places.get(machine.at).copied().unwrap_or(0);
        machine.step(*op).map_err(|error| match error.status() {
            Status::Template => error.context(format_args!("line {} of the chat template", program.line(place))),
            _ => error,
        })?;
    }
    Ok(machine.out)
}

impl Machine<'_> {
    fn base(&self) -> FrameBase {
        FrameBase {
            variables: self.variables.len(),
            scopes: self.scopes.len(),
            captures: self.captures.len(),
            stack: self.stack.len(),
        }
    }

    /// Closes what was opened since.
    fn close(&mut self, base: FrameBase) {
        self.variables.truncate(base.variables);
        self.scopes.truncate(base.scopes);
        if let Some(&start) = self.captures.get(base.captures) {
            self.out.truncate(start);
        }
        self.captures.truncate(base.captures);
        self.stack.truncate(base.stack);
    }

    fn pop(&mut self) -> Value {
        self.stack.pop().unwrap_or(Value::None)
    }

    fn put(&mut self, value: Value) -> Result<()> {
        push(&mut self.stack, value)
    }

    fn jump(&mut self, way: i32) {
        self.at = (self.at as i64 + i64::from(way)) as usize;
    }

    fn top(&self) -> Value {
        self.stack.last().copied().unwrap_or(Value::None)
    }

    fn step(&mut self, op: Instruction) -> Result<()> {
        self.memory.budget.work(1)?;
        let truth = |machine: &Self| machine.memory.truth(machine.top());
        match op {
            Instruction::Text(span) => {
                self.memory.budget.work(span.len as usize / 32)?;
                self.out.put(self.program.str(span))?;
            }
            Instruction::Emit => {
                let value = self.pop();
                self.memory.print(&mut self.out, value)?;
            }
            Instruction::Push(value) => self.put(value)?,
            Instruction::Pop => _ = self.pop(),
            Instruction::Nip => {
                let top = self.pop();
                self.pop();
                self.put(top)?;
            }
            Instruction::Load(name) => {
                let value = self.load(name)?;
                self.put(value)?;
            }
            Instruction::Store(name) => {
                let value = self.pop();
                self.store(name, value)?;
            }
            Instruction::StoreAttribute(name, attribute) => {
                let value = self.pop();
                match self.load(name)? {
                    Value::Namespace(namespace) => self.memory.set_attribute(namespace, attribute, value)?,
                    other => return failed(format_args!("an attribute is set of {}, not of a namespace", kind(other))),
                }
            }
            Instruction::Unpack(count) => {
                let value = self.pop();
                let list = self.memory.iterate(value)?;
                if list.len != u32::from(count) {
                    return failed(format_args!("{count} names for {} values", list.len));
                }
                for index in (0..usize::from(count)).rev() {
                    self.put(self.memory.item(list, index))?;
                }
            }
            Instruction::Jump(way) => return self.go(way),
            Instruction::JumpIfFalse(way) => {
                let stays = truth(self);
                self.pop();
                if !stays {
                    return self.go(way);
                }
            }
            Instruction::And(way) => {
                if !truth(self) {
                    return self.go(way);
                }
                self.pop();
            }
            Instruction::Or(way) => {
                if truth(self) {
                    return self.go(way);
                }
                self.pop();
            }
            Instruction::Not => {
                let value = !truth(self);
                self.pop();
                self.put(Value::Bool(value))?;
            }
            Instruction::Plus => match number(self.pop()) {
                Some(value) => self.put(value)?,
                None => return failed("a sign before what is no number"),
            },
            Instruction::Negate => {
                let value = match self.pop() {
                    Value::Int(n) => n.checked_neg().map(Value::Int),
                    value => float(value).map(|x| Value::Float(-x)),
                };
                match value {
                    Some(value) => self.put(value)?,
                    None => return failed("a number beyond 64 bits"),
                }
            }
            Instruction::Binary(op) => {
                let (b, a) = (self.pop(), self.pop());
                let value = self.memory.binary(op, a, b)?;
                self.put(value)?;
            }
            Instruction::CompareKeep(op) => {
                let (b, a) = (self.pop(), self.pop());
                let value = self.memory.binary(op, a, b)?;
                self.put(b)?;
                self.put(value)?;
            }
            Instruction::List(count) | Instruction::Tuple(count) => {
                let from = self.stack.len().saturating_sub(count as usize);
                let values = &self.stack[from..];
                let tuple = matches!(op, Instruction::Tuple(_));
                let value = if tuple { self.memory.tuple(values)? } else { self.memory.list(values)? };
                self.stack.truncate(from);
                self.put(value)?;
            }
            Instruction::Dict(count) => {
                let from = self.stack.len().saturating_sub(2 * count as usize);
                let value = self.memory.dict(&self.stack[from..])?;
                self.stack.truncate(from);
                self.put(value)?;
            }
            Instruction::Attribute(name) => {
                let object = self.pop();
                let value = match object {
                    Value::Loop(id) => self.loop_attribute(id, name)?,
                    Value::Macro(index) => self.macro_attribute(index, name)?,
                    object => self.memory.attribute_of(object, name)?,
                };
                self.put(value)?;
            }
            Instruction::Item => {
                let (key, object) = (self.pop(), self.pop());
                let value = match (object, key) {
                    (Value::Loop(id), Value::Str(name)) => self.loop_attribute(id, name)?,
                    _ => self.memory.item_of(object, key)?,
                };
                self.put(value)?;
            }
            Instruction::Slice => {
                let (step, stop, start) = (self.pop(), self.pop(), self.pop());
                let object = self.pop();
                let value = self.memory.slice(object, start, stop, step)?;
                self.put(value)?;
            }
            Instruction::Spread(arguments) => self.spread(arguments)?,
            Instruction::Filter(name, arguments) => {
                self.given(arguments, |memory, value, given| memory.filter(name, value, given))?
            }
            Instruction::Test(name, arguments) => {
                self.given(arguments, |memory, value, given| Ok(Value::Bool(memory.test(name, value, given)?)))?;
            }
            Instruction::Method(name, arguments) => return self.method(name, arguments),
            Instruction::Call(arguments) => return self.call(arguments),
            Instruction::CallBlock(index) => {
                let (from, to) = (self.calls.last().map_or(0, |call| call.variables), self.variables.len());
                push(&mut self.callers, (index, (from, to)))?;
                self.caller = Some(Value::Caller(self.callers.len() as u32 - 1));
            }
            Instruction::Capture => push(&mut self.captures, self.out.text.len())?,
            Instruction::EndCapture => {
                let value = self.captured()?;
                self.put(value)?;
            }
            Instruction::Loop { recursive } => {
                let value = self.pop();
                self.begin_loop(value, recursive.then_some(self.at + 1), 0, None)?;
            }
            Instruction::Next(way) => {
                let Some(of) = self.loops.last_mut() else { return failed("no loop") };
                let (base, items, at) = (of.base, of.items, of.next);
                of.next += 1;
                self.close(base);
                if at >= items.len as usize {
                    return self.go(way);
                }
                self.put(self.memory.item(items, at))?;
            }
            Instruction::Keep => {
                let Some(of) = self.loops.last_mut() else { return failed("no loop") };
                let item = self.memory.item(of.items, of.next.saturating_sub(1));
                push(&mut of.kept, item)?;
            }
            Instruction::Restart => {
                let Some(of) = self.loops.last_mut() else { return failed("no loop") };
                let kept = std::mem::take(&mut of.kept);
                if let Value::List(list) = self.memory.list(&kept)? {
                    (of.items, of.next) = (list, 0);
                }
            }
            Instruction::BindLoop => {
                let id = self.loops.last().map_or(0, |of| of.id);
                let item = self.pop();
                self.store(self.program.loop_name, Value::Loop(id))?;
                self.put(item)?;
            }
            Instruction::Done => {
                if let Some(of) = self.loops.last_mut() {
                    of.done = true;
                }
            }
            Instruction::EndLoop => {
                let Some(of) = self.loops.pop() else { return failed("no loop") };
                self.close(of.base);
                self.scopes.pop();
                if let Some(back) = of.back {
                    let text = self.captured()?;
                    self.at = back;
                    return self.put(text);
                }
                self.put(Value::Bool(of.done))?;
            }
            Instruction::Scope => push(&mut self.scopes, self.variables.len())?,
            Instruction::EndScope => {
                if let Some(variables) = self.scopes.pop() {
                    self.variables.truncate(variables);
                }
            }
            Instruction::Macro(index, way) => {
                self.put(Value::Macro(index))?;
                return self.go(way);
            }
            Instruction::Return => return self.end_call(),
        }
        self.at += 1;
        Ok(())
    }

    fn go(&mut self, way: i32) -> Result<()> {
        self.jump(way);
        Ok(())
    }

    /// What was written since the last capture began.
    fn captured(&mut self) -> Result<Value> {
        let start = self.captures.pop().unwrap_or(0).min(self.out.text.len());
        let value = self.memory.written(&self.out, start)?;
        self.out.truncate(start);
        Ok(value)
    }

    /// Calls `f` with the value below the arguments, and puts what it gives in their place.
    fn given(
        &mut self,
        arguments: Arguments,
        f: impl FnOnce(&mut Memory<'_>, Value, Given<'_>) -> Result<Value>,
    ) -> Result<()> {
        let arguments = self.given.take().unwrap_or(arguments);
        let from = self.stack.len().saturating_sub(arguments.values());
        let given = Given::new(&self.stack[from..], arguments);
        let value = from.checked_sub(1).map_or(Value::None, |at| self.stack[at]);
        let outcome = f(&mut self.memory, value, given)?;
        self.stack.truncate(from.saturating_sub(1));
        self.put(outcome)
    }

    fn load(&mut self, name: Span) -> Result<Value> {
        let text = self.memory.str(name);
        let found = |from: usize, to: usize| {
            let seen = self.variables.get(from..to).unwrap_or_default();
            seen.iter().rev().find(|(its, _)| self.memory.str(*its) == text).map(|(_, value)| *value)
        };
        let (from, seen, caller) =
            self.calls.last().map_or((0, (0, 0), None), |call| (call.variables, call.seen, call.caller));
        let own = found(from, self.variables.len());
        let value = match own.or_else(|| found(seen.0, seen.1)) {
            Some(value) => Some(value),
            None if text == "caller" && caller.is_some() => caller,
            None => found(0, self.root()),
        };
        let work = self.variables.len();
        let value = value.unwrap_or(match text {
            "range" | "namespace" | "dict" | "raise_exception" | "joiner" | "cycler" => Value::Function(name),
            "strftime_now" if self.memory.time.is_some() => Value::Function(name),
            _ => Value::Undefined(name),
        });
        self.memory.budget.work(work / 8)?;
        Ok(value)
    }

    /// How many variables are the template's own, which macros see too.
    fn root(&self) -> usize {
        let scope = self.scopes.first().copied().unwrap_or(usize::MAX);
        scope.min(self.variables.len())
    }

    fn store(&mut self, name: Span, value: Value) -> Result<()> {
        let from = self.scopes.last().copied().unwrap_or(0);
        let text = self.memory.str(name);
        let at = self.variables[from..].iter().rposition(|(its, _)| self.memory.str(*its) == text);
        match at {
            Some(at) => self.variables[from + at].1 = value,
            None => {
                self.memory.budget.bytes(size_of::<(Span, Value)>())?;
                push(&mut self.variables, (name, value))?;
            }
        }
        Ok(())
    }

    fn begin_loop(&mut self, over: Value, again: Option<usize>, depth: u32, back: Option<usize>) -> Result<()> {
        if self.loops.len() >= CALLS {
            return failed(format_args!("loops inside of each other, more than {CALLS} deep"));
        }
        let items = self.memory.iterate(over)?;
        push(&mut self.scopes, self.variables.len())?;
        self.loop_ids += 1;
        let (base, id) = (self.base(), self.loop_ids);
        push(
            &mut self.loops,
            Loop { items, next: 0, kept: Vec::new(), base, again, depth, back, id, last: None, done: false },
        )
    }

    /// What a macro says of itself.
    fn macro_attribute(&mut self, index: u32, name: Span) -> Result<Value> {
        let Some(what) = self.program.macros.get(index as usize) else { return failed("no macro") };
        Ok(match self.memory.str(name) {
            "name" => Value::Str(what.name),
            "arguments" => {
                let own = &self.program.parameters[what.first as usize..(what.first + what.count) as usize];
                let mut names = Vec::new();
                own.iter().try_for_each(|parameter| push(&mut names, Value::Str(parameter.name)))?;
                self.memory.tuple(&names)?
            }
            "catch_varargs" => Value::Bool(what.varargs),
            "catch_kwargs" => Value::Bool(what.kwargs),
            "caller" => Value::Bool(what.caller),
            _ => Value::Undefined(name),
        })
    }

    /// What `loop` says of itself.
    fn loop_attribute(&mut self, id: u32, name: Span) -> Result<Value> {
        let Some(of) = self.loops.iter().rev().find(|of| of.id == id) else { return failed("the loop is over") };
        let (len, at) = (of.items.len as i64, of.next as i64 - 1);
        let neighbour = |at: i64| match usize::try_from(at) {
            Ok(index) if at < len => self.memory.item(of.items, index),
            _ => Value::Undefined(name),
        };
        Ok(match self.memory.str(name) {
            "index" => Value::Int(at + 1),
            "index0" => Value::Int(at),
            "revindex" => Value::Int(len - at),
            "revindex0" => Value::Int(len - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == len),
            "length" => Value::Int(len),
            "depth" => Value::Int(i64::from(of.depth) + 1),
            "depth0" => Value::Int(i64::from(of.depth)),
            "previtem" => neighbour(at - 1),
            "nextitem" => neighbour(at + 1),
            _ => Value::Undefined(name),
        })
    }
}

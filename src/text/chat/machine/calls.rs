//! Calls: of methods, of functions, of macros, and of a loop by itself.

use super::{CALLS, Machine, MacroCall};
use crate::Result;
use crate::text::chat::code::{Arguments, Span};
use crate::text::chat::memory::{Value, failed, push};
use crate::text::chat::methods::Given;
use crate::text::chat::operators::kind;

/// Arguments of a call at most, where lists are taken apart.
const SPREAD: usize = 1000;

impl Machine<'_> {
    /// Takes apart what the next operation is given.
    pub(super) fn spread(&mut self, arguments: Arguments) -> Result<()> {
        let from = self.stack.len().saturating_sub(arguments.values());
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        let values = &self.stack[from..];
        let (plain, pairs) = values.split_at(usize::from(arguments.positional).min(values.len()));
        plain.iter().try_for_each(|value| push(&mut positional, *value))?;
        for &[name, value] in pairs.as_chunks::<2>().0 {
            match (name, value) {
                (Value::None, list) => {
                    let list = self.memory.iterate(list)?;
                    self.memory.items(list, false).iter().try_for_each(|value| push(&mut positional, *value))?;
                }
                (Value::Bool(_), Value::Dict(dict)) => {
                    let pairs = self.memory.items(dict, true);
                    if pairs.iter().step_by(2).any(|name| !matches!(name, Value::Str(_))) {
                        return failed("a name of an argument is no text");
                    }
                    pairs.iter().try_for_each(|value| push(&mut named, *value))?;
                }
                (Value::Bool(_), other) => return failed(format_args!("named arguments from {}", kind(other))),
                pair => [pair.0, pair.1].into_iter().try_for_each(|value| push(&mut named, value))?,
            }
        }
        if positional.len() + named.len() > SPREAD {
            return failed(format_args!("a call with more than {SPREAD} arguments"));
        }
        self.memory.budget.work(positional.len() + named.len())?;
        self.stack.truncate(from);
        positional.iter().chain(&named).try_for_each(|value| push(&mut self.stack, *value))?;
        self.given = Some(Arguments { positional: positional.len() as u16, named: (named.len() / 2) as u16 });
        Ok(())
    }

    pub(super) fn method(&mut self, name: Span, arguments: Arguments) -> Result<()> {
        let arguments = self.given.take().unwrap_or(arguments);
        let from = self.stack.len().saturating_sub(arguments.values() + 1);
        let object = self.stack.get(from).copied().unwrap_or(Value::None);
        // What an object holds under the name is called, if that is a function.
        let held = match object {
            Value::Dict(_) | Value::Namespace(_) => Some(self.memory.attribute_of(object, name)?),
            _ => None,
        };
        if let Some(held @ (Value::Macro(_) | Value::Function(_) | Value::Caller(_))) = held {
            self.stack[from] = held;
            return self.call(arguments);
        }
        if let Value::Loop(id) = object {
            let Some(at) = self.loops.iter().rposition(|of| of.id == id) else { return failed("the loop is over") };
            let given = Given::new(&self.stack[from + 1..], arguments);
            let index = self.loops[at].next.saturating_sub(1);
            let value = match self.memory.str(name) {
                "cycle" if !given.positional.is_empty() => given.positional[index % given.positional.len()],
                "changed" => {
                    let now = self.memory.list(given.positional)?;
                    let before = self.loops[at].last.replace(now);
                    Value::Bool(match before {
                        Some(before) => !self.memory.equal(before, now)?,
                        None => true,
                    })
                }
                other => return failed(format_args!("a loop has no method {other}")),
            };
            self.stack.truncate(from);
            self.put(value)?;
        } else {
            self.given(arguments, |memory, value, given| memory.method(name, value, given))?;
        }
        self.at += 1;
        Ok(())
    }

    /// Calls what lies below the arguments.
    pub(super) fn call(&mut self, arguments: Arguments) -> Result<()> {
        let arguments = self.given.take().unwrap_or(arguments);
        let from = self.stack.len().saturating_sub(arguments.values() + 1);
        let callee = self.stack.get(from).copied().unwrap_or(Value::None);
        let (index, seen) = match callee {
            Value::Macro(index) => (index, (0, 0)),
            Value::Caller(of) => match self.callers.get(of as usize) {
                Some(caller) => *caller,
                None => return failed("`caller` is over"),
            },
            Value::Function(name) => {
                self.given(arguments, |memory, _, given| memory.function(name, given))?;
                self.at += 1;
                return Ok(());
            }
            Value::Joiner(state) => {
                self.given(arguments, |memory, _, _| memory.joint(state))?;
                self.at += 1;
                return Ok(());
            }
            Value::Loop(id) => return self.loop_again(id, from, arguments),
            Value::Undefined(name) if self.memory.str(name) == "strftime_now" => {
                return failed("strftime_now is undefined: the host gave no time (rasp_chat_options.time)");
            }
            Value::Undefined(name) => return self.memory.undefined(name),
            other => return failed(format_args!("{} cannot be called", kind(other))),
        };
        let Some(&what) = self.program.macros.get(index as usize) else { return failed("no macro") };
        if self.calls.len() >= CALLS {
            return failed(format_args!("macros inside of each other, more than {CALLS} deep"));
        }
        let caller = self.caller.take();
        let variables = self.variables.len();
        push(&mut self.scopes, variables)?;
        let parameters = &self.program.parameters[what.first as usize..(what.first + what.count) as usize];
        let known = |name: &str| parameters.iter().position(|parameter| self.program.str(parameter.name) == name);
        let given = Given::new(&self.stack[from + 1..], arguments);
        if given.positional.len() > parameters.len() && !what.varargs {
            return failed(format_args!(
                "macro {} takes {} arguments, not {}",
                self.program.str(what.name),
                parameters.len(),
                given.positional.len()
            ));
        }
        if caller.is_some() && !what.caller {
            return failed(format_args!("macro {} has no use for a block", self.program.str(what.name)));
        }
        let mut others = Vec::new();
        for &[name, value] in given.named.as_chunks::<2>().0 {
            let Value::Str(name) = name else { continue };
            let text = self.memory.str(name);
            match known(text) {
                Some(at) if at < given.positional.len() => {
                    let name = self.program.str(what.name);
                    return failed(format_args!("macro {name} is given two values for {text}"));
                }
                Some(_) => {}
                None if what.kwargs => {
                    [Value::Str(name), value].into_iter().try_for_each(|value| push(&mut others, value))?
                }
                None => {
                    let name = self.program.str(what.name);
                    return failed(format_args!("macro {name} has no parameter {text}"));
                }
            }
        }
        for (at, parameter) in parameters.iter().enumerate() {
            let value = given.get(&self.memory, at, self.program.str(parameter.name));
            if let Some(value) = value {
                push(&mut self.variables, (parameter.name, value))?;
            }
        }
        let more = given.positional.get(parameters.len()..).unwrap_or_default();
        let more = if what.varargs { Some(self.memory.tuple(more)?) } else { None };
        let others = if what.kwargs { Some(self.memory.dict(&others)?) } else { None };
        for (name, value) in [("varargs", more), ("kwargs", others)] {
            if let Some(value) = value {
                self.give(name, value)?;
            }
        }
        self.stack.truncate(from);
        let mut base = self.base();
        base.variables = variables;
        base.scopes -= 1;
        let (back, loops) = (self.at + 1, self.loops.len());
        push(&mut self.captures, self.out.text.len())?;
        push(&mut self.calls, MacroCall { back, variables, seen, loops, base, parameters: Some((what, 0)), caller })?;
        self.next_parameter()
    }

    /// Sets the parameters of the macro just called that were not given, then begins its body.
    fn next_parameter(&mut self) -> Result<()> {
        let Some(MacroCall { parameters: Some((what, next)), variables, .. }) = self.calls.last_mut() else {
            return failed("no call");
        };
        let (what, from) = (*what, *variables);
        while *next < what.count as usize {
            let parameter = self.program.parameters[what.first as usize + *next];
            let name = self.program.str(parameter.name);
            if self.variables[from..].iter().any(|(its, _)| self.memory.str(*its) == name) {
                *next += 1;
                continue;
            }
            match parameter.default {
                Some(default) => {
                    self.at = default as usize;
                    return Ok(());
                }
                None => push(&mut self.variables, (parameter.name, Value::Undefined(parameter.name)))?,
            }
            *next += 1;
        }
        if let Some(call) = self.calls.last_mut() {
            call.parameters = None;
        }
        self.at = what.body as usize;
        Ok(())
    }

    /// The end of a parameter's default, or of a macro.
    pub(super) fn end_call(&mut self) -> Result<()> {
        let Some(call) = self.calls.last_mut() else { return failed("a return without a call") };
        if let Some((what, next)) = &mut call.parameters {
            let parameter = self.program.parameters[what.first as usize + *next];
            *next += 1;
            let value = self.pop();
            push(&mut self.variables, (parameter.name, value))?;
            return self.next_parameter();
        }
        let text = self.captured()?;
        if let Some(MacroCall { back, loops, base, .. }) = self.calls.pop() {
            self.loops.truncate(loops);
            self.close(base);
            self.at = back;
        }
        self.put(text)
    }

    /// A loop that calls itself with what is below.
    fn loop_again(&mut self, id: u32, from: usize, arguments: Arguments) -> Result<()> {
        let Some(of) = self.loops.iter().rev().find(|of| of.id == id) else { return failed("the loop is over") };
        let (again, depth) = (of.again, of.depth + 1);
        let Some(again) = again else { return failed("a loop that is not `recursive` calls itself") };
        if arguments != (Arguments { positional: 1, named: 0 }) {
            return failed("a loop is called with one list");
        }
        let over = self.pop();
        self.stack.truncate(from);
        push(&mut self.captures, self.out.text.len())?;
        self.begin_loop(over, Some(again), depth, Some(self.at + 1))?;
        self.at = again;
        Ok(())
    }
}

//! Calls: of methods, of functions, of macros, and of a loop by itself.

use super::{CALLS, Call, Machine};
use crate::Result;
use crate::text::chat::code::{Arguments, Span};
use crate::text::chat::memory::{Value, failed, push};
use crate::text::chat::methods::Given;
use crate::text::chat::operators::kind;

impl Machine<'_> {
    pub(super) fn method(&mut self, name: Span, arguments: Arguments) -> Result<()> {
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
        if usize::from(arguments.positional) > parameters.len() {
            return failed(format_args!(
                "macro {} takes {} arguments, not {}",
                self.program.str(what.name),
                parameters.len(),
                arguments.positional
            ));
        }
        let given = Given::new(&self.stack[from + 1..], arguments);
        for (at, parameter) in parameters.iter().enumerate() {
            let value = given.get(&self.memory, at, self.program.str(parameter.name));
            if let Some(value) = value {
                push(&mut self.variables, (parameter.name, value))?;
            }
        }
        for pair in given.named.as_chunks::<2>().0 {
            let Value::Str(name) = pair[0] else { continue };
            let name = self.memory.str(name);
            if !parameters.iter().any(|parameter| self.program.str(parameter.name) == name) {
                return failed(format_args!("macro {} has no parameter {name}", self.program.str(what.name)));
            }
        }
        self.stack.truncate(from);
        let mut base = self.base();
        base.variables = variables;
        base.scopes -= 1;
        let (back, loops) = (self.at + 1, self.loops.len());
        push(&mut self.captures, self.out.text.len())?;
        push(&mut self.calls, Call { back, variables, seen, loops, base, parameters: Some((what, 0)), caller })?;
        self.next_parameter()
    }

    /// Sets the parameters of the macro just called that were not given, then begins its body.
    fn next_parameter(&mut self) -> Result<()> {
        let Some(Call { parameters: Some((what, next)), variables, .. }) = self.calls.last_mut() else {
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
        if let Some(Call { back, loops, base, .. }) = self.calls.pop() {
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

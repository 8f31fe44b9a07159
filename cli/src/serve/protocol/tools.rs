//! Tools: functions that a client can call for the model, and calls of them in a conversation.

use super::fields::Fields;
use super::ordered::Json;
use crate::serve::error::{ApiError, ApiResult};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a chat may call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tools {
    /// As the client wrote them, for the template.
    pub list: Vec<Json>,
    /// The functions, one of which has to be called; none: the model may do as it likes.
    pub required: Vec<Function>,
    /// A function that says that its calls keep to its schema; none where nothing does.
    strict: Option<usize>,
}

/// A function's name and the schema of its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub name: String,
    pub parameters: Json,
    /// Whether a call has to keep to them.
    strict: bool,
}

impl Function {
    /// A tool as the library takes it.
    fn tool(&self) -> Json {
        let function = [("name", Json::text(&self.name)), ("parameters", self.parameters.clone())];
        Json::object([("type", Json::text("function")), ("function", Json::object(function))])
    }
}

/// What of a body is to keep its order.
#[derive(Deserialize)]
struct Written {
    tools: Option<Vec<Json>>,
}

impl Tools {
    /// Takes them from the fields of this body.
    pub fn take(fields: &mut Fields, body: &[u8]) -> ApiResult<Tools> {
        let tools: Vec<Value> = fields.take("tools")?.unwrap_or_default();
        let written: Written = serde_json::from_slice(body).map_err(|e| ApiError::field("tools", e))?;
        let list = written.tools.unwrap_or_default();
        let functions = tools.iter().enumerate().map(|(n, tool)| function(n, tool)).collect::<ApiResult<Vec<_>>>()?;
        let choice = fields.take::<Value>("tool_choice")?.unwrap_or(json!("auto"));
        let none = || Err(ApiError::field("tool_choice", "there are no tools to choose from"));
        match choice.as_str() {
            Some("none") => Ok(Tools::default()),
            Some("auto") => {
                Ok(Tools { list, required: vec![], strict: functions.iter().position(|function| function.strict) })
            }
            Some("required") if list.is_empty() => none(),
            Some("required") => Ok(Tools { list, required: functions, strict: None }),
            Some(other) => Err(ApiError::field("tool_choice", format!("{other:?} is none of none, auto and required"))),
            None => {
                let mut choice = Fields::of(choice, "tool_choice")?;
                choice.only("type", &[json!("function")], "a tool that is chosen is a function")?;
                let mut function = Fields::of(choice.need("function")?, "tool_choice.function")?;
                let name: String = function.need("name")?;
                function.finish(&[])?;
                choice.finish(&[])?;
                let required: Vec<_> = functions.into_iter().filter(|function| function.name == name).collect();
                match required.is_empty() {
                    true => Err(ApiError::field("tool_choice.function.name", format!("no tool is called {name:?}"))),
                    false => Ok(Tools { list, required, strict: None }),
                }
            }
        }
    }

    /// The field that asks for calls to be held to the tools, if one does, and what the library makes a constraint of.
    pub fn held(&self) -> Option<(String, String)> {
        let (field, list, choice) = match (self.required.is_empty(), self.strict) {
            (false, _) => {
                ("tool_choice".into(), self.required.iter().map(Function::tool).collect(), Json::text("required"))
            }
            (true, Some(n)) => (format!("tools[{n}].function.strict"), self.list.clone(), Json::text("auto")),
            (true, None) => return None,
        };
        Some((field, Json::object([("tools", Json::List(list)), ("tool_choice", choice)]).to_string()))
    }
}

fn function(index: usize, tool: &Value) -> ApiResult<Function> {
    let name = format!("tools[{index}]");
    let mut tool = Fields::of(tool.clone(), &name)?;
    tool.only("type", &[json!("function")], "this server knows tools of type \"function\"")?;
    let mut function = Fields::of(tool.need("function")?, &tool.name("function"))?;
    let found = Function {
        name: function.need("name")?,
        parameters: function.take("parameters")?.unwrap_or_else(|| Json::object([("type", Json::text("object"))])),
        strict: function.take("strict")?.unwrap_or(false),
    };
    function.finish(&["description"])?;
    tool.finish(&[])?;
    Ok(found)
}

/// The calls of an assistant's message, as templates take them: arguments are an object, not its JSON as a string.
pub fn calls(value: Value, name: &str) -> ApiResult<Vec<Json>> {
    let Value::Array(calls) = value else { return Err(ApiError::field(name, "no array")) };
    let one = |(n, call): (usize, Value)| {
        let mut call = Fields::of(call, &format!("{name}[{n}]"))?;
        call.only("type", &[json!("function")], "this server knows calls of functions")?;
        let id: Option<String> = call.take("id")?;
        let mut function = Fields::of(call.need("function")?, &call.name("function"))?;
        let function_name: String = function.need("name")?;
        let arguments: String = function.need("arguments")?;
        function.finish(&[])?;
        call.finish(&["index"])?;
        let arguments = match serde_json::from_str(&arguments) {
            Ok(arguments @ Json::Object(_)) => arguments,
            // What a model wrote need not be JSON.
            _ => Json::text(arguments),
        };
        let function = Json::object([("name", Json::text(function_name)), ("arguments", arguments)]);
        let id = Json::Plain(id.into());
        Ok(Json::object([("id", id), ("type", Json::text("function")), ("function", function)]))
    };
    calls.into_iter().enumerate().map(one).collect()
}

//! The forms in which models call tools and think, each told from the chat templates that teach it.

use super::literal::{Dialect, ESCAPES};

/// How a call is written, from where its opening mark ends.
#[derive(Debug)]
pub(super) enum Body {
    /// JSON with a name and arguments, a list of such, or calls as Python writes them.
    Value,
    /// Fields, of which each mark ends one and begins another; the last are the arguments.
    Named { first: Field, marks: &'static [(&'static str, Field)] },
    /// A tag for the function and one for each argument.
    Tagged(&'static Tags),
}

/// What stands between the marks of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Skip,
    Id,
    Name,
    /// An identifier that has the name in it: `functions.NAME:0`.
    Handle,
    Arguments(Dialect),
}

/// The parts of tags.
#[derive(Debug)]
pub(super) struct Tags {
    /// Ends the name; so does what begins an argument or ends the call.
    pub name_end: &'static str,
    /// Ends the tag that the name is in, if that does not.
    pub head_end: &'static str,
    pub key: &'static str,
    pub key_end: &'static str,
    /// Begins the value, after white space and attributes; none: it begins at once.
    pub value: &'static str,
    pub value_end: &'static str,
    /// What attributes of a key say that a text is one, if they do.
    pub text: &'static str,
    /// What is written where a call is forced: after the name, and after the keys of texts and of other values.
    #[cfg_attr(not(feature = "constrained"), allow(dead_code))]
    pub printed: [&'static str; 3],
    /// Whether a line end on either side of a value is the tags'.
    pub lines: bool,
}

/// A form of calls.
#[derive(Debug)]
pub(super) struct Format {
    pub name: &'static str,
    /// What a template of this form has: all of one of these.
    signs: &'static [&'static [&'static str]],
    /// What may stand around all calls, or has to where nothing opens a single one.
    pub blocks: &'static [[&'static str; 2]],
    /// What a call begins with: one of these.
    pub opens: &'static [&'static str],
    pub body: Body,
    /// How a value is written that is a call.
    pub print: &'static Print,
    /// What may follow a call, or must with tags.
    pub close: &'static str,
    /// Whether an answer may be a call without any mark.
    pub bare: bool,
    /// Marks that are neither text nor part of a call.
    pub silent: &'static [&'static str],
}

/// How values that are calls are written, where one is to be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "constrained"), allow(dead_code))]
pub(super) struct Print {
    /// Whether they are items of a list.
    pub list: bool,
    /// What the name and the arguments are called; none: the one is the other's key, or it is Python.
    pub name: &'static str,
    pub arguments: &'static str,
    /// What stands between the block's marks and the value.
    pub pad: &'static str,
    /// What stands around a text in Gemma's words.
    pub quote: &'static str,
}

impl Print {
    const OBJECT: Print = Print { list: false, name: "name", arguments: "arguments", pad: "", quote: "" };
    const LINES: Print = Print { pad: "\n", ..Print::OBJECT };
    const LIST: Print = Print { list: true, ..Print::OBJECT };
    const LLAMA: Print = Print { arguments: "parameters", ..Print::OBJECT };
    const COHERE: Print = Print { name: "tool_name", arguments: "parameters", ..Print::LIST };
    const KEY: Print = Print { name: "", ..Print::LIST };
    const PYTHON: Print = Print { name: "", arguments: "", ..Print::OBJECT };
    const PYTHON_LIST: Print = Print { list: true, ..Print::PYTHON };
    const FUNCTION_GEMMA: Print = Print { quote: ESCAPES[0], ..Print::OBJECT };
    const GEMMA: Print = Print { quote: ESCAPES[1], ..Print::OBJECT };

    #[cfg_attr(not(feature = "constrained"), allow(dead_code))]
    pub(super) fn is_python(&self) -> bool {
        self.arguments.is_empty()
    }

    /// Whether the name is the arguments' key.
    pub(super) fn is_keyed(&self) -> bool {
        self.name.is_empty() && !self.arguments.is_empty()
    }
}

/// Where a model thinks: what begins that, what ends it, and what a template has that teaches it (none: the end).
#[derive(Debug)]
pub(super) struct Thinking {
    pub open: &'static str,
    pub close: &'static str,
    sign: &'static str,
}

const fn value(
    name: &'static str,
    signs: &'static [&'static [&'static str]],
    blocks: &'static [[&'static str; 2]],
) -> Format {
    let (body, print) = (Body::Value, &Print::LIST);
    Format { name, signs, blocks, opens: &[], body, print, close: "", bare: false, silent: &[] }
}

const fn named(
    name: &'static str,
    signs: &'static [&'static [&'static str]],
    opens: &'static [&'static str],
    first: Field,
    marks: &'static [(&'static str, Field)],
) -> Format {
    let (body, print) = (Body::Named { first, marks }, &Print::OBJECT);
    Format { name, signs, blocks: &[], opens, body, print, close: "", bare: false, silent: &[] }
}

const fn tagged(
    name: &'static str,
    signs: &'static [&'static [&'static str]],
    blocks: &'static [[&'static str; 2]],
    open: &'static [&'static str],
    tags: &'static Tags,
    close: &'static str,
) -> Format {
    let (body, print) = (Body::Tagged(tags), &Print::OBJECT);
    Format { name, signs, blocks, opens: open, body, print, close, bare: false, silent: &[] }
}

const JSON: Field = Field::Arguments(Dialect::Json);
/// `<parameter=KEY>`, a line end, the value, a line end, `</parameter>`.
const PARAMETER: Tags = Tags {
    name_end: ">",
    head_end: "",
    key: "<parameter=",
    key_end: ">",
    value: "",
    value_end: "</parameter>",
    text: "",
    printed: ["", "", ""],
    lines: true,
};
/// `<parameter name="KEY">`, the value, `</parameter>`.
const ATTRIBUTE: Tags = Tags {
    name_end: "\"",
    head_end: ">",
    key: "<parameter name=\"",
    key_end: "\"",
    value: ">",
    value_end: "</parameter>",
    text: "string=\"true\"",
    printed: ["", "", ""],
    lines: false,
};
const GLM: Tags = Tags {
    name_end: "\n",
    head_end: "",
    key: "<arg_key>",
    key_end: "</arg_key>",
    value: "<arg_value>",
    value_end: "</arg_value>",
    text: "",
    printed: ["", "", ""],
    lines: false,
};

/// The first that fits a template counts: special ones come before those that have less to show.
pub(super) static FORMATS: &[Format] = &[
    named(
        "kimi",
        &[&["<|tool_call_argument_begin|>"]],
        &["<|tool_call_begin|>"],
        Field::Handle,
        &[("<|tool_call_argument_begin|>", JSON)],
    )
    .around(&[["<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"]], "<|tool_call_end|>"),
    named(
        "solar",
        &[&["<|tool_call:args|>"]],
        &["<|tool_call:begin|>"],
        Field::Id,
        &[("<|tool_call:name|>", Field::Name), ("<|tool_call:args|>", JSON)],
    )
    .around(&[["<|tool_calls|>", "<|calls|>"]], "<|tool_call:end|>")
    .silencing(&["<|begin|>assistant", "<|content|>", "<|end|>"]),
    named(
        "deepseek-r1",
        &[&["<｜tool▁sep｜>", "```json"]],
        &["<｜tool▁call▁begin｜>"],
        Field::Skip,
        &[("<｜tool▁sep｜>", Field::Name), ("\n```json\n", JSON)],
    )
    .around(&[["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"]], "```<｜tool▁call▁end｜>"),
    named(
        "deepseek-v3.1",
        &[&["<｜tool▁sep｜>"]],
        &["<｜tool▁call▁begin｜>"],
        Field::Name,
        &[("<｜tool▁sep｜>", JSON)],
    )
    .around(&[["<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"]], "<｜tool▁call▁end｜>"),
    tagged(
        "dsml",
        &[&["DSML"]],
        &[["<｜DSML｜function_calls>", "</｜DSML｜function_calls>"], ["<｜DSML｜tool_calls>", "</｜DSML｜tool_calls>"]],
        &["<｜DSML｜invoke name=\""],
        &Tags {
            key: "<｜DSML｜parameter name=\"",
            value_end: "</｜DSML｜parameter>",
            printed: ["", " string=\"true\"", " string=\"false\""],
            ..ATTRIBUTE
        },
        "</｜DSML｜invoke>",
    ),
    tagged(
        "minimax",
        &[&["minimax:tool_call", "<invoke name="]],
        &[["<minimax:tool_call>", "</minimax:tool_call>"]],
        &["<invoke name=\""],
        &ATTRIBUTE,
        "</invoke>",
    ),
    tagged(
        "kimi-k3",
        &[&["<|open|>", "<|sep|>"]],
        &[["<|open|>tools<|sep|>", "<|close|>tools<|sep|>"]],
        &["<|open|>call tool=\""],
        &Tags {
            head_end: "<|sep|>",
            key: "<|open|>argument key=\"",
            value: "<|sep|>",
            value_end: "<|close|>argument<|sep|>",
            text: "type=\"string\"",
            printed: [" index=\"1\"", " type=\"string\"", " type=\"object\""],
            ..ATTRIBUTE
        },
        "<|close|>call<|sep|>",
    )
    .silencing(&["<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"]),
    tagged(
        "hunyuan",
        &[&["arg_key{}"], &["<arg_key:opensource>"]],
        &[["<tool_calls:opensource>", "</tool_calls:opensource>"]],
        &["<tool_call:opensource>"],
        &Tags {
            name_end: "<tool_sep:opensource>",
            key: "<arg_key:opensource>",
            key_end: "</arg_key:opensource>",
            value: "<arg_value:opensource>",
            value_end: "</arg_value:opensource>",
            ..GLM
        },
        "</tool_call:opensource>",
    ),
    tagged("glm", &[&["<arg_key>"]], &[], &["<tool_call>"], &GLM, "</tool_call>"),
    tagged(
        "seed",
        &[&["<seed:tool_call>"]],
        &[["<seed:tool_call>", "</seed:tool_call>"]],
        &["<function="],
        &PARAMETER,
        "</function>",
    ),
    tagged(
        "qwen3-coder",
        &[&["<function=", "<parameter="]],
        &[["<tool_call>", "</tool_call>"]],
        &["<function="],
        &PARAMETER,
        "</function>",
    ),
    named("functionary", &[&["<function=", "</function>"]], &["<function="], Field::Name, &[(">", JSON)])
        .around(&[], "</function>"),
    tagged(
        "minicpm",
        &[&["<function name=", "<param name="]],
        &[],
        &["<function name=\""],
        &Tags { key: "<param name=\"", value_end: "</param>", ..ATTRIBUTE },
        "</function>",
    ),
    named(
        "mistral",
        &[&["[TOOL_CALLS]", "[ARGS]"]],
        &["[TOOL_CALLS]"],
        Field::Name,
        &[("[CALL_ID]", Field::Id), ("[ARGS]", JSON)],
    ),
    value("mistral-list", &[&["[TOOL_CALLS]"]], &[["[TOOL_CALLS]", ""]]),
    named(
        "functiongemma",
        &[&["<start_function_call>"]],
        &["<start_function_call>call:"],
        Field::Name,
        &[("{", Field::Arguments(Dialect::Gemma))],
    )
    .around(&[], "<end_function_call>")
    .printed(&Print::FUNCTION_GEMMA),
    named(
        "gemma4",
        &[&["<|tool_call>call:"]],
        &["<|tool_call>call:"],
        Field::Name,
        &[("{", Field::Arguments(Dialect::Gemma))],
    )
    .around(&[], "<tool_call|>")
    .printed(&Print::GEMMA),
    value(
        "lfm2",
        &[&["<|tool_call_start|>"], &["<|tool_list_start|>"], &["List of tools: ["]],
        &[["<|tool_call_start|>", "<|tool_call_end|>"]],
    )
    .printed(&Print::PYTHON_LIST),
    value("cohere", &[&["<|START_ACTION|>"]], &[["<|START_ACTION|>", "<|END_ACTION|>"]])
        .printed(&Print::COHERE)
        .silencing(&["<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>"]),
    value(
        "command-r",
        &[&["Action:", "```json", "tool_name"]],
        &[["Action:\n```json\n", "```"], ["Action: ```json\n", "```"]],
    )
    .printed(&Print::COHERE),
    value("apertus", &[&["<|tools_prefix|>"]], &[["<|tools_prefix|>", "<|tools_suffix|>"]]).printed(&Print::KEY),
    value("nemotron", &[&["<TOOLCALL>"]], &[["<TOOLCALL>", "</TOOLCALL>"]]),
    value("gigachat", &[&["<|function_call|>"]], &[["<|function_call|>", ""]]).printed(&Print::OBJECT),
    value(
        "gigachat-3",
        &[&["function call", "<|role_sep|>"]],
        &[["<|message_sep|>\n\nfunction call<|role_sep|>\n", ""]],
    )
    .printed(&Print::OBJECT),
    value("granite", &[&["<|tool_call|>"]], &[["<|tool_call|>", "<|/tool_call|>"]]),
    value("tool_calls", &[&["<tool_calls>"]], &[["<tool_calls>", "</tool_calls>"]]),
    value("hermes", &[&["<tool_call>"]], &[["<tool_call>", "</tool_call>"]]).printed(&Print::LINES),
    value("firefunction", &[&["functools"]], &[["functools", ""]]),
    named(
        "harmony",
        &[&["<|channel|>", "functions."]],
        &["<|channel|>commentary to=functions.", "<|channel|>analysis to=functions.", " to=functions."],
        Field::Name,
        &[("<|channel|>", Field::Skip), (" ", Field::Skip), ("<|message|>", JSON)],
    )
    .around(&[], "<|call|>")
    .silencing(&[
        "<|start|>assistant",
        "<|channel|>final<|message|>",
        "<|channel|>commentary<|message|>",
        "<|end|>",
        "<|return|>",
    ]),
    value("llama3", &[&["<|python_tag|>"], &["ipython", "\"parameters\""]], &[["<|python_tag|>", ""]])
        .printed(&Print::LLAMA)
        .bare(),
    value("tool_code", &[&["```tool_code"]], &[["```tool_code\n", "```"]])
        .printed(&Print { pad: "\n", ..Print::PYTHON }),
    value("json", &[&["\"name\"", "\"parameters\"", "tools"], &["\"name\"", "\"arguments\"", "tools"]], &[])
        .printed(&Print::LLAMA)
        .bare(),
];

static THINKING: &[Thinking] = &[
    Thinking { open: "<seed:think>", close: "</seed:think>", sign: "" },
    Thinking { open: "<think:opensource>", close: "</think:opensource>", sign: "think{}" },
    Thinking { open: "<mm:think>", close: "</mm:think>", sign: "" },
    Thinking { open: "<|open|>think<|sep|>", close: "<|close|>think<|sep|>", sign: "<|open|>" },
    Thinking { open: "[THINK]", close: "[/THINK]", sign: "" },
    Thinking { open: "<|START_THINKING|>", close: "<|END_THINKING|>", sign: "" },
    Thinking { open: "<|inner_prefix|>", close: "<|inner_suffix|>", sign: "" },
    Thinking { open: "<|channel>thought\n", close: "<channel|>", sign: "" },
    Thinking { open: "<|channel|>analysis<|message|>", close: "<|end|>", sign: "<|channel|>" },
    Thinking { open: "<|think|>", close: "<|end|>", sign: "<|think|>" },
    Thinking { open: "Here are my reasoning steps:\n", close: "[BEGIN FINAL RESPONSE]", sign: "" },
    Thinking { open: "<think>", close: "</think>", sign: "" },
    Thinking { open: "<thinking>", close: "</thinking>", sign: "" },
];

impl Format {
    const fn around(self, blocks: &'static [[&'static str; 2]], close: &'static str) -> Format {
        Format { blocks, close, ..self }
    }

    const fn printed(self, print: &'static Print) -> Format {
        Format { print, ..self }
    }

    const fn bare(self) -> Format {
        Format { bare: true, ..self }
    }

    const fn silencing(self, silent: &'static [&'static str]) -> Format {
        Format { silent, ..self }
    }

    /// The form that a template teaches.
    pub(super) fn of(template: &str) -> Option<&'static Format> {
        let fits = |signs: &&'static [&'static str]| signs.iter().all(|sign| template.contains(sign));
        FORMATS.iter().find(|format| format.signs.iter().any(fits))
    }

    /// All marks of this form.
    pub(super) fn marks(&self) -> impl Iterator<Item = &'static str> + '_ {
        let (fields, tags) = match &self.body {
            Body::Value => (&[][..], None),
            Body::Named { marks, .. } => (*marks, None),
            Body::Tagged(tags) => (&[][..], Some(*tags)),
        };
        let tags = tags.map(|t| [t.name_end, t.head_end, t.key, t.key_end, t.value, t.value_end]);
        let gemma = fields.iter().any(|(_, field)| *field == Field::Arguments(Dialect::Gemma));
        let all = self.blocks.as_flattened().iter().chain(self.opens).chain(self.silent).chain([&self.close]).copied();
        let all = all.chain(fields.iter().map(|(mark, _)| *mark)).chain(tags.into_iter().flatten());
        all.chain(ESCAPES.into_iter().filter(move |_| gemma)).filter(|mark| !mark.is_empty())
    }
}

impl Thinking {
    /// How a template has the model think, if it does.
    pub(super) fn of(template: &str) -> Option<&'static Thinking> {
        let sign = |t: &Thinking| if t.sign.is_empty() { t.close } else { t.sign };
        THINKING.iter().find(|thinking| template.contains(sign(thinking)))
    }
}

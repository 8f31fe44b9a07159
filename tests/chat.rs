//! Chat templates: what Jinja2 makes of them, and what becomes of those that mean harm, on a small stack.

use rasp::Status;
use rasp::text::{Chat, ChatTemplate, ChatText, MAX_TEMPLATE_BYTES, Message};
use serde_json::Value;

/// What every call makes do with. Without optimisation it takes more.
const STACK: usize = if cfg!(debug_assertions) { 1 << 20 } else { 64 << 10 };

/// A chat of its own: it goes to a thread.
#[derive(Clone, Default)]
struct Owned {
    /// Roles, contents and fields.
    messages: Vec<(String, Option<String>, Option<String>)>,
    variables: Option<String>,
    time: Option<i64>,
}

/// Renders on a thread of that stack.
fn render_chat(template: &str, chat: &Owned, prompt: bool) -> rasp::Result<String> {
    let (template, chat) = (template.to_string(), chat.clone());
    let run = move || {
        let messages: Vec<_> = chat
            .messages
            .iter()
            .map(|(role, content, fields)| Message { role, content: content.as_deref(), fields: fields.as_deref() })
            .collect();
        let variables = chat.variables.as_deref();
        let given = Chat { messages: &messages, add_generation_prompt: prompt, variables, time: chat.time };
        let template = ChatTemplate::with_tokens(&template, Some("<s>".into()), Some("</s>".into()))?;
        template.format(&given).map(ChatText::into_text)
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
}

fn render(template: &str, messages: &[(String, String)], prompt: bool) -> rasp::Result<String> {
    let messages = messages.iter().map(|(role, content)| (role.clone(), Some(content.clone()), None)).collect();
    render_chat(template, &Owned { messages, ..Owned::default() }, prompt)
}

/// A conversation of the golden file.
fn owned(chat: &Value) -> Owned {
    let text = |value: &Value| value.as_str().map(str::to_string);
    let message = |m: &Value| (text(&m["role"]).unwrap(), text(&m["content"]), text(&m["fields"]));
    Owned {
        messages: chat["messages"].as_array().unwrap().iter().map(message).collect(),
        variables: text(&chat["variables"]),
        time: chat["time"].as_i64(),
    }
}

/// Texts and refusals of Jinja2 with the settings of `transformers`: `templates/expect.py` has written them.
#[test]
fn templates_give_what_jinja2_gives() {
    let constructs = include_str!("templates/constructs.txt").strip_suffix('\n').unwrap();
    let golden: Value = serde_json::from_str(include_str!("templates/expected.json")).unwrap();
    let line_ends = golden["line_ends"].as_array().unwrap().iter().map(|template| template.as_str().unwrap());
    let templates: Vec<&str> = constructs.split("\n====\n").chain(line_ends).collect();
    let conversations: Vec<Owned> = golden["conversations"].as_array().unwrap().iter().map(owned).collect();
    let expected = golden["expected"].as_array().unwrap();
    assert_eq!(templates.len(), expected.len());
    let (mut texts, mut wrong) = (0, Vec::new());
    for (template, expected) in templates.iter().zip(expected) {
        for (index, expected) in expected.as_array().unwrap().iter().enumerate() {
            let got = render_chat(template, &conversations[index / 2], index % 2 == 0);
            match (&got, expected.as_str()) {
                (Ok(got), Some(expected)) if got == expected => texts += 1,
                (Err(error), None) => assert_eq!(error.status(), Status::Template, "{template}: {error}"),
                _ => wrong.push(format!("{template:?}, conversation {}:\n{got:?}, not\n{expected:?}\n", index / 2)),
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        2 * conversations.len() * templates.len(),
        wrong.join("\n")
    );
    assert!(texts > 1000);
}

/// What `templates/published.py` compares texts by: FNV-1a of 64 bits.
fn checksum(text: &str) -> String {
    let sum =
        text.bytes().fold(0xcbf29ce484222325, |sum: u64, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100000001b3));
    format!("{sum:016x}")
}

/// The templates that models were published with, in `target/templates` (`make test-templates`).
#[test]
#[ignore = "wants templates that are fetched"]
fn published_templates_give_what_jinja2_gives() {
    let golden: Value = serde_json::from_str(include_str!("templates/published.json")).unwrap();
    let conversations: Vec<Owned> = golden["conversations"].as_array().unwrap().iter().map(owned).collect();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/templates");
    let (mut texts, mut wrong) = (0, Vec::new());
    for (name, expected) in golden["templates"].as_object().unwrap() {
        let template = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).expect("make test-templates");
        let different = expected["different"].as_array().unwrap();
        for (index, expected) in expected["texts"].as_array().unwrap().iter().enumerate() {
            let got = render_chat(&template, &conversations[index / 2], index % 2 == 0);
            let known = different.contains(&Value::from(index / 2));
            match (&got, expected.as_str()) {
                (Ok(got), expected) if known => assert_ne!(Some(checksum(got).as_str()), expected, "{name}: no more"),
                (Ok(got), Some(expected)) if checksum(got) == expected => texts += 1,
                (Err(error), None) => assert_eq!(error.status(), Status::Template, "{name}: {error}"),
                _ => wrong.push(format!("{name}, conversation {}, {expected:?}:\n{got:?}\n", index / 2)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(texts > 600);
}

#[test]
fn line_ends_are_alike_and_a_clock_is_asked_for_in_vain() {
    assert_eq!(render("a\r\nb\rc{% if 1 %}\r\nd{% endif %}\r\n", &[], false).unwrap(), "a\nb\ncd");
    let error = render("{{ strftime_now('%Y') }}", &[], false).unwrap_err();
    assert!(error.message().contains("no time"), "{error}");
    assert_eq!(render("{{ strftime_now is defined }}", &[], false).unwrap(), "False");
    let error = render("a\n\n{{ messages[0].role }}{{ x.y }}", &[], false).unwrap_err();
    assert!(error.message().starts_with("line 3 of the chat template"), "{error}");
}

/// Each was seen to end or to hang a host, or is of their kind.
#[test]
fn a_hostile_template_is_an_error_or_short() {
    let many = 30_000;
    let chain = |before: &str, link: &str, after: &str| format!("{before}{}{after}", link.repeat(many));
    let nested =
        |open: &str, close: &str, deep: usize| format!("{{{{ {}1{} }}}}", open.repeat(deep), close.repeat(deep));
    let grown = |count: usize, step: &str, end: &str| {
        format!(
            "{{% set ns = namespace(x=1) %}}{{% for i in range({count}) %}}{{% set ns.x = {step} %}}{{% endfor %}}{end}"
        )
    };
    let cases = [
        chain("{{ ", "not ", "1 }}"),
        chain("{{ ", "-", "1 }}"),
        chain("{{ ", "+", "1 }}"),
        chain("{{ ", "'a'~", "1 }}"),
        chain("{{ ", "1+", "1 }}"),
        chain("{{ ", "1 ** ", "1 }}"),
        chain("{{ ", "1 < ", "1 }}"),
        chain("{{ ", "1 and ", "1 }}"),
        chain("{{ 1", "|abs", " }}"),
        chain("{{ messages", ".b", " }}"),
        chain("{{ messages", "[0]", " }}"),
        chain("{{ f", "()", " }}"),
        chain("{% if 0 %}", "{% elif 0 %}", "x{% endif %}"),
        format!("{{{{ {}2 }}}}", "1 if 0 else ".repeat(10_000)),
        nested("(", ")", 20_000),
        nested("(", ")", 31),
        nested("[", "]", 20_000),
        nested("[", "]", 23),
        nested("{'a':", "}", 23),
        nested("namespace(a=", ")", 31),
        nested("1|default(", ")", 31),
        nested("messages[", "]", 31),
        nested("(1 or (1 and (1 < (1 + (1 ~ (1 * (2 ** ", ")))))))", 40),
        format!("{}1{}", "{% if true %}".repeat(5_000), "{% endif %}".repeat(5_000)),
        format!("{}1{}", "{% for i in [1] %}".repeat(128), "{% endfor %}".repeat(128)),
        "{% set ns=namespace() %}{% set ns.x=ns %}{{ ns }}".into(),
        "{% set ns=namespace() %}{% set ns.x=[[ns]] %}{{ ns }}".into(),
        "{{ '{:>99999999999999}'.format(1) }}".into(),
        "{{ '{:>1000000000}'.format(1) }}".into(),
        "{{ '{0[a]é[b]}'.format({'a': 1}) }}".into(),
        "{{ '%1000000000d' % 1 }}{{ '%.1000000000f' % 1 }}".into(),
        "{{ 'a'.center(1000000000) }}".into(),
        "{{ 'a' | indent(99999999, true) }}".into(),
        "{{ [1] | tojson(indent=99999999) }}".into(),
        "{{ 'a' * 99999999999999 }}".into(),
        "{{ [1] * 99999999999999 }}".into(),
        "{{ 9 ** 9 ** 9 }}{{ (-9223372036854775807 - 1) // -1 }}".into(),
        "{{ 'abc'[9223372036854775807::-9223372036854775807] }}".into(),
        grown(40, "[1] + ([ns.x] | list)", "{{ ns.x | length }}"),
        grown(40, "((ns.x is number and [1]) or ns.x) * 2", "{{ ns.x | length }}"),
        grown(34, "[ns.x, ns.x]", "{{ ns.x }}"),
        grown(23, "[ns.x, ns.x]", "{{ ns.x }}"),
        grown(23, "[ns.x, ns.x]", "{{ ns.x == [ns.x] }}{{ ns.x == ns.x }}"),
        grown(23, "[ns.x, ns.x]", "{{ ns.x | tojson }}"),
        grown(23, "(ns.x, ns.x)", "{{ {ns.x: 1} }}"),
        grown(20_000, "[ns.x]", "{{ ns.x }}"),
        grown(60, "ns.x ~ ns.x", "{{ ns.x }}"),
        grown(60, "(ns.x ~ 'a') | replace('a', ns.x ~ 'a')", "{{ ns.x }}"),
        grown(60, "[ns.x, ns.x, ns.x] | join(ns.x)", "{{ ns.x }}"),
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}".into(),
        "{% for i in range(9999999999) %}{% endfor %}".into(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".into(),
        "{% macro f(a=f()) %}{% endmacro %}{{ f() }}".into(),
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}".into(),
        "{{ range(100000) | list | unique | list }}{{ range(100000) | sort(reverse=true) | list }}".into(),
        "x".repeat(MAX_TEMPLATE_BYTES + 1),
    ];
    let user = [("user".to_string(), "Hi".to_string())];
    for template in &cases {
        match render(template, &user, true) {
            Ok(text) => assert!(text.len() < 4096, "{template:.60}"),
            Err(error) => assert_eq!(error.status(), Status::Template, "{template:.60}"),
        }
    }
}

/// Every prefix of templates that use everything: an error or a text, and never a panic.
#[test]
fn a_template_may_end_anywhere() {
    for template in include_str!("templates/constructs.txt").split("\n====\n") {
        let template: String = template.chars().take(160).collect();
        for end in (0..=template.len()).filter(|&end| template.is_char_boundary(end)) {
            let _ = ChatTemplate::with_tokens(&template[..end], None, None).unwrap().render(&[], true);
        }
    }
}

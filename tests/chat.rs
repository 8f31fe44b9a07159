//! Chat templates: what Jinja2 makes of them, and what becomes of those that mean harm, on a small stack.

use rasp::Status;
use rasp::text::{ChatTemplate, MAX_TEMPLATE_BYTES, Message};
use serde_json::Value;

/// What every call makes do with. Without optimisation it takes more.
const STACK: usize = if cfg!(debug_assertions) { 1 << 20 } else { 64 << 10 };

/// Renders on a thread of that stack.
fn render(template: &str, messages: &[(String, String)], prompt: bool) -> rasp::Result<String> {
    let (template, messages) = (template.to_string(), messages.to_vec());
    let run = move || {
        let messages: Vec<_> = messages.iter().map(|(role, content)| Message::new(role, content)).collect();
        ChatTemplate::with_tokens(&template, Some("<s>".into()), Some("</s>".into()))?.render(&messages, prompt)
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
}

/// Texts and refusals of Jinja2 with the settings of `transformers`: `templates/expect.py` has written them.
#[test]
fn templates_give_what_jinja2_gives() {
    let templates: Vec<&str> = include_str!("templates/constructs.txt").split("\n====\n").collect();
    let golden: Value = serde_json::from_str(include_str!("templates/expected.json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let conversations: Vec<Vec<(String, String)>> = golden["conversations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|messages| messages.as_array().unwrap().iter().map(|m| (text(&m["role"]), text(&m["content"]))).collect())
        .collect();
    let expected = golden["expected"].as_array().unwrap();
    assert_eq!(templates.len(), expected.len());
    let mut texts = 0;
    for (template, expected) in templates.iter().zip(expected) {
        for (index, expected) in expected.as_array().unwrap().iter().enumerate() {
            let got = render(template, &conversations[index / 2], index % 2 == 0);
            match (&got, expected.as_str()) {
                (Ok(got), Some(expected)) => assert_eq!(got, expected, "{template:?}, conversation {}", index / 2),
                (Err(error), None) => assert_eq!(error.status(), Status::Template),
                _ => panic!("{template:?}, conversation {}: {got:?}, not {expected:?}", index / 2),
            }
            texts += usize::from(got.is_ok());
        }
    }
    assert!(texts > 300);
}

#[test]
fn line_ends_are_alike_and_a_clock_is_asked_for_in_vain() {
    assert_eq!(render("a\r\nb\rc{% if 1 %}\r\nd{% endif %}\r\n", &[], false).unwrap(), "a\nb\ncd");
    let error = render("{{ strftime_now('%Y') }}", &[], false).unwrap_err();
    assert!(error.message().contains("no time"), "{error}");
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

//! Chat templates of the models rasp runs, and ones that mean harm.

use super::real;
use super::support::open;
use rasp::Status;
use rasp::text::{ChatTemplate, Message};
use rasp_packer::tokenizer::compile;

const USER: Message = Message::new("user", " Hi {{ 1 }} \n");

fn render(template: &str, messages: &[Message]) -> rasp::Result<String> {
    ChatTemplate::with_tokens(template, Some("<s>".into()), Some("</s>".into()))?.render(messages, true)
}

#[test]
fn smollm2() {
    let model = real::model();
    let tokenizer = open(&compile(&model.tokenizer, model.config().vocab_size).unwrap()).unwrap();
    let template = ChatTemplate::new(&model.chat_template.unwrap(), &tokenizer).unwrap();
    let system = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    assert_eq!(
        template.render(&[Message::new("user", "Hi")], true).unwrap(),
        format!("{system}<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    );
    let two = [Message::new("system", "Be brief."), Message::new("assistant", "Yes.")];
    assert_eq!(
        template.render(&two, false).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
    );
}

/// What real templates use: whitespace control, namespaces, Python's methods, slices, `tools` undefined, a guarded
/// clock.
#[test]
fn what_templates_use() {
    let llama3 = "{%- if tools is defined and tools is not none %}{{ tools | tojson }}{%- endif %}\n\
        {%- if strftime_now is defined %}{{ strftime_now('%d') }}{%- else %}{%- set date = '26 Jul 2024' %}{%- endif %}\n\
        {%- set ns = namespace(system='') %}\n\
        {%- for message in messages[0:] %}\n    {%- if message['role'] == 'system' %}\n\
        {%- set ns.system = message.content.strip() %}\n    {%- else %}\n\
        {{- '<|' + message['role'].upper() + '|>' + message['content'] | trim + eos_token }}\n    {%- endif %}\n{%- endfor %}\n\
        {{- bos_token ~ ns.system ~ date }}";
    let system = Message::new("system", " S ");
    assert_eq!(render(llama3, &[system, USER]).unwrap(), "<|USER|>Hi {{ 1 }}</s><s>S26 Jul 2024");
    // Blocks take their line with them, as Hugging Face sets it up.
    let blocks = "{% for m in messages %}\n  {% if loop.first %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}\nend\n";
    assert_eq!(render(blocks, &[USER, USER]).unwrap(), "user\nend");
    let methods = "{{ 'a b'.split(' ')[-1] }}{{ 'xay'.replace('a', 'o').startswith('xo') }}{{ messages[0].get('name') }}\
        {% for k, v in messages[0].items() %}{{ k }}{% if loop.first %}{% continue %}{% endif %}{% break %}{% endfor %}";
    assert!(render(methods, &[USER]).unwrap().to_lowercase().starts_with("btruenone"));
    let no_tokens = ChatTemplate::with_tokens("[{{ bos_token }}]", None, None).unwrap();
    assert_eq!(no_tokens.render(&[], false).unwrap(), "[]");
}

#[test]
fn a_template_may_refuse() {
    let error = render("{{ raise_exception('roles must alternate') }}", &[USER]).unwrap_err();
    assert_eq!(error.status(), Status::Template);
    assert!(error.message().contains("roles must alternate"), "{error}");
    let error = render("{{ strftime_now('%d') }}", &[USER]).unwrap_err();
    assert!(error.message().contains("no time"), "{error}");
    for broken in ["{% if %}", "{{ 'a' }", "{% for x in y %}", "{{ a.b.c }}", "{{ 1 / 0 }}", "{{ 'a'.frobnicate() }}"] {
        assert_eq!(render(broken, &[USER]).unwrap_err().status(), Status::Template, "{broken}");
    }
}

#[test]
fn a_hostile_template_ends() {
    let nested = format!("{}1{}", "{% if true %}".repeat(5000), "{% endif %}".repeat(5000));
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(20_000), ")".repeat(20_000));
    let lists = format!("{{{{ {}{} }}}}", "[".repeat(20_000), "]".repeat(20_000));
    let cases = [
        "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
        "{% for i in range(9999999999) %}{% endfor %}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x.join([ns.x, ns.x, ns.x]) %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] | join(ns.x) %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(60) %}{% set ns.x = ns.x | indent(1000000) %}{% endfor %}",
        "{{ 'a' * 99999999999999 }}",
        "{{ [1] * 99999999999999 }}",
        "{{ ('%1000000000d') | format(1) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{{ 9 ** 9 ** 9 }}",
        &nested,
        &parens,
        &lists,
    ];
    for template in cases {
        match render(template, &[USER]) {
            Ok(text) => assert!(text.len() < 1 << 24, "{template:.60}"),
            Err(error) => assert_eq!(error.status(), Status::Template),
        }
    }
}

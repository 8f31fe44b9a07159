//! The page as a whole. It is XML too, so that a strict parser can hold it to account.

use super::data::{Report, trimmed};
use super::html::{escape, json};
use super::sections;
use serde_json::Value;

const STYLE: &str = include_str!("style.css");

pub fn page(report: &Report, data: &Value) -> String {
    let title = escape(&report.name);
    let mut style = STYLE.to_string();
    // Which panel of the heat map is shown needs no script: each level's radio button shows its own.
    for level in 0..report.settings.len() {
        style += &format!("#level-{level}:checked~.panels .level-{level}{{display:block}}\n");
    }
    let body: String = [
        sections::settings(report),
        sections::tasks(report),
        sections::charts(report),
        sections::heat_map(report),
        sections::low_rank(report),
        sections::bytes(report),
        sections::texts(report),
        sections::thresholds(report),
    ]
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title} · rasp report</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<main>\n<header>\n<p class=\"kicker\">rasp report</p>\n\
         <h1>{title}</h1>\n{}{}</header>\n{body}</main>\n<footer><p>Made by rasp {} from <code>{}</code>. Speeds and texts: \
         {} thread{}, {}.</p></footer>\n<script type=\"application/json\" id=\"rasp-report\">{}</script>\n</body>\n\
         </html>\n",
        sections::verdict(report),
        facts(report),
        report.version,
        escape(&report.file),
        report.threads,
        if report.threads == 1 { "" } else { "s" },
        report.isa,
        json(data),
    )
}

fn facts(report: &Report) -> String {
    let names: Vec<String> = report.levels().map(|(_, setting)| setting.name()).collect();
    let file: u64 = report.bytes.iter().map(|(_, bytes)| bytes).sum();
    let levels = match &names[..] {
        [] => "none: packed dense".to_string(),
        names => names.join(", "),
    };
    let start = match report.default_sparsity {
        0.0 => "dense".to_string(),
        sparsity => format!("at {}%", trimmed(100.0 * sparsity, 1)),
    };
    let facts = [
        ("Family", report.architecture.clone()),
        ("Parameters", format!("{} M", trimmed(report.parameters as f64 / 1e6, 1))),
        ("Weights", format!("{}, {} bits each in the linears", report.weights, report.bits_per_weight)),
        ("File", format!("{:.1} MB", file as f64 / 1e6)),
        ("Layers", report.layers.to_string()),
        ("Hidden, intermediate", format!("{}, {}", report.hidden, report.intermediate)),
        ("Heads, KV heads, width", format!("{}, {}, {}", report.heads, report.kv_heads, report.head_dim)),
        ("Vocabulary", format!("{} tokens", report.vocabulary)),
        ("Context", format!("{} tokens", report.context)),
        ("Sparsity levels", levels),
        ("Score, allocation", format!("{}, {}", report.score, report.allocation)),
        ("Sessions start", start),
    ];
    // Of a dense file there is no more to say than that.
    let shown = if names.is_empty() { facts.len() - 2 } else { facts.len() };
    let rows =
        facts[..shown].iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value)));
    format!("<dl class=\"facts\">\n{}</dl>\n", rows.collect::<String>())
}

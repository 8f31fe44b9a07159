//! The sections of the page, in its order.

use super::chart::{Axis, ChartPoint, chart};
use super::data::{LinearReport, Report, SettingReport, TaskScore, trimmed};
use super::html::escape;

/// Numbers that a table lacks.
const NONE: &str = "–";

fn percent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

fn signed_percent(share: f64) -> String {
    format!("{:+.1}%", 100.0 * share)
}

fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}</section>\n")
}

/// A table that scrolls within itself. Cells are HTML; the first of a row is its heading.
fn table(caption: &str, names: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let heads: String = names.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let rows: String = rows
        .map(|row| {
            let (first, rest) = row.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
            // On a narrow screen a row is a list, each number with its heading.
            let cells = rest.iter().zip(&names[1..]);
            let cells: String = cells.map(|(cell, name)| format!("<td data-label=\"{name}\">{cell}</td>")).collect();
            format!("<tr><th scope=\"row\">{first}</th>{cells}</tr>\n")
        })
        .collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table>\n<caption>{caption}</caption>\n\
         <thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// What to make of it, in a sentence or two.
pub fn verdict(report: &Report) -> String {
    let chosen = report.default_setting();
    let name = chosen.name();
    let mut text = match chosen.sparsity {
        0.0 if report.levels().next().is_none() => "The file is dense: it has no sparsity levels.".to_string(),
        0.0 => "Sessions start dense; the table below shows what each sparsity would give.".to_string(),
        _ => format!("Sessions start at {name}: a token reads {} of the linear weights", percent(chosen.traffic())),
    };
    if chosen.sparsity > 0.0 {
        if let Some(loss) = report.loss(chosen) {
            text += &format!(", and perplexity is {} than dense", change(loss));
        }
        text += &match chosen.speed.as_ref().zip(report.settings[0].speed.as_ref()) {
            None => ".".to_string(),
            // The rounds of the two overlap.
            Some((own, dense)) if own.tok_s_min <= dense.tok_s_max && own.tok_s_max >= dense.tok_s_min => {
                ". On this machine it is not measurably faster than dense: <code>--sparsity 0</code> costs nothing."
                    .into()
            }
            Some((own, dense)) if own.tok_s < dense.tok_s => format!(
                ". On this machine it is slower, {:.2} times the dense speed: use <code>--sparsity 0</code>.",
                own.tok_s / dense.tok_s
            ),
            Some((own, dense)) => {
                format!(". On this machine it decodes {:.2} times as fast as dense.", own.tok_s / dense.tok_s)
            }
        };
    }
    format!("<p class=\"verdict\">{text}</p>\n")
}

/// `1.9% higher`.
fn change(share: f64) -> String {
    let way = if share < 0.0 { "lower" } else { "higher" };
    format!("{:.1}% {way}", 100.0 * share.abs())
}

/// What each setting gives and costs, in numbers.
pub fn settings(report: &Report) -> String {
    let source = match &report.quality {
        Some(q) => format!(
            "Perplexity and traffic are of the first {} window{} of {} tokens of <code>{}</code>, every token sparse. \
             Loss is by how much the perplexity of sparse predictions exceeds the dense model's at the same positions, \
             KL divergence how far they are from its own, in nats a token, and the same greedy tokens where both find \
             the same token likeliest.",
            q.windows,
            if q.windows == 1 { "" } else { "s" },
            q.ctx,
            escape(&q.text)
        ),
        None if report.settings[0].loss_calibration.is_some() => {
            "<strong>No text was given:</strong> loss is what the file says of held-back calibration text, every token \
             sparse, and traffic what it says of the rest. <code>rasp report --text FILE</code> measures both."
                .to_string()
        }
        None => {
            "<strong>Quality was not measured:</strong> <code>rasp report --text FILE</code> does. Traffic is what the \
                 file says of its calibration text."
                .to_string()
        }
    };
    let speed = match report.settings[0].speed {
        Some(_) => "Speed is the median of three rounds on this machine, each setting once a round.",
        None => "Speed was not measured.",
    };
    let heads = [
        "Setting",
        "Linear weights read",
        "Perplexity",
        "Loss",
        "KL divergence",
        "Same greedy tokens",
        "Tokens/s, least–most",
        "Against dense",
        "MB a token",
    ];
    let rows = report.settings.iter().map(|setting| {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.into());
        let speed = setting.speed.as_ref();
        let default = if setting.sparsity > 0.0 && setting.sparsity == report.default_sparsity {
            " <small>default</small>"
        } else {
            ""
        };
        vec![
            setting.name() + default,
            percent(setting.traffic()),
            or_none(setting.perplexity.map(|x| format!("{x:.2}"))),
            or_none(report.loss(setting).filter(|_| setting.sparsity > 0.0).map(signed_percent)),
            or_none(setting.sparse.map(|sparse| format!("{:.4}", sparse.kl))),
            or_none(setting.sparse.map(|sparse| percent(sparse.same_greedy))),
            or_none(speed.map(|s| format!("{:.1} <small>{:.1}–{:.1}</small>", s.tok_s, s.tok_s_min, s.tok_s_max))),
            or_none(report.speedup(setting).map(|x| format!("{x:.2}×"))),
            or_none(speed.map(|s| format!("{:.1}", s.bytes_per_token / 1e6))),
        ]
    });
    let table = table("Quality, traffic and speed of every setting", &heads.map(String::from), rows);
    section("settings", "What each setting gives and costs", &format!("<p>{source} {speed}</p>\n{table}"))
}

/// What tasks come to at each setting, if there were any.
pub fn tasks(report: &Report) -> String {
    let of_dense = &report.settings[0].tasks;
    if of_dense.is_empty() {
        return String::new();
    }
    let head = |task: &TaskScore| format!("{} ({}, n {})", escape(&task.task), task.metric, task.n);
    let heads: Vec<String> = std::iter::once("Setting".to_string()).chain(of_dense.iter().map(head)).collect();
    let rows = report.settings.iter().map(|setting| {
        let cell = |task: &TaskScore| {
            let above = task.above_dense.map_or(String::new(), |above| format!(" <small>{}</small>", above.points()));
            task.score.percent() + &above
        };
        std::iter::once(setting.name()).chain(setting.tasks.iter().map(cell)).collect()
    });
    let table = table("Tasks at every setting", &heads, rows);
    let text = "<p>Percent, with its standard error; every token sparse. Small: the difference from dense in points, \
                item by item, which has a standard error of its own. Below two of these there is nothing to be \
                told.</p>\n";
    section("tasks", "Your tasks", &format!("{text}{table}"))
}

/// Quality against traffic and speed, as far as they were measured.
pub fn charts(report: &Report) -> String {
    let points = |x: &dyn Fn(&SettingReport) -> Option<f64>, y: &dyn Fn(&SettingReport) -> Option<f64>, unit: &str| {
        let point = |setting: &SettingReport| {
            let (x, y) = (x(setting)?, y(setting)?);
            let range = setting.speed.as_ref().filter(|_| unit == "tokens/s").map(|s| (s.tok_s_min, s.tok_s_max));
            let loss = report.loss(setting).map_or(String::new(), |loss| format!(" ({})", signed_percent(loss)));
            let ppl = setting.perplexity.map_or(loss.clone(), |ppl| format!(", perplexity {ppl:.2}{loss}"));
            Some(ChartPoint {
                x,
                y,
                range,
                name: setting.name(),
                title: format!("{}: {x:.1} {unit}{ppl}", setting.name()),
            })
        };
        report.settings.iter().filter_map(point).collect::<Vec<_>>()
    };
    let traffic = |setting: &SettingReport| Some(100.0 * setting.traffic());
    let measured = report.quality.is_some();
    let perplexity = |setting: &SettingReport| match measured {
        true => setting.perplexity,
        false => Some(1.0 + setting.loss_calibration?),
    };
    let tok_s = |setting: &SettingReport| Some(setting.speed.as_ref()?.tok_s);
    let read = Axis { label: "linear weights read, % of dense", log: false };
    let label = if measured { "perplexity, lower is better" } else { "perplexity on held-back text, dense is 1" };
    let quality = Axis { label, log: true };
    let quality_known = perplexity(&report.settings[0]).is_some();
    let speed = Axis { label: "decoded tokens a second", log: false };
    let table = "The same numbers stand in the table above.";
    let mut figures = Vec::new();
    if quality_known {
        let title = "Quality against traffic";
        let points = points(&traffic, &perplexity, "% read");
        figures.push((title, chart("traffic", title, table, &read, &quality, &points)));
    }
    if quality_known && report.settings[0].speed.is_some() {
        let title = "Quality against speed";
        let points = points(&tok_s, &perplexity, "tokens/s");
        figures.push((title, chart("speed", title, table, &speed, &quality, &points)));
    }
    if !quality_known && report.settings[0].speed.is_some() {
        let title = "Speed against traffic";
        let points = points(&traffic, &tok_s, "% read");
        figures.push((title, chart("speed", title, table, &read, &speed, &points)));
    }
    if figures.is_empty() {
        return String::new();
    }
    let figures: String = figures
        .iter()
        .map(|(title, svg)| format!("<figure><figcaption>{title}</figcaption>\n{svg}</figure>\n"))
        .collect();
    section("charts", "Quality, traffic and speed", &format!("<div class=\"figures\">\n{figures}</div>\n"))
}

/// A grid with a row a layer and a column a kind of linear.
fn grid(report: &Report, caption: &str, cell: impl Fn(&LinearReport) -> String) -> String {
    // The first layer's linears are those of all.
    let kinds = report.linears.iter().take_while(|linear| linear.layer == 0);
    let heads: Vec<String> = kinds.map(|linear| format!("<th scope=\"col\">{}</th>", linear.kind)).collect();
    let (width, heads) = (heads.len().max(1), heads.concat());
    let rows: String = report
        .linears
        .chunks(width)
        .enumerate()
        .map(|(layer, linears)| {
            format!("<tr><th scope=\"row\">{layer}</th>{}</tr>\n", linears.iter().map(&cell).collect::<String>())
        })
        .collect();
    format!(
        "<table class=\"grid-map\"><caption>{caption}</caption>\n<thead><tr><th scope=\"col\">layer</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody></table>\n"
    )
}

/// How much of each linear is left unread, a panel a level.
pub fn heat_map(report: &Report) -> String {
    let levels = report.levels().count();
    if levels == 0 {
        return section("heat", "Where the sparsity goes", "<p>This file is dense: it has no sparsity levels.</p>\n");
    }
    // The middle level is the most telling one to begin with.
    let first = levels / 2;
    let mut content = "<p>Share of each linear's weights that a token leaves unread, in percent, on the calibration \
                       text.</p>\n<div class=\"levels\" role=\"radiogroup\" aria-label=\"Sparsity\">\n"
        .to_string();
    for (level, setting) in report.levels() {
        let checked = if level == first { " checked=\"checked\"" } else { "" };
        content += &format!(
            "<input type=\"radio\" name=\"level\" id=\"level-{level}\"{checked}/><label for=\"level-{level}\">{}</label>\n",
            setting.name()
        );
    }
    content += "<div class=\"legend\" aria-hidden=\"true\"><span>0% unread</span><i></i><span>100%</span></div>\n\
                <div class=\"panels\">\n";
    for (level, setting) in report.levels() {
        let caption =
            format!("{}: {} of all linear weights unread", setting.name(), percent(1.0 - setting.kept_calibration));
        let map = grid(report, &caption, |linear| {
            let unread = (100.0 * (1.0 - linear.kept[level])).clamp(0.0, 100.0);
            let dark = if unread > 55.0 { " class=\"dark\"" } else { "" };
            format!("<td{dark} style=\"--v:{unread:.0}%\">{unread:.0}</td>")
        });
        content += &format!("<div class=\"panel level-{level}\">\n{map}</div>\n");
    }
    section("heat", "Where the sparsity goes", &(content + "</div>\n</div>\n"))
}

/// The ranks of the low-rank parts, where there are any.
pub fn low_rank(report: &Report) -> String {
    let with = report.linears.iter().filter(|linear| linear.rank > 0).count();
    if with == 0 {
        let text = "<p>None: no linear has a low-rank part, all that is read goes to input channels.</p>\n";
        return section("rank", "Low rank", text);
    }
    let largest = report.linears.iter().map(|linear| linear.rank).max().unwrap_or(0) as f64;
    let map = grid(report, "Rank of the low-rank part of each linear, and ρ", |linear| match linear.rank {
        0 => format!("<td style=\"--v:0%\">{NONE}</td>"),
        rank => {
            let share = 100.0 * rank as f64 / largest;
            let dark = if share > 55.0 { " class=\"dark\"" } else { "" };
            format!("<td{dark} style=\"--v:{share:.0}%\">{rank}<small> ρ {}</small></td>", trimmed(linear.rho, 2))
        }
    });
    let text = format!("<p>{with} of {} linears have a low-rank part.</p>\n{map}", report.linears.len());
    section("rank", "Low rank", &text)
}

/// Where the file's bytes go.
pub fn bytes(report: &Report) -> String {
    let all: u64 = report.bytes.iter().map(|(_, bytes)| bytes).sum();
    let rows = report.bytes.iter().map(|&(name, bytes)| {
        let share = bytes as f64 / all as f64;
        let bar = format!("<span class=\"bar\"><i style=\"width:{:.2}%\"></i></span>", 100.0 * share);
        vec![name.to_string(), bar, format!("{:.1}", bytes as f64 / 1e6), percent(share)]
    });
    let heads = ["Part", "", "MB", "Share"].map(String::from);
    let table = table("Parts of the file", &heads, rows);
    let text = format!(
        "<p>The file has {:.1} MB. A dense token reads the {:.1} MB of linears and the head; sparsity cuts the linears.</p>\n",
        all as f64 / 1e6,
        report.linear_bytes as f64 / 1e6
    );
    section("bytes", "Where the bytes go", &(text + &table.replacen("<table>", "<table class=\"bytes\">", 1)))
}

/// What each setting writes.
pub fn texts(report: &Report) -> String {
    // A text that goes on in a sentence begins with a space.
    let dense = report.settings[0].text.trim_start();
    let cards: String = report
        .settings
        .iter()
        .map(|setting| {
            let text = setting.text.trim_start();
            let common = dense.chars().zip(text.chars()).take_while(|(a, b)| a == b);
            let split: usize = common.map(|(a, _)| a.len_utf8()).sum();
            let (same, own) = text.split_at(if setting.sparsity == 0.0 { 0 } else { split });
            let stop = match setting.stop {
                "end" => "ended by the model",
                "context" => "ended by the context",
                _ => "cut at the length asked for",
            };
            format!(
                "<article><h3>{}</h3>\n<p class=\"text\"><span class=\"same\">{}</span>{}</p>\n<p class=\"stop\">{stop}</p>\
                 </article>\n",
                setting.name(),
                escape(same),
                escape(own)
            )
        })
        .collect();
    let content = format!(
        "<p>Greedy, from one prompt: <q>{}</q> The part that equals the dense text is dimmed.</p>\n\
         <div class=\"texts\">\n{cards}</div>\n",
        escape(&report.prompt)
    );
    section("texts", "What it writes", &content)
}

/// All thresholds, folded away.
pub fn thresholds(report: &Report) -> String {
    if report.levels().next().is_none() {
        return String::new();
    }
    let heads: Vec<String> =
        std::iter::once("Linear".to_string()).chain(report.levels().map(|(_, setting)| setting.name())).collect();
    let rows = report.linears.iter().map(|linear| {
        let name = format!("{}.{}", linear.layer, linear.kind);
        std::iter::once(name).chain(linear.thresholds.iter().map(|t| format!("{t:.5}"))).collect()
    });
    let table = table("Threshold of every linear at every level", &heads, rows);
    let content = format!(
        "<p>A token reads an input channel of a linear if its score, {}, exceeds the threshold.</p>\n\
         <details><summary>{} linears</summary>\n{table}</details>\n",
        escape(&report.score),
        report.linears.len()
    );
    section("thresholds", "Thresholds", &content)
}

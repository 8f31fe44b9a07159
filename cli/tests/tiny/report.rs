//! The report: a page that a strict parser reads, that holds every level, and that no text can break out of.

use super::CHOICES;
use super::support::*;
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The page and the JSON on stdout, of a report with these arguments.
fn report(model: &Path, args: &[&str]) -> (String, Value) {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let mut command = rasp();
    command.arg("report").arg(model).arg("-o").arg(&page).args(["--tokens", "8", "--json"]).args(args);
    let data = json_of(&command.output().unwrap());
    (fs::read_to_string(page).unwrap(), data)
}

fn parse(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..Default::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|e| panic!("{e}: {page}"))
}

fn named<'a, 'p>(page: &'a Document<'p>, tag: &'a str) -> impl Iterator<Item = Node<'a, 'p>> {
    page.descendants().filter(move |node| node.has_tag_name(("http://www.w3.org/1999/xhtml", tag)))
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect()
}

/// The data that lies in the page.
fn embedded(page: &Document<'_>) -> Value {
    let script = named(page, "script").next().unwrap();
    assert_eq!(script.attribute("type"), Some("application/json"));
    serde_json::from_str(&text(script)).unwrap()
}

#[test]
fn a_page_shows_every_setting_and_what_was_measured() {
    let dir = tempfile::tempdir().unwrap();
    let sample = dir.path().join("sample <1>.txt");
    fs::write(&sample, "Eight owls sat on a fence and counted the moon's craters twice. ".repeat(10)).unwrap();
    let task = dir.path().join("own & more.jsonl");
    fs::write(&task, CHOICES).unwrap();
    let args = ["--text", sample.to_str().unwrap(), "--windows", "2", "--task", task.to_str().unwrap()];
    let (page, data) = report(model(), &args);
    let page = parse(&page);
    assert_eq!(embedded(&page), data);
    let settings = data["settings"].as_array().unwrap();
    assert_eq!(settings.iter().map(|s| s["sparsity"].as_f64().unwrap()).collect::<Vec<_>>(), [0.0, 0.3, 0.5]);
    for setting in settings {
        let sparsity = setting["sparsity"].as_f64().unwrap();
        let kept = setting["kept"].as_f64().unwrap();
        assert!(if sparsity == 0.0 { kept == 1.0 } else { (kept - (1.0 - sparsity)).abs() < 0.15 }, "{setting}");
        assert!(setting["perplexity"].as_f64().unwrap() > 1.0 && setting["speed"]["tok_s"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(data["quality"], json!({"text": "sample <1>.txt", "windows": 2, "ctx": CONTEXT}));
    let cells: Vec<_> =
        named(&page, "td").map(|td| (td.attribute("data-label").unwrap_or_default(), text(td))).collect();
    let of = |label: &str| cells.iter().filter(|cell| cell.0 == label).map(|cell| &*cell.1).collect::<Vec<_>>();
    // What each level loses is what `rasp eval ppl` says of it, number for number, and is shown.
    let eval = ["--text", sample.to_str().unwrap(), "--windows", "2", "--ctx", &CONTEXT.to_string(), "--json"];
    let alone = |sparsity| json_of(&run(&["eval", "ppl"], &[&eval[..], &["--sparsity", sparsity]].concat()));
    assert!(settings[0]["sparse"].is_null());
    assert_eq!(settings[0]["perplexity"], alone("0")["ppl"]);
    for (n, sparsity) in [(1, "0.3"), (2, "0.5")] {
        let (alone, sparse) = (alone(sparsity), &settings[n]["sparse"]);
        assert_eq!((sparse, &settings[n]["perplexity"]), (&alone["sparse"], &alone["ppl"]));
        let number = |key: &str| sparse[key].as_f64().unwrap();
        assert_eq!(of("KL divergence")[n], format!("{:.4}", number("kl")));
        assert_eq!(of("Same greedy tokens")[n], format!("{:.1}%", 100.0 * number("same_greedy")));
        assert_eq!(of("Loss")[n], format!("{:+.1}%", 100.0 * number("loss")));
    }
    assert_eq!(of("KL divergence")[0], "–", "dense is not far from itself");
    // Tasks, as `rasp eval tasks` has them.
    let eval = ["--task", task.to_str().unwrap(), "--sparsity", "0,0.3,0.5", "--json"];
    let rows = json_of(&run(&["eval", "tasks"], &eval));
    for (n, setting) in settings.iter().enumerate() {
        let (own, row) = (&setting["tasks"][0], &rows[n]);
        assert_eq!((&own["task"], &own["n"], &own["metric"]), (&json!("own & more"), &json!(3), &row["metric"]));
        assert_eq!((&own["score"]["mean"], &own["score"]["stderr"]), (&row["score"], &row["score_stderr"]));
        match n {
            0 => assert!(own["above_dense"].is_null() && row["above_dense"].is_null()),
            _ => {
                assert_eq!(own["above_dense"], json!({"mean": row["above_dense"], "stderr": row["above_dense_stderr"]}))
            }
        }
    }
    assert_eq!(of("own & more (acc, n 3)").len(), 3);

    // Each setting has a row in the table of levels, a card with its text, and a point in both charts.
    let rows: Vec<_> = named(&page, "th").filter(|th| th.attribute("scope") == Some("row")).map(text).collect();
    let cards: Vec<_> = named(&page, "article").map(text).collect();
    for (n, name) in ["dense", "30%", "50%"].into_iter().enumerate() {
        assert_eq!(rows[n], name);
        assert!(cards[n].starts_with(name), "{}", cards[n]);
        let points = named(&page, "text").filter(|t| t.attribute("class") == Some("name") && text(*t) == name);
        assert_eq!(points.count(), 2, "{name}");
    }
    // What to make of it comes first, and on a narrow screen every number has its heading.
    let verdict: Vec<_> = named(&page, "p").filter(|p| p.attribute("class") == Some("verdict")).map(text).collect();
    assert_eq!(verdict, ["Sessions start dense; the table below shows what each sparsity would give."]);
    assert!(named(&page, "td").any(|td| td.attribute("data-label") == Some("Tokens/s, least–most")));
    // A panel a level, each with all linears; one is shown.
    let maps: Vec<_> = named(&page, "table").filter(|t| t.attribute("class") == Some("grid-map")).collect();
    let cells = |map: &Node<'_, '_>| map.descendants().filter(|n| n.tag_name().name() == "td").count();
    assert_eq!(maps.iter().map(cells).collect::<Vec<_>>(), [14, 14]);
    let checked = named(&page, "input").filter(|input| input.attribute("checked").is_some());
    assert_eq!(checked.count(), 1);
    for svg in named(&page, "svg") {
        let children: Vec<_> = svg.children().map(|n| n.tag_name().name()).filter(|name| !name.is_empty()).collect();
        assert_eq!((svg.attribute("role"), &children[..2]), (Some("img"), &["title", "desc"][..]));
    }
}

#[test]
fn a_page_stands_alone() {
    let (page, _) = report(model(), &["--no-speed"]);
    let parsed = parse(&page);
    for attribute in parsed.descendants().flat_map(|node| node.attributes()) {
        assert!(!["src", "href"].contains(&attribute.name()), "{attribute:?}");
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
    let ids: Vec<_> = parsed.descendants().filter_map(|node| node.attribute("id")).collect();
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    for node in parsed.descendants() {
        for name in ["aria-labelledby", "for"] {
            let targets = node.attribute(name).unwrap_or_default().split_whitespace();
            targets.for_each(|id| assert!(ids.contains(&id), "{name} {id}"));
        }
    }
}

#[test]
fn what_was_not_measured_is_said() {
    let (page, data) = report(model(), &["--no-speed"]);
    let page = parse(&page);
    let body = text(page.root_element());
    assert!(body.contains("No text was given") && body.contains("Speed was not measured"));
    assert!(!body.contains("Your tasks") && data["settings"][1]["tasks"] == json!([]));
    assert!(data["quality"].is_null() && data["settings"][1]["speed"].is_null());
    // The file itself says what its levels lose on calibration text.
    assert!(data["settings"][2]["loss_calibration"].is_number(), "{data}");
    assert_eq!(named(&page, "svg").count(), 1, "quality against traffic");
    let (page, _) = report(model(), &[]);
    assert_eq!(named(&parse(&page), "svg").count(), 2, "and against speed");
}

#[test]
fn texts_from_outside_stay_text() {
    let prompt = "</script><script>alert(1)</script> & \"quoted\" 'text' \u{1b}[31m";
    let (page, data) = report(model(), &["--no-speed", "--prompt", prompt]);
    let parsed = parse(&page);
    assert_eq!(named(&parsed, "script").count(), 1);
    assert_eq!(data["prompt"], prompt);
    assert_eq!(embedded(&parsed)["prompt"], prompt);
    let quoted = text(named(&parsed, "q").next().unwrap());
    assert_eq!(quoted, prompt.replace('\u{1b}', "\u{fffd}"));
}

#[test]
fn a_dense_file_has_a_page_too() {
    let dir = tempfile::tempdir().unwrap();
    let dense = dir.path().join("dense & more.rasp");
    let source = model().parent().unwrap();
    let packed = rasp().args(["pack", "--sparsity", "", "-o"]).arg(&dense).arg(source).output().unwrap();
    assert!(packed.status.success(), "{packed:?}");
    // The nearest to what the checkpoint holds, which is said.
    let said = String::from_utf8(packed.stdout).unwrap();
    assert!(said.contains("holds F32 weights: packed as f16, "), "{said}");
    let (page, data) = report(&dense, &["--no-speed"]);
    let page = parse(&page);
    let body = text(page.root_element());
    assert!(body.contains("This file is dense") && body.contains("Quality was not measured"));
    assert_eq!(named(&page, "svg").count(), 0, "nothing to draw");
    assert_eq!(data["settings"].as_array().unwrap().len(), 1);
}

#[test]
fn wrong_input_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let short = dir.path().join("short.txt");
    fs::write(&short, "a few words").unwrap();
    let report = |args: &[&str]| run(&["report"], &[&["-o", page.to_str().unwrap()], args].concat());
    fails(&report(&["--text", "nowhere.txt", "--no-speed"]), 1, &["nowhere.txt"]);
    fails(&report(&["--text", short.to_str().unwrap(), "--no-speed"]), 1, &["short.txt", "11 tokens", "160"]);
    fails(&report(&["--prompt", "", "--no-speed"]), 1, &["--prompt", "0 tokens"]);
    fails(&report(&["--windows", "0"]), 2, &["--windows"]);
    fails(&report(&["--task", "nowhere.jsonl", "--no-speed"]), 1, &["nowhere.jsonl"]);
    fails(&report(&["--task", short.to_str().unwrap(), "--no-speed"]), 1, &["short.txt, line 1"]);
    fails(&report(&["--threads", "1000"]), 1, &["1000 threads"]);
    assert!(!page.exists());
    let nowhere = dir.path().join("no").join("page.html");
    fails(&run(&["report", "--no-speed", "-o", nowhere.to_str().unwrap()], &[]), 1, &["page.html"]);
    fails(&rasp().args(["report", short.to_str().unwrap()]).output().unwrap(), 1, &["short.txt"]);
}

//! Chat templates.

use crate::Target;
use rasp::text::{ChatTemplate, Message};

/// Input: a template.
pub struct Template;

impl Template {
    pub fn new() -> Template {
        Template
    }
}

impl Target for Template {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let constructs = include_str!("../../templates/constructs.txt");
        let mut seeds: Vec<Vec<u8>> = constructs.split("\n\n").map(|part| part.as_bytes().to_vec()).collect();
        seeds.extend(constructs.lines().filter(|line| line.contains("{")).map(|line| line.as_bytes().to_vec()));
        seeds
    }

    fn run(&mut self, input: &[u8]) {
        let source = String::from_utf8_lossy(input);
        let tokens = [Some("<s>".to_owned()), Some("</s>".to_owned())];
        let [bos, eos] = tokens;
        let template = ChatTemplate::with_tokens(&source, bos, eos).expect("there is memory");
        let messages = [("system", "You \u{e9}"), ("user", "Hi <b>"), ("assistant", "Yo"), ("user", "")];
        let messages = messages.map(|(role, content)| Message::new(role, content));
        let compiled = template.check();
        let rendered = template.render(&messages[..input.len() % 5], input.len() % 2 == 0);
        match (compiled, rendered) {
            (Err(_), Ok(_)) => panic!("it rendered, though it does not compile"),
            (_, Ok(text)) => assert!(text.len() <= (4 << 20) + (1 << 16), "{} bytes", text.len()),
            (_, Err(error)) => assert!(!error.to_string().is_empty()),
        }
    }
}

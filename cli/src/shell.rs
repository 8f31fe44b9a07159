//! `rasp completions` and `rasp man`: what shells and `man` know of the command, made from its own command line.

use crate::Cli;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use rasp::{Error, Result, Status};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Completions {
    /// The shell to write for; `make install` and the packages have put those of bash, zsh and fish in their places
    shell: Shell,
}

#[derive(clap::Args)]
pub struct Pages {
    /// The folder to write them to: rasp.1, and one for each command; it is made if it is not there
    folder: PathBuf,
}

/// The script, on stdout.
pub fn completions(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(), "rasp", &mut script);
    crate::put(&String::from_utf8_lossy(&script))
}

/// A page for the command and for each that is shown of its commands.
pub fn pages(args: &Pages) -> Result<()> {
    let failed = |path: &Path, e: std::io::Error| {
        Error::new(Status::Io, format!("cannot write a manual page to {}: {e}", path.display()))
    };
    fs::create_dir_all(&args.folder).map_err(|e| failed(&args.folder, e))?;
    let mut whole = shown().disable_help_subcommand(true);
    whole.build();
    for command in and_below(&whole) {
        let mut page = Vec::new();
        write_page(command, &whole, &mut page).map_err(|e| failed(&args.folder, e))?;
        let path = args.folder.join(format!("{}.1", page_name(command)));
        fs::write(&path, page).map_err(|e| failed(&path, e))?;
    }
    Ok(())
}

/// The command without what it hides, which the generators of completions would offer.
fn shown() -> Command {
    let whole = Cli::command();
    let mut shown = Command::new("rasp").version(env!("CARGO_PKG_VERSION")).subcommand_required(true);
    if let Some(about) = whole.get_about() {
        shown = shown.about(about.clone());
    }
    shown
        .args(whole.get_arguments().filter(|argument| !argument.is_hide_set()).cloned())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned())
}

/// A command and all commands below it.
fn and_below(command: &Command) -> Vec<&Command> {
    std::iter::once(command).chain(command.get_subcommands().flat_map(and_below)).collect()
}

/// `rasp-eval-ppl` for `rasp eval ppl`.
fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn write_page(command: &Command, whole: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let source = format!("rasp {}", env!("CARGO_PKG_VERSION"));
    // No date, so that the same sources give the same page; an argument that is empty wants its quotes.
    let man = Man::new(command.clone()).title(page_name(command)).date("\"\"").source(source).manual("rasp manual");
    man.render(page)?;
    let mut rest = Roff::new();
    if command.get_name() == whole.get_name() {
        for (heading, entries) in SECTIONS {
            rest.control("SH", [*heading]);
            for (term, words) in *entries {
                rest.control("TP", []);
                rest.text([bold(*term)]);
                rest.text([roman(*words)]);
            }
        }
    }
    rest.control("SH", ["SEE ALSO"]);
    let others = and_below(whole).into_iter().map(page_name).filter(|&name| name != page_name(command));
    let others: Vec<_> = others.flat_map(|name| [roman(", "), bold(name), roman("(1)")]).skip(1).collect();
    rest.text(others);
    rest.to_writer(page)
}

/// What no command line says of itself, on the page of the whole command.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "Success; also where whoever reads the output has closed it."),
            ("1", "An error, which one line on the standard error names."),
            ("2", "A wrong command line."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("XDG_CACHE_HOME", "Where checkpoints are packed to that are given in place of a packed model, in rasp/."),
            ("RASP_API_KEY", "The key that clients of rasp serve have to send, in place of --api-key."),
            ("RASP_ISA", "The instruction set to compute with, in place of the best of this processor."),
        ],
    ),
    ("FILES", &[("~/.cache/rasp/", "Packed checkpoints. Whatever is in it may be removed: it is packed anew.")]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn completions_have_what_is_shown_and_nothing_else() {
        for &shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut shown(), "rasp", &mut script);
            let script = String::from_utf8(script).expect("a script is text");
            for command in Cli::command().get_subcommands() {
                let name = command.get_name();
                // As a word of its own: "man" is in "command".
                let words = script.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
                assert_eq!(words.into_iter().any(|word| word == name), !command.is_hide_set(), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a/b");
        pages(&Pages { folder: target.clone() }).unwrap();
        let names = |path: &Path| -> Vec<String> {
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let found = names(&target);
        let mut whole = shown().disable_help_subcommand(true);
        whole.build();
        assert_eq!(found.len(), and_below(&whole).len(), "{found:?}");
        for name in ["rasp.1", "rasp-pack.1", "rasp-eval.1", "rasp-eval-ppl.1", "rasp-completions.1"] {
            assert!(found.iter().any(|file| file == name), "{name} in {found:?}");
        }
        assert!(!found.iter().any(|file| file == "rasp-man.1"), "{found:?}");
        let page = fs::read_to_string(target.join("rasp.1")).unwrap();
        assert!(page.contains("EXIT STATUS") && page.contains("rasp\\-eval\\-ppl"), "{page}");
        let title = concat!(".TH rasp 1 \"\" \"rasp ", env!("CARGO_PKG_VERSION"), "\" \"rasp manual\"\n");
        assert!(page.contains(title), "{page}");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = pages(&Pages { folder: file.path().join("man") }).unwrap_err();
        assert!(error.message().contains(file.path().to_str().unwrap()), "{error}");
    }
}

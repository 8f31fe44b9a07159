#!/usr/bin/env python3
"""The book's pages: links and anchors, and the snippets that say they run.

    check.py links            of docs/ and README.md, files and headings; every page is in docs/SUMMARY.md
    check.py built FOLDER     the same of the HTML in it
    check.py snippets         compile and run those marked
    check.py programs FOLDER  write the programs of docs/bindings.md to files there: python-1.py, js-1.mjs, …

A block that begins ```c,program or ```cpp,program is a whole program: it is compiled with every warning an error,
run, and has to print something. So has one that begins ```python,program. One that begins ```sh,run is run line by
line (what ends in a backslash goes on). All find `rasp` of target/release, and in their folder model.rasp,
smollm2.rasp, MODEL.gguf, text.txt and my-lora, an adapter of PEFT's. Programs of other languages stand in
docs/bindings.md alone: tests/bindings/run.sh runs them.
"""

import html.parser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "trust"))
from checkpoint import adapter  # noqa: E402

DOCS = ROOT / "docs"
BINDINGS = DOCS / "bindings.md"
MODELS = ROOT / "target" / "models"
FENCE = re.compile(r"^(```+)(.*?)\n(.*?)^\1[ \t]*$", re.M | re.S)
# A language, and the ending of its programs.
LANGUAGES = {"c": "c", "cpp": "cpp", "python": "py", "js": "mjs", "lua": "lua", "go": "go", "csharp": "cs",
             "java": "java", "zig": "zig"}
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def sources():
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def slug(heading):
    """The id that mdBook and GitHub give a heading."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "").strip().lower()
    return "".join("-" if c.isspace() else c for c in heading if c.isalnum() or c in "-_ ")


def anchors(file):
    if file.suffix != ".md":
        return {f"L{n + 1}" for n in range(file.read_text().count("\n"))}
    found = {}
    for heading in re.findall(r"^#{1,6} +(.*?)#*$", FENCE.sub("", file.read_text()), re.M):
        name = slug(heading)
        found[name] = found.get(name, -1) + 1
    return {name if n == 0 else f"{name}-{n}" for name, last in found.items() for n in range(last + 1)}


def links():
    wrong = []
    for page in sources():
        text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / unquote(path)).resolve() if path else page
            if not file.exists() or not file.is_relative_to(ROOT):
                wrong.append(f"{page.relative_to(ROOT)}: {target}: there is no such file")
            elif anchor and anchor not in anchors(file):
                wrong.append(f"{page.relative_to(ROOT)}: {target}: there is no such heading or line")
    summary = (DOCS / "SUMMARY.md").read_text()
    listed = {(DOCS / target).resolve() for target in LINK.findall(summary)}
    for page in DOCS.rglob("*.md"):
        if page.name != "SUMMARY.md" and page not in listed:
            wrong.append(f"{page.relative_to(ROOT)} is not in docs/SUMMARY.md")
    return wrong


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.targets += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def built(folder):
    pages = {file.resolve(): Page(file.read_text()) for file in folder.rglob("*.html")}
    if not pages:
        sys.exit(f"check.py: no HTML in {folder}")
    wrong = []
    for file, page in pages.items():
        # mdBook's own page for what is not found has links from the root of a site.
        for target in page.targets if file.name != "404.html" else []:
            if re.match(r"[a-z]+:|//", target):
                continue
            path, _, anchor = target.partition("#")
            to = (file.parent / unquote(path.partition("?")[0])).resolve() if path else file
            if not to.exists():
                wrong.append(f"{file.name}: {target}: there is no such file")
            elif anchor and to in pages and unquote(anchor) not in pages[to].ids:
                wrong.append(f"{file.name}: {target}: there is no such heading")
    return wrong


def call(command, where, **more):
    environment = dict(os.environ, PATH=f"{ROOT / 'target/release'}:{os.environ['PATH']}",
                       LD_LIBRARY_PATH=str(ROOT / "target/release"), XDG_CACHE_HOME=str(where / "cache"),
                       PYTHONPATH=str(ROOT / "bindings/python/src"), PYTHONDONTWRITEBYTECODE="1",
                       RASP_LIBRARY=str(ROOT / "target/release/librasp.so"))
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, timeout=120, **more)


def program(language, text, where):
    """Compiles it, if it has to be, and runs it: what came of that, or of the compiler."""
    file = f"snippet.{LANGUAGES[language]}"
    (where / file).write_text(text)
    if language == "python":
        return call([sys.executable, file], where)
    name, default, standard = ("CC", "cc", "c11") if language == "c" else ("CXX", "c++", "c++17")
    done = call([os.environ.get(name, default), f"-std={standard}", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic",
                 f"-I{ROOT / 'include'}", file, "-o", "snippet", f"-L{ROOT / 'target/release'}", "-lrasp"], where)
    return done if done.returncode else call(["./snippet"], where)


def snippets():
    gguf, packed = MODELS / "SmolLM2-135M-Instruct.Q4_1.gguf", MODELS / "smollm2-q4.rasp"
    for needed in (gguf, packed, ROOT / "target/release/rasp", ROOT / "target/release/librasp.so"):
        if not needed.exists():
            sys.exit(f"check.py: {needed.relative_to(ROOT)} is missing: make release models")
    where = ROOT / "target" / "docs-snippets"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    for name, file in {"model.rasp": packed, "smollm2.rasp": packed, "MODEL.gguf": gguf}.items():
        (where / name).symlink_to(file.resolve())
    adapter(where / "my-lora", layers=30, hidden=576, inner=1536)
    (where / "text.txt").write_text((DOCS / "embedding.md").read_text())
    wrong, programs, lines = [], 0, 0
    for page in sources():
        for _, kind, body in FENCE.findall(page.read_text()):
            name = page.relative_to(ROOT)
            language = kind.removesuffix(",program") if kind.endswith(",program") else None
            if language in ("c", "cpp", "python"):
                programs += 1
                done = program(language, body, where)
                if done.returncode or not done.stdout.strip():
                    wrong.append(f"{name}: a program fails, or prints nothing: {done.stderr}")
            elif language in LANGUAGES and page == BINDINGS:
                pass
            elif kind == "sh,run":
                for line in body.replace("\\\n", " ").splitlines():
                    if not line.strip() or line.startswith("#"):
                        continue
                    lines += 1
                    done = call(["bash", "-ec", line], where)
                    if done.returncode:
                        wrong.append(f"{name}: {line}\n    {done.stderr.strip()}")
            elif re.search(r"\b(run|program)\b", kind):
                wrong.append(f"{name}: a block marked {kind!r}, which nothing runs")
    if not programs or not lines:
        wrong.append("no program, or no command, is marked to be run")
    print(f"{programs} programs compiled and run, {lines} commands run")
    return wrong


def write_programs(folder):
    counts = dict.fromkeys(LANGUAGES, 0)
    folder.mkdir(parents=True, exist_ok=True)
    for _, kind, body in FENCE.findall(BINDINGS.read_text()):
        language, _, mark = kind.partition(",")
        if mark == "program":
            counts[language] += 1
            (folder / f"{language}-{counts[language]}.{LANGUAGES[language]}").write_text(body)
    return [f"{BINDINGS.name} has no program in {name}" for name, n in counts.items() if not n and name != "c"]


def main():
    arguments = sys.argv[1:]
    if arguments == ["links"]:
        wrong = links()
    elif arguments[:1] == ["built"] and len(arguments) == 2:
        wrong = built(Path(arguments[1]))
    elif arguments[:1] == ["programs"] and len(arguments) == 2:
        wrong = write_programs(Path(arguments[1]))
    elif arguments == ["snippets"]:
        wrong = snippets()
    else:
        sys.exit(__doc__)
    if wrong:
        sys.exit("\n".join(wrong))


main()

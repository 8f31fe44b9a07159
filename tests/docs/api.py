#!/usr/bin/env python3
"""The reference of include/rasp.h for the book, docs/api/: a page a noun, a line a function.

    api.py            write the pages
    api.py --check    fail if a page is not what the header says

A function that no page names, or a name that the header does not have, is an error.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "rasp.h"
PAGES = ROOT / "docs" / "api"

# Page: title, what it is for, functions in the order in which a host meets them.
NOUNS = {
    "model": ("Model", "A loaded `.rasp` file. Safe from any thread; share one among sessions.", """
        rasp_load_options_init rasp_load_options_init_2 rasp_load rasp_load_bytes rasp_load_fd rasp_model_retain
        rasp_free rasp_model_info_init rasp_model_get_info"""),
    "text": ("Tokens and text", "Text to token ids and back, and whole characters while tokens arrive.", """
        rasp_tokenize rasp_detokenize rasp_token_bytes rasp_token_is_end rasp_token_is_special rasp_text_stream_push"""),
    "session": ("Session", "One text under way: its tokens, keys and values, and memory. One thread at a time.", """
        rasp_session_options_init rasp_session_options_init_2 rasp_session_plan rasp_memory_plan_init
        rasp_session_open rasp_session_close rasp_session_reset rasp_session_tokens rasp_prefill rasp_step
        rasp_step_batch rasp_decode rasp_session_set_sparsity rasp_session_set_drafts rasp_cancel"""),
    "sampler": ("Sampler and logits", "How the next token is chosen, and the numbers it is chosen from.", """
        rasp_sampling_init rasp_sampling_init_2 rasp_session_set_sampling rasp_session_set_logit_bias
        rasp_session_set_logits_callback rasp_log_probs rasp_logits rasp_embed"""),
    "chat": ("Chat and answers", "Messages in the model's own format, and answers as text with stop strings.", """
        rasp_chat_options_init rasp_chat_prefill rasp_chat_prefill_begin
        rasp_chat_tokenize rasp_chat_text rasp_chat_format
        rasp_session_set_stop rasp_step_text rasp_step_text_within rasp_finish_text"""),
    "reply": ("Replies and tools", "Answers told apart: text, reasoning and calls of tools, in the model's own format.",
              """
        rasp_reply_new rasp_reply_push rasp_reply_push_token rasp_reply_next rasp_reply_finish rasp_reply_message
        rasp_reply_free"""),
    "constraint": ("Constraint", "Answers that obey a JSON schema, an expression, a grammar or tools. "
                   "A lean library is without them.", """
        rasp_constraint_new rasp_constraint_free rasp_session_set_constraint"""),
    "adapter": ("Adapter", "LoRA adapters: a session's own, several at once, changed between any two tokens.", """
        rasp_adapter_load rasp_adapter_load_bytes rasp_adapter_load_fd rasp_adapter_free rasp_adapter_info_init
        rasp_adapter_get_info rasp_session_set_adapters"""),
    "state": ("State", "Take back, branch, make room, save and go on later.", """
        rasp_session_rewind rasp_session_fork rasp_session_shift rasp_session_save rasp_session_restore"""),
    "budget": ("Time budget", "Work that stops after so many nanoseconds, and tokens that keep a deadline.", """
        rasp_prefill_begin rasp_prefill_within rasp_step_within rasp_session_set_deadline"""),
    "status": ("Status, statistics, version", "What went wrong, what was read, and which library this is.", """
        rasp_status_name rasp_stats_init rasp_stats_init_2 rasp_stats_init_3 rasp_session_get_stats
        rasp_session_clear_stats rasp_version rasp_abi_version"""),
}

FUNCTION = re.compile(r"^((?://[^\n]*\n)+)([A-Za-z][\w ]*[ *]+)(rasp_\w+)\(([^;]*)\);", re.M)


def functions():
    """Name: (line, declaration, first sentence, the sentences on errors)."""
    header = HEADER.read_text()
    found = {}
    for match in FUNCTION.finditer(header):
        comment, result, name, parameters = match.groups()
        words = " ".join(re.sub(r"^// ?", "", line) for line in comment.splitlines())
        first = re.split(r"(?<=[a-z0-9)])[.:;] +(?=[A-Z0-9a-z])", words, maxsplit=1)[0].rstrip(".:;")
        if len(first) < 20:  # "Deadline mode: …"
            first = re.split(r"(?<=[a-z0-9)])\. ", words, maxsplit=1)[0]
        line = header.count("\n", 0, match.start(3)) + 1
        declaration = re.sub(r"\s+", " ", f"{result.strip()} {name}({parameters})").replace("* ", "*")
        if len(declaration) > 100:
            declaration = declaration.replace("(", "(\n    ", 1).replace(", ", ",\n    ")
        found[name] = (line, declaration, first)
    # What the compiler sees and the expression does not would be left out without a word.
    plain = re.sub(r"//[^\n]*|/\*.*?\*/", "", header, flags=re.S)
    declared = set(re.findall(r"\b(rasp_\w+)\([^;{}]*\);", plain))
    if declared != set(found):
        sys.exit(f"api.py: in rasp.h, but not understood (has it words?): {sorted(declared ^ set(found))}")
    return found


def escape(text):
    text = re.sub(r"([*<>|])", r"\\\1", text)
    return re.sub(r"\brasp_\w+", lambda name: f"`{name[0]}`", text)


def pages():
    known = functions()
    named = [name for _, _, names in NOUNS.values() for name in names.split()]
    if sorted(named) != sorted(known):
        wrong = sorted(set(named) ^ set(known)) or sorted(n for n in set(named) if named.count(n) > 1)
        sys.exit(f"api.py: put these on one page each, in NOUNS: {wrong}")
    out = {"README.md": "# The C API\n\nThe functions of [rasp.h](../../include/rasp.h), a page a noun. What a call "
           "needs, gives and fails\nwith stands above it in the header; the links go there. `make reference` makes all "
           "of it as HTML.\n\n| page | what | functions |\n| --- | --- | ---: |\n"
           + "".join(f"| [{title}]({page}.md) | {what} | {len(names.split())} |\n"
                     for page, (title, what, names) in NOUNS.items())
           + "\nEvery call that can fail returns a `rasp_status`: zero and above is success, below zero an error, with "
           "words in the\n`rasp_error` you pass. Structs that you fill in are prepared by their `_init` first.\n"}
    for page, (title, what, names) in NOUNS.items():
        text = f"# {title}\n\n{what}\n\n| function | what |\n| --- | --- |\n"
        for name in names.split():
            line, _, first = known[name]
            text += f"| [`{name}`](../../include/rasp.h#L{line}) | {escape(first)} |\n"
        text += "\n```c\n" + "\n".join(known[name][1] + ";" for name in names.split()) + "\n```\n"
        out[f"{page}.md"] = text
    return out


def main():
    wanted = pages()
    if sys.argv[1:] == ["--check"]:
        have = {file.name: file.read_text() for file in PAGES.glob("*.md")}
        stale = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
        if stale:
            sys.exit(f"api.py: docs/api/ is not what include/rasp.h says ({', '.join(stale)}): run tests/docs/api.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        PAGES.mkdir(exist_ok=True)
        for name, text in wanted.items():
            (PAGES / name).write_text(text)


main()

"""A section of a page that a script makes: from a mark, such as <!-- figures -->, to <!-- end -->."""

import re
import sys


def with_section(page, mark, made):
    """The page's text with `made` in its only section of that mark."""
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(\n<!-- end -->)", re.S)
    text = page.read_text()
    if len(pattern.findall(text)) != 1:
        sys.exit(f"{page} needs one section <!-- {mark} --> … <!-- end -->")
    return pattern.sub(lambda match: match[1] + made.rstrip("\n") + match[2], text)


def settle(page, wanted, arguments, stale, usage):
    """Writes the page; with `--check` fails with the words `stale` if it is another. Other arguments have `usage`."""
    if arguments == ["--check"]:
        if wanted != page.read_text():
            sys.exit(stale)
    elif arguments:
        sys.exit(usage)
    else:
        page.write_text(wanted)

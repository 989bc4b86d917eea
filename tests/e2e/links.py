#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""links.py TOP: prints the links of the project's pages that lead nowhere, to
a file that is not there or to a heading that its page does not have."""

import pathlib
import re
import sys

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def text_of(page):
    """Without its blocks of code, which have no links and no headings."""
    return re.sub(r"(?ms)^(```+).*?^\1$", "", page.read_text("utf-8"))


def anchors(page):
    """As GitHub and its like make them."""
    for heading in re.findall(r"(?m)^#+ (.*)$", text_of(page)):
        words = re.sub(r"[^\w\s-]", "", LINK.sub("", heading).lower())
        yield words.strip().replace(" ", "-")


def broken(top):
    for page in sorted([*top.glob("*.md"), *top.glob("[!b]*/*.md"),
                        *top.glob("bench/*.md")]):    # not below build*
        for link in LINK.findall(text_of(page)):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if "://" in link or link.startswith("mailto:"):
                continue
            if not target.exists():
                yield f"{page.relative_to(top)}: no file {link}"
            elif anchor and anchor not in anchors(target):
                yield f"{page.relative_to(top)}: no heading {link}"


def main():
    found = list(broken(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

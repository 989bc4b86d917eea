#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""manual.py WHAT FILE: what a manual page, the output of --help, or a source
says, one line an item, so that two of them can be compared.

  page-options page-commands page-variables page-keys page-synopsis
  help-options help-commands help-variables help-synopsis
  source-keys
"""

import html
import re
import subprocess
import sys


def plain(text):
    """Of a piece of HTML; white space is one space, and none is at a '|'."""
    text = html.unescape(re.sub(r"<[^>]*>", "", text))
    return re.sub(r" ?\| ?", "|", " ".join(text.split()))


def section(page, name):
    """The HTML of one, or nothing."""
    whole = subprocess.run(("mandoc", "-T", "html", page), check=True,
                           stdout=subprocess.PIPE, encoding="utf-8").stdout
    found = re.search(rf'<h1 class="Sh" id="{name}">.*?</section>', whole, re.S)
    return found[0] if found else ""


def items(page, name):
    """Pairs of a list's tag and text."""
    return [(plain(tag), plain(text)) for tag, text in re.findall(
        r"<dt[^>]*>(.*?)</dt>\s*<dd[^>]*>(.*?)</dd>", section(page, name),
        re.S)]


def option_line(head, default):
    return f"{head.lower()}\t{default}"


def page_options(page):
    for head, text in items(page, "OPTIONS"):
        said = re.findall(r"The default is (.*?)\.(?: |$)", text)
        yield option_line(head, *(said or ["-"]))


def page_commands(page):
    for head, _ in items(page, "COMMANDS"):
        yield head.lower()


def page_variables(page):
    for name, option in re.findall(
            r"<tr[^>]*>\s*<td>(.*?)</td>\s*<td>(.*?)</td>",
            section(page, "ENVIRONMENT"), re.S):
        yield f"{plain(name)} {plain(option)}"


def page_keys(page):
    for head, _ in items(page, "KEYS"):
        yield head.partition(":")[0]


def page_synopsis(page):
    """Each way to call it, less the program's name."""
    for row in re.findall(r"<tr>\s*<td>.*?</td>\s*<td>(.*?)</td>",
                          section(page, "SYNOPSIS"), re.S):
        yield plain(row).lower()


def help_parts(path):
    """The lines of commands, and of options; the latter's text is behind."""
    with open(path, encoding="utf-8") as lines:
        text = lines.read()
    head, _, options = text.partition("\nOptions")
    commands = head.partition("\nCommands:\n")[2]
    # An item begins two spaces in; its text eight; what goes on, six.
    commands = re.findall(r"(?m)^  (\S.*(?:\n {6}\S.*)*)", commands)
    options = re.findall(r"(?m)^  (--\S.*)(?:\n {8}(\S.*))?$", options)
    return text, [" ".join(each.split()) for each in commands], options


def help_options(path):
    for head, text in help_parts(path)[2]:
        said = re.search(r"\(([^()]*)\)$", text)
        yield option_line(head, said[1] if said else "-")


def help_commands(path):
    for head in help_parts(path)[1]:
        yield plain(head).lower()


def help_variables(path):
    """All options have one, or those that are named."""
    text, _, options = help_parts(path)
    prefix = re.search(r"\b([A-Z]+_[A-Z]+_)TICKET_DIR", text)[1]
    named = re.findall(rf"\b{prefix}[A-Z_]+", text)
    for head, _ in options:
        option = head.partition(" ")[0]
        name = prefix + option.strip("-").upper().replace("-", "_")
        if option not in ("--help", "--version") and (
                "each also as a variable" in text or name in named):
            yield f"{name} {option}"


def help_synopsis(path):
    _, commands, options = help_parts(path)
    for command in commands:
        yield plain(f"[options] {command}").lower()
    if not commands:
        yield " ".join(f"[{head}]" for head, text in options if text).lower()
    yield "--help|--version"


def source_keys(path):
    with open(path, encoding="utf-8") as source:
        text = source.read()
    yield from re.findall(r'\{"(\w+)", offsetof\(struct ticket\b', text)
    yield from sorted(set(re.findall(r'json_\w+\(object, "(\w+)"', text)))


def main():
    _, what, path = sys.argv
    for line in sorted(globals()[what.replace("-", "_")](path)):
        print(line)


if __name__ == "__main__":
    main()

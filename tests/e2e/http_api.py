#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""http_api.py WHAT PAGE [MORE]: docs/http-api.md, as tests see it.

  servers PAGE          the options of the servers that its commands want, a
                        line each; the first is empty
  script PAGE OPTIONS   the commands for that server, as a script for bash
                        that calls `check LINE STATUS` after each one
  tests PAGE            what is wrong with the tests that its headings name
  source PAGE SRC       where it and the source differ

The commands are those of its blocks "sh": one a line, or several lines that
end with a backslash. A comment at the end, "# 206", is the expected status,
and what stands behind that, as comments that follow, headers and the body of
the answer ("…" is anything), which check reads from its standard input. A
block that begins with "# first" comes before all others; one that begins with
"# server: --option ..." is for a server with these options.
"""

import pathlib
import re
import sys

FENCE = re.compile(r"^```(\w*)$")
EXPECTED = re.compile(r"\s# ([1-5]\d\d)(?: (.*))?$")


def blocks(page):
    """Pairs of a line's number and all lines of a block of commands."""
    block = None
    for number, line in enumerate(page.read_text("utf-8").split("\n"), 1):
        fence = FENCE.match(line)
        if fence and block is None:
            block = (fence[1], number + 1, [])
        elif fence:
            if block[0] == "sh":
                yield block[1:]
            block = None
        elif block:
            block[2].append(line)


def server_of(lines):
    """None: every server."""
    if lines[0].startswith("# first"):
        return None
    return (re.match(r"# server: (.*)", lines[0]) or ("", ""))[1]


def servers(page):
    wanted = {server_of(lines) for _, lines in blocks(page)} - {None}
    yield from sorted(wanted | {""})


def commands(number, lines):
    """Line, text, status and what else is expected, of each command."""
    at = 0
    while at < len(lines):
        start = at
        while lines[at].endswith("\\"):
            at += 1
        text = "\n".join(lines[start:at + 1])
        at += 1
        expected = EXPECTED.search(text)
        more = [expected[2]] if expected and expected[2] else []
        while expected and at < len(lines) and lines[at].startswith("# "):
            more.append(lines[at][2:])
            at += 1
        yield number + start, text, expected and expected[1], more


def script(page, options):
    first = [each for each in blocks(page) if server_of(each[1]) is None]
    rest = [each for each in blocks(page) if server_of(each[1]) == options]
    for number, lines in first + rest:
        for line, text, status, more in commands(number, lines):
            yield text
            if status:
                yield f"check {line} {status} <<'END OF ANSWER'"
                yield from more
                yield "END OF ANSWER"
            elif re.search(r"\bcurl\b(?!.*&$)", text) and text[0] != "#":
                yield f"echo '{page.name}:{line}: no status' >&2; exit 1"


def names_of(path):
    """The names of a file's tests."""
    return re.findall(r'(?m)^@test "(.*)" \{$', path.read_text("utf-8"))


def tests(page):
    text = page.read_text("utf-8")
    text = re.sub(r"(?ms)^```.*?^```$", "", text)
    for heading, below in re.findall(r"(?m)^##+ (.*)\n\n((?:.+\n)*)", text):
        named = re.findall(r"\[[^]]*\]\((\S+?\.bats)\)((?:[^[])*)",
                           " ".join(below.split()))
        if not below.startswith("*Shown by* ") or not named:
            yield f"{heading}: names no test"
        for link, names in named:
            path = page.parent / link
            if not path.exists():
                yield f"{heading}: {link} is not there"
                continue
            for name in re.findall(r'"(.*?)"', names):
                if name not in names_of(path):
                    yield f'{heading}: {link} has no test "{name}"'


def column(text, heading):
    """The code of the first two columns of a section's tables."""
    section = re.search(rf"(?ms)^## {heading}\n(.*?)(?=^## |\Z)", text)[1]
    for row in re.findall(r"(?m)^\|([^|]*)\|([^|]*)\|", section):
        yield [re.findall(r"`([^`]*)`", cell) for cell in row]


def differ(what, page, source):
    """Either way."""
    for each in sorted(source - page):
        yield f"{what}: the page has no {each}"
    for each in sorted(page - source):
        yield f"{what}: the source has no {each}"


def source_routes(src):
    for method, resource, flag in re.findall(
            r'(?m)^    \{"([A-Z]+)", (?:NULL|"(\w+)"), (\w+)',
            (src / "server/route.c").read_text("utf-8")):
        yield (f"{method} " + "/images/{id}" * (flag == "ROUTE_IMAGE") +
               f"/{resource}" * (resource != ""))


def shown_routes(page):
    """Those that its commands go to."""
    for number, lines in blocks(page):
        for _, text, status, _ in commands(number, lines):
            place = re.search(r'\$(url|server)(/[^\s"?]*)', text)
            if not status or not place:
                continue
            method = re.search(r"-X ([A-Z]+)", text)
            for option, usual in ((" -I ", "HEAD"), (" -T ", "PUT"),
                                  (" -d ", "POST"), ("", "GET")):
                if not method and option in text:
                    method = ("", usual)
            path = re.sub("^/[^/]+", "/images/{id}", place[2]) \
                if place[1] == "url" else place[2]
            yield f"{method[1]} {path}"


def source(page, src):
    text = page.read_text("utf-8")
    src = pathlib.Path(src)
    response = (src / "http/response.c").read_text("utf-8")
    request = (src / "http/request.c").read_text("utf-8")

    routes = {f"{method} {path}" for methods, paths in column(text, "Routes")
              for path in paths for method in methods if method.isupper()}
    yield from differ("route", routes - {"OPTIONS /images/*"},
                      set(source_routes(src)))

    for each in sorted(set(source_routes(src)) - set(shown_routes(page))):
        yield f"route: no command goes to {each}"

    known = set(re.findall(r'(?m)^    \{(\d\d\d), "', response))
    rows = set(re.findall(r"(?m)^\| (\d\d\d) \|", text))
    yield from differ("status", rows, known)
    shown = {status for number, lines in blocks(page)
             for _, _, status, _ in commands(number, lines) if status}
    yield from differ("command with status", shown, known)

    known = set(re.findall(r'"([A-Z][A-Za-z-]+): ', "".join(
        each.read_text("utf-8") for each in src.glob("server/handle_*.c")) +
        response)) - {"Status"}
    names = {name for names, _ in column(text, "Headers of an answer")
             for name in names}
    yield from differ("header of an answer", names, known)
    known = set(re.findall(r'"(imageio_\w+)"', (
        src / "server/handle_metrics.c").read_text("utf-8")))
    names = {name for names, _ in column(text, "Numbers") for name in names
             if name.startswith("imageio_")}
    yield from differ("metric", names, known)

    known = {re.sub("^HTTP_", "", name).replace("_", "-").title()
             for name in
             re.findall(r'"(HTTP_[A-Z_]+|CONTENT_[A-Z]+)"', request)}
    names = {name for names, _ in column(text, "Headers of a request")
             for name in names}
    yield from differ("header of a request", names, known)


def main():
    what, page, *more = sys.argv[1:]
    found = 0
    for line in globals()[what](pathlib.Path(page), *more):
        print(line)
        found = 1
    return found if what in ("tests", "source") else 0


if __name__ == "__main__":
    sys.exit(main())

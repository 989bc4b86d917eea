# SPDX-License-Identifier: Apache-2.0
"""A row of the table, the table, and the JSON."""

import dataclasses
import os
import pathlib
import platform
import re
import statistics
import subprocess

from chain import TOP, environment

FORMAT = ("{:<20} {:<8} {:>9} {:>9} {:>6} {:>11}  {:<6} {:>8} {:<3}  {}")
HEAD = FORMAT.format("row", "web", "ours", "reference", "ratio", "spread",
                     "unit", "goal", "met", "reference is")

# What each program says of itself; nginx says it on stderr.
VERSIONS = {
    "nginx": "-v", "lighttpd": "-v", "qemu-nbd": "--version",
    "nbdcopy": "--version", "nbdinfo": "--version", "curl": "--version",
    "wrk": "-v", "spawn-fcgi": "-v", "cp": "--version",
}


@dataclasses.dataclass
class Row:
    """Samples of one measurement: ours, and those of the reference that were
    taken in turn with them. The ratio is above 1 where ours is better."""
    name: str
    web: str
    unit: str
    ours: list
    reference: list = None
    against: str = ""
    less_is_better: bool = False
    goal: tuple = None      # ("ratio", at least) or ("ours", at most)

    def quotient(self, ours, reference):
        if self.less_is_better:
            ours, reference = reference, ours
        return ours / reference if reference else float("inf")

    @property
    def ratio(self):
        if self.reference:
            return self.quotient(statistics.median(self.ours),
                                 statistics.median(self.reference))
        return None

    @property
    def spread(self):
        """The least and the greatest ratio of a pair."""
        if self.reference:
            ratios = list(map(self.quotient, self.ours, self.reference))
            return min(ratios), max(ratios)
        return None

    @property
    def met(self):
        if not self.goal:
            return None
        kind, limit = self.goal
        if kind == "ratio":
            return self.ratio >= limit
        return statistics.median(self.ours) <= limit

    def line(self):
        goal, spread = "", ""
        if self.goal:
            sign = {"ratio": ">=", "ours": "<="}[self.goal[0]]
            goal = f"{sign} {self.goal[1]:.2f}"
        if self.reference:
            spread = "{:.2f}-{:.2f}".format(*self.spread)
        return FORMAT.format(
            self.name, self.web, number(statistics.median(self.ours)),
            number(statistics.median(self.reference))
            if self.reference else "-",
            f"{self.ratio:.2f}" if self.reference else "-", spread or "-",
            self.unit, goal or "-",
            {None: "-", True: "yes", False: "NO"}[self.met],
            self.against).rstrip()

    def json(self):
        return {
            "row": self.name, "web": self.web, "unit": self.unit,
            "ours": summary(self.ours),
            "reference": summary(self.reference) if self.reference else None,
            "reference_is": self.against,
            "less_is_better": self.less_is_better,
            "ratio": self.ratio, "spread": self.spread,
            "goal": self.goal, "met": self.met,
        }


def number(value):
    """About three digits of it."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 3}f}"


def summary(samples):
    return {"min": min(samples), "median": statistics.median(samples),
            "max": max(samples), "samples": samples}


def first_line(*argv):
    run = subprocess.run(argv, capture_output=True, text=True, check=False,
                         env=environment())
    return (run.stdout + run.stderr).partition("\n")[0]


def machine():
    cpus = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"(?m)^model name\s*: (.*)", cpus)
    memory = pathlib.Path("/proc/meminfo").read_text()
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "memory_mib": int(re.search(r"MemTotal:\s+(\d+)", memory)[1]) >> 10,
    }


def versions(program):
    said = {name: first_line(name, option)
            for name, option in VERSIONS.items()}
    commit = first_line("git", "-C", str(TOP), "describe", "--always",
                        "--dirty")
    return {"program": first_line(program, "--version"), "commit": commit,
            **said}

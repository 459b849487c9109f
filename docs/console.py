"""Run the commands of a page of docs, so that what it shows is what they say.

A page's blocks of ``console`` hold lines that begin with ``$`` and, below each, its output; a line ``...`` stands
for any number of lines. ``python docs/console.py docs/PAGE.md`` writes the outputs anew, where they have no ``...``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)
ANYTHING = "..."


@dataclass(frozen=True)
class Step:
    """A command, and the output that the page shows."""

    command: str
    shown: str


def read_steps(block: str) -> list[Step]:
    """Split a block into its commands."""
    steps: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], ""))
        else:
            steps[-1] = Step(steps[-1].command, f"{steps[-1].shown}{line}\n")
    return steps


def run_step(command: str, folder: Path) -> str:
    """Run a command as a reader would, in one folder for the whole page; give what the terminal shows."""
    here = Path(sys.executable).parent
    kept = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
    environment = {**kept, "PATH": f"{here}:/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "100", "LC_ALL": "C.UTF-8"}
    shell = ["/bin/bash", "-c", command]
    done = subprocess.run(  # noqa: S603 (the pages are ours)
        shell, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def fits(shown: str, said: str) -> bool:
    """Say whether an output is what the page shows; ``...`` alone on a line fits anything."""
    parts = [re.escape(line) if line.strip() != ANYTHING else r"(?:.*\n)*?" for line in shown.splitlines(keepends=True)]
    return re.fullmatch("".join(parts), said) is not None


def run_page(text: str, folder: Path) -> Iterator[tuple[Step, str]]:
    """Run all commands of a page in order; give each with its output."""
    for found in BLOCK.finditer(text):
        for step in read_steps(found[2]):
            yield step, run_step(step.command, folder)


def renew(text: str, folder: Path) -> str:
    """Give the page with the outputs of today."""

    def write(found: re.Match[str]) -> str:
        lines = []
        for step in read_steps(found[2]):
            said = run_step(step.command, folder)
            kept = ANYTHING in step.shown.splitlines()
            lines.append(f"$ {step.command}\n{step.shown if kept else said}")
        return f"{found[1]}{''.join(lines)}{found[3]}"

    return BLOCK.sub(write, text)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as place:
        page.write_text(renew(page.read_text(encoding="utf-8"), Path(place)), encoding="utf-8")

"""``acsrecipe log``: what a run did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acsrecipe.cli.terminal import stdout, write
from acsrecipe.errors import UsageError


def log(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", metavar="RUN", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="The events as they are, one JSON object a line.")] = False,
) -> None:
    """Show what a run did: every task with its time, its inputs and outputs, its changes. Checks the log's chain.

    Example: `acsrecipe log demo/run`
    """
    from acsrecipe.run.journal import read_journal

    path = run / "provenance.jsonl" if run.is_dir() else run
    if not path.is_file():
        msg = "there is no log"
        raise UsageError(msg, where=str(path), hint="name the folder given to `run --output`")
    events = read_journal(path)
    if as_json:
        write(path.read_text(encoding="utf-8"))
        return
    from acsrecipe.record.show import render_log

    stdout().print(render_log(events))

"""A run's log as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from acsrecipe.run.journal import Event

SHORT = 12
"""Letters of a sha256 that are shown."""


def render_log(events: Sequence[Event]) -> Group:
    """Lay out a log: each run, its tasks in the order in which they ended, what went in and came out."""
    parts: list[RenderableType] = []
    for event in events:
        parts += list(_render(event))
    parts.append(Text(f"{len(events)} events; the chain of the log is whole.", style="dim"))
    return Group(*parts)


def _render(event: Event) -> Iterable[RenderableType]:
    stamp = Text(f"{event['time'][:19].replace('T', ' ')}  ", style="dim")
    match event["event"]:
        case "run-started":
            engine = event.get("engine") or {}
            yield Text.assemble(stamp, (f"run of {event['recipe']['name']}", "bold"))
            grid = _grid()
            grid.add_row("command", " ".join(event["command_line"]))
            grid.add_row("recipe", f"{event['recipe']['file']}  sha256 {event['recipe']['sha256'][:SHORT]}")
            grid.add_row("plan", event["plan"][:SHORT])
            grid.add_row("CRDS context", str(event.get("context")))
            grid.add_row("engine", f"{engine.get('name', '')} {engine.get('version', '')}".strip())
            grid.add_row("versions", ", ".join(f"{name} {number}" for name, number in event["versions"].items()))
            yield Padding(grid, (0, 0, 0, 2))
        case "task-finished":
            yield Text.assemble(stamp, (event["task"], "bold"), f"  finished in {event['duration']:.1f} s")
            yield Padding(_details(event), (0, 0, 0, 2))
        case "task-failed":
            yield Text.assemble(stamp, (event["task"], "bold red"), f"  failed after {event['duration']:.1f} s")
            yield Padding(Text(str(event["error"])), (0, 0, 0, 4))
        case "task-skipped":
            yield Text.assemble(stamp, event["task"], f"  not started, because of {', '.join(event['because'])}")
        case "run-finished" | "run-interrupted":
            words = event["event"].removeprefix("run-")
            yield Text.assemble(stamp, (f"{words}: {event['finished']} finished, {event['kept']} kept", "bold"))


def _details(event: Event) -> Table:
    grid = _grid()
    if event["command"]:
        grid.add_row("command", f"{' '.join(event['command'])}  (exit status {event['exit_status']})")
    dropped = (event.get("association_change") or {}).get("dropped", [])
    for row in dropped:
        grid.add_row("dropped", f"row {row['row']}: {row['memname']} {row['memtype']}  {row['why']}")
    for change in [*event.get("header_changes", ()), *event.get("reference_changes", ())]:
        old = "(absent)" if change["old"] is None else change["old"]
        why = change["why"]
        address = f"{why['where']} " if why["where"] else ""
        grid.add_row("changed", f"{change['keyword']}: {old} -> {change['new']}  {address}{why['text']}")
    for file in event["inputs"]:
        grid.add_row("read", f"{file['path']}  sha256 {file['sha256'][:SHORT]}")
    for file in event["references"]:
        grid.add_row("reference", f"{file['keyword']} {file['name']}  sha256 {file['sha256'][:SHORT]}")
    for file in event["outputs"]:
        grid.add_row("made", f"{file['path']}  sha256 {file['sha256'][:SHORT]}")
        if "kept_aside" in file:
            grid.add_row("kept aside", f"{file['kept_aside']} (it was not this run's)")
    for warning in event["warnings"]:
        grid.add_row("warning", warning)
    return grid


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid

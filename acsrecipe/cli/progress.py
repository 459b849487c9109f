"""What a person sees while a run goes on: a live table in a terminal, plain lines where output is piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from acsrecipe.cli.terminal import stderr
from acsrecipe.plan.model import Plan
from acsrecipe.run.execute import Observer
from acsrecipe.run.journal import Event

MARKS = {"finished": ("✓", "green"), "kept": ("=", "cyan"), "failed": ("✗", "bold red"), "skipped": ("-", "dim")}


@contextmanager
def show_progress(plan: Plan, *, quiet: bool = False, console: Console | None = None) -> Iterator[Observer]:
    """Show a run's events as they come; gives the function that hears them.

    Parameters
    ----------
    plan : Plan
    quiet : bool
        Show nothing.
    console : Console, optional
        Where to; stderr if not given.
    """
    console = console or stderr()
    if quiet:
        yield lambda event: None
    elif console.is_terminal:
        board = Board(plan)
        with Live(board, console=console, refresh_per_second=8, transient=False) as live:
            yield board.hear
            live.refresh()
    else:
        yield _plain(console)


def _plain(console: Console) -> Observer:
    def hear(event: Event) -> None:
        line = describe(event)
        if line:
            console.print(Text(line), soft_wrap=True)

    return hear


def describe(event: Event) -> str:
    """Say an event in one line; empty for those that are of no interest by themselves."""
    task = event.get("task", "")
    match event["event"]:
        case "run-started":
            return f"run of {event['recipe']['name']}: {event['tasks']} tasks"
        case "task-started":
            return f"{task}: started ({event['reason']})"
        case "task-finished":
            made = ", ".join(output["path"] for output in event["outputs"] if output["folder"] in ("products", "plots"))
            return f"{task}: finished in {event['duration']:.1f} s" + (f": {made}" if made else "")
        case "task-kept":
            return f"{task}: kept, up to date"
        case "task-failed":
            return f"{task}: failed after {event['duration']:.1f} s"
        case "task-retried":
            return f"{task}: failed after {event['duration']:.1f} s, tried once more"
        case "note":
            return f"note: {event['text']}"
        case "task-skipped":
            return f"{task}: not started, because {', '.join(event['because'])} did not finish"
        case "run-finished":
            return f"{event['finished']} tasks finished, {event['kept']} kept, {len(event['failed'])} failed"
        case "run-interrupted":
            return f"interrupted after {event['finished']} tasks"
    return ""


class Board:
    """The live table: a row for each exposure (or group), a column for each kind of task.

    Parameters
    ----------
    plan : Plan
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = clock()
        self.kinds = list(dict.fromkeys(task.kind for task in plan.tasks if task.kind != "association"))
        self.names = list(dict.fromkeys(task.id.partition("/")[2] for task in plan.tasks if task.kind in self.kinds))
        self.after = {task.id: task.after for task in plan.tasks}
        self.cells: dict[str, tuple[str, Any]] = {task.id: ("waiting", None) for task in plan.tasks}
        self.text: dict[str, str] = {}
        self.spinner = Spinner("dots")
        self.room = 0

    def hear(self, event: Event) -> None:
        """Take in an event."""
        task = event.get("task", "")
        match event["event"]:
            case "task-started":
                self.cells[task] = ("running", self.clock())
            case "progress":
                self.text[task] = event["text"]
            case "task-finished" | "task-failed":
                self.cells[task] = (event["event"].removeprefix("task-"), event["duration"])
            case "task-kept" | "task-skipped":
                self.cells[task] = (event["event"].removeprefix("task-"), None)

    def __rich_console__(self, console: Console, options: object) -> Iterator[RenderableType]:
        """Lay the table out for the console as it is now; rows that are done give way where there are many."""
        names = self._visible(max(4, console.height - 6))
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=False)
        widest = max((len(name) for name in names), default=0)
        table.add_column("", no_wrap=True, min_width=widest)
        # What a task reports is cut to its share of the line, so that no column pushes another away.
        self.room = max(4, (console.width - widest - 4) // max(1, len(self.kinds)) - 10)
        for kind in self.kinds:
            table.add_column(kind, no_wrap=True, overflow="ellipsis", min_width=10)
        for name in names:
            table.add_row(name, *(self._cell(f"{kind}/{name}") for kind in self.kinds))
        hidden = len(self.names) - len(names)
        rows: list[RenderableType] = [table]
        if hidden:
            rows.append(Text(f"and {hidden} more", style="dim"))
        yield Group(*rows, self._total(console.width))

    def _visible(self, most: int) -> list[str]:
        if len(self.names) <= most:
            return self.names
        rank = {"running": 0, "failed": 1, "waiting": 2}
        ranked = sorted(
            self.names, key=lambda name: min(rank.get(self.cells.get(f"{k}/{name}", ("",))[0], 3) for k in self.kinds)
        )
        shown = set(ranked[:most])
        return [name for name in self.names if name in shown]

    def _cell(self, task: str) -> RenderableType:
        if task not in self.cells:
            return Text("")
        state, value = self.cells[task]
        if state == "running":
            grid = Table.grid(padding=(0, 1))
            spent = self.clock() - value
            grid.add_row(self.spinner, Text(f"{spent:.0f} s"), self._report(task))
            return grid
        if state == "waiting":
            for earlier in self.after[task]:
                if self.cells[earlier][0] not in ("finished", "kept"):
                    return Text(f"waits for {earlier.partition('/')[0]}", style="dim")
            return Text("waits its turn", style="dim")
        mark, style = MARKS[state]
        words = {"kept": "up to date", "skipped": "not started"}.get(
            state, f"{value:.1f} s" if value is not None else ""
        )
        return Text.assemble((mark, style), " ", words)

    def _report(self, task: str) -> Text:
        text = Text(self.text.get(task, ""), style="dim")
        text.truncate(self.room, overflow="ellipsis")
        return text

    def _total(self, width: int) -> RenderableType:
        done = sum(state in MARKS for state, _ in self.cells.values())
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            ProgressBar(total=len(self.cells), completed=done, width=min(40, max(10, width - 40))),
            f"{done} of {len(self.cells)} tasks",
            Text(f"{self.clock() - self.began:.0f} s", style="dim"),
        )
        return grid

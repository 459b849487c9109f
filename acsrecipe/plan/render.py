"""A plan as a person reads it: what changes, old to new, and why; for a terminal of any width.

Signs carry the meaning, colour only repeats it: ``+`` new, ``~`` changed, ``-`` dropped.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from acsrecipe.plan.downloads import count_downloads
from acsrecipe.plan.model import (
    AssociationChange,
    Finding,
    HeaderChange,
    Output,
    Plan,
    ReferenceChange,
    Scalar,
    Task,
    Why,
)
from acsrecipe.process import clean_text

WIDE = 120
"""Columns from which a change and its reason share a line."""

SEVERITY_STYLE = {"error": "bold red", "warning": "yellow", "note": "cyan"}
FEW_TASKS = 12
STAMPED = "each FITS product gets ACSR_ cards and a table ACSRECIPE: recipe, plan, engine, and why each card was set"

Change = HeaderChange | ReferenceChange
Item = TypeVar("Item")


def render_plan(plan: Plan, *, width: int) -> Group:
    """Lay out a whole plan.

    Parameters
    ----------
    plan : Plan
    width : int
        Columns of the terminal.
    """
    parts: list[RenderableType] = [_heading(plan)]
    for change in plan.association_changes:
        parts += [Text(), _title(f"Association {change.association}"), _association(change)]
    total = len({root for task in plan.tasks if task.kind in ("calibrate", "take") for root in task.exposures})
    if plan.header_changes:
        parts += [Text(), _title("Header changes"), *_blocks(plan.header_changes, total, width)]
    if plan.reference_changes:
        parts += [Text(), _title("Reference changes"), *_blocks(plan.reference_changes, total, width)]
    if total and not plan.header_changes and not plan.reference_changes:
        parts += [Text(), Text("No header or reference differs from the files as delivered.")]
    if plan.tasks:
        parts += [Text(), _title("Tasks, in order"), _tasks(plan.tasks)]
    if plan.products:
        parts += [Text(), _title("Files to be written"), _products(plan.products)]
        if any(task.stamp for task in plan.tasks):
            parts.append(Padding(Text(STAMPED, style="dim"), (0, 0, 0, 2)))
    if plan.findings:
        parts += [Text(), _title("Findings"), *_findings(plan.findings)]
    parts += [Text(), _summary(plan, total)]
    return Group(*parts)


def print_plan(plan: Plan, console: Console) -> None:
    """Print a plan to a console at its width."""
    console.print(render_plan(plan, width=console.width))


def _heading(plan: Plan) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("recipe", Text.assemble((plan.recipe, "bold"), f"  {plan.recipe_file}"))
    if plan.context:
        text = Text(plan.context.name, style="bold")
        text.append(f"  asked for as {plan.context.asked!r}, from {plan.context.source}", style="not bold")
        if plan.context.synced:
            text.append(f"; the cache last heard of a server {plan.context.synced}", style="not bold")
        grid.add_row("CRDS context", text)
    if plan.engine:
        text = Text(f"{plan.engine.name} {plan.engine.version}".strip(), style="bold")
        text.append(f"  {plan.engine.why}", style="not bold")
        grid.add_row("engine", text)
    return grid


def _title(text: str) -> Rule:
    return Rule(Text(text, style="bold"), align="left", style="dim", characters="─")


def _association(change: AssociationChange) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for row in sorted([*change.kept, *change.dropped], key=lambda row: row.row):
        sign, style = ("-", "red") if row.why else (" ", "")
        if row.why:
            grid.add_row(
                Text(sign, style=style), Text(row.memname, style=style), Text(row.memtype, style=style), Text(row.why)
            )
        else:
            grid.add_row(sign, row.memname, row.memtype, Text("stays", style="dim"))
    return Padding(grid, (0, 0, 0, 2))


def group_changes(changes: Iterable[Change]) -> list[tuple[tuple[str, ...], list[Change]]]:
    """Gather equal changes of many files, so that they read as one block.

    Returns
    -------
    list of (files, changes)
        Each change once, with all the files that it applies to; blocks in order of first appearance.
    """
    files: dict[Hashable, list[str]] = {}
    first: dict[Hashable, Change] = {}
    for change in changes:
        key = change.model_copy(update={"file": ""}).model_dump_json()
        files.setdefault(key, []).append(change.file)
        first.setdefault(key, change)
    blocks: dict[tuple[str, ...], list[Change]] = {}
    for same, change in first.items():
        blocks.setdefault(tuple(files[same]), []).append(change)
    return list(blocks.items())


def _blocks(changes: Sequence[Change], total: int, width: int) -> Iterable[RenderableType]:
    for files, block in group_changes(changes):
        yield Padding(Text(_name_files(files, total), style="bold"), (0, 0, 0, 2))
        yield Padding(_diff(block, width), (0, 0, 0, 2))


def _name_files(files: Sequence[str], total: int) -> str:
    names = [file.rsplit("/", 1)[-1] for file in files]
    if len(names) == 1:
        return names[0]
    if len(names) == total:
        return f"all {total} exposures"
    return f"{len(names)} exposures: " + " ".join(name.removesuffix("_raw.fits") for name in names)


def _diff(block: Sequence[Change], width: int) -> RenderableType:
    wide = width >= WIDE
    grid = Table.grid(padding=(0, 1))
    for _ in range(5):
        grid.add_column(no_wrap=True)
    if wide:
        grid.add_column(overflow="fold")
    for change in block:
        sign, style = ("+", "green") if change.old is None else ("~", "yellow")
        name = change.keyword
        if isinstance(change, HeaderChange) and change.hdu != "PRIMARY":
            name = f"{change.hdu} {name}"
        row = [
            Text(sign, style=style),
            Text(name),
            Text(_show(change.old), style="red"),
            Text("->", style="dim"),
            Text(_show(change.new), style="green"),
        ]
        if wide:
            grid.add_row(*row, _why(change.why))
        else:
            grid.add_row(*row)
    if wide:
        return grid
    return Group(grid, Padding(_reasons(block), (0, 0, 0, 2)))


def _reasons(block: Sequence[Change]) -> RenderableType:
    """List the reasons of a block under it, where the terminal is too narrow for one line each."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for change in block:
        grid.add_row(change.keyword, _why(change.why))
    return grid


def _why(why: Why) -> Text:
    text = Text(style="dim")
    if why.where:
        text.append(f"{why.where} ", style="cyan not dim")
    return text.append(clean_text(why.text))


def _show(value: Scalar) -> str:
    if value is None:
        return "(absent)"
    if isinstance(value, bool):
        return "T" if value else "F"
    return clean_text(str(value))


def _tasks(tasks: Sequence[Task]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    if len(tasks) <= FEW_TASKS:
        for number, task in enumerate(tasks, 1):
            grid.add_row(Text(f"{number}", style="dim"), task.id, _after(task))
        return Padding(grid, (0, 0, 0, 2))
    kinds: dict[str, list[Task]] = {}
    for task in tasks:
        kinds.setdefault(task.kind, []).append(task)
    for kind, some in kinds.items():
        names = [task.id.partition("/")[2] for task in some]
        listed = " ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        grid.add_row(Text(f"{len(some)} x", style="dim"), kind, Text(listed, style="dim"))
    return Padding(grid, (0, 0, 0, 2))


def _after(task: Task) -> Text:
    if task.after:
        return Text(f"after {', '.join(task.after)}", style="dim")
    return Text(task.engine, style="dim")


def _products(products: Sequence[Output]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    folders: dict[tuple[str, str], list[Output]] = {}
    for output in products:
        folders.setdefault((output.folder, output.name.rsplit("_", 1)[-1]), []).append(output)
    for (folder, suffix), some in folders.items():
        names = some[0].name if len(some) == 1 else f"{len(some)} x *_{suffix}"
        size = sum(output.size for output in some)
        grid.add_row(f"{folder}/", names, Text(f"about {show_bytes(size)}" if size else "", style="dim"))
    return Padding(grid, (0, 0, 0, 2))


def show_bytes(size: int) -> str:
    """Write a number of bytes for people: ``167.8 MB``."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _findings(findings: Sequence[Finding]) -> Iterable[RenderableType]:
    """Show findings; what is the same of several files is said once."""
    places: dict[tuple[str, str, str, str], list[str]] = {}
    for one in findings:
        places.setdefault((one.severity, one.code, one.message, one.hint), []).append(one.where)
    for (severity, code, message, hint), where in places.items():
        text = Text(f"{severity} {code} ", style=SEVERITY_STYLE[severity])
        named = [clean_text(place) for place in where if place]
        shown = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
        text.append(f"{shown}: " if shown else "", style="not bold cyan")
        text.append(clean_text(message), style="not bold default")
        if hint:
            text.append(f"\n  hint: {clean_text(hint)}", style="not bold dim")
        yield Padding(text, (0, 0, 0, 2))


def _summary(plan: Plan, exposures: int) -> Text:
    size = sum(output.size for output in plan.products)
    text = Text("Plan: ", style="bold")
    text.append(
        f"{_count(exposures, 'exposure')}, {_count(len(plan.header_changes), 'header change')}, "
        f"{_count(len(plan.reference_changes), 'reference change')}, {_count(len(plan.tasks), 'task')}, "
        f"{_count(len(plan.products), 'file')} (about {show_bytes(size)}). ",
        style="not bold",
    )
    count, needed = count_downloads(plan)
    if count:
        text.append(f"{_count(count, 'file')} of {show_bytes(needed)} will be downloaded. ", style="not bold")
    errors = sum(one.severity == "error" for one in plan.findings)
    if errors:
        text.append(f"It can't be run here: {_count(errors, 'error')} above.", style="bold red")
    else:
        text.append("Pixels and the WCS solution can't be predicted. Nothing was run.", style="not bold dim")
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

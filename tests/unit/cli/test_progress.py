"""What a person sees while a run goes on, in a terminal and in a pipe."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from acsrecipe.cli.progress import Board, describe
from acsrecipe.plan.model import Plan, Task


def make_plan(count: int = 3) -> Plan:
    tasks = [Task(id="association/j9l960010", kind="association", exposures=())]
    for number in range(count):
        root = f"j9l960a{number}q"
        tasks.append(Task(id=f"calibrate/{root}", kind="calibrate", exposures=(root,)))
        tasks.append(Task(id=f"updatewcs/{root}", kind="updatewcs", exposures=(root,), after=(f"calibrate/{root}",)))
    return Plan(
        recipe="r",
        recipe_file="r.toml",
        recipe_sha256="0",
        context=None,
        engine=None,
        association_changes=(),
        header_changes=(),
        reference_changes=(),
        tasks=tuple(tasks),
        products=(),
        findings=(),
    )


def shown(board: Board, width: int, height: int = 24) -> str:
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(board)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


@pytest.fixture
def board() -> Board:
    now = 0.0
    board = Board(make_plan(), clock=lambda: now)
    board.hear({"event": "task-finished", "task": "association/j9l960010", "duration": 0.1})
    board.hear({"event": "task-finished", "task": "calibrate/j9l960a0q", "duration": 12.34})
    board.hear({"event": "task-started", "task": "calibrate/j9l960a1q"})
    board.hear({"event": "progress", "task": "calibrate/j9l960a1q", "text": "BLEVCORR [1] of j9l960a1q"})
    board.hear({"event": "task-started", "task": "updatewcs/j9l960a0q"})
    now = 7.0
    return board


@pytest.mark.parametrize("width", [80, 200])
def test_the_board_shows_what_runs_what_is_done_and_what_waits(board, width):
    text = shown(board, width)
    assert "✓ 12.3 s" in text
    assert "7 s BLEVCORR [1]" in text
    assert "waits for calibrate" in text
    assert "j9l960a1q" in text
    assert "2 of 7 tasks" in text
    assert max(map(len, text.splitlines())) <= width


def test_the_share_of_a_cte_correction_is_seen_even_in_a_narrow_terminal(board):
    board.hear({"event": "progress", "task": "calibrate/j9l960a1q", "text": "CTE A 37%, 12 s left"})
    assert "7 s CTE A 37%" in shown(board, 80)
    assert "7 s CTE A 37%, 12 s left" in shown(board, 120)


def test_failed_and_skipped_tasks_are_marked_without_colour(board):
    board.hear({"event": "task-failed", "task": "calibrate/j9l960a1q", "duration": 1.0})
    board.hear({"event": "task-skipped", "task": "updatewcs/j9l960a1q"})
    text = shown(board, 100)
    assert "✗ 1.0 s" in text
    assert "- not started" in text


def test_a_long_list_keeps_to_the_screen_and_to_what_runs():
    board = Board(make_plan(50), clock=lambda: 0.0)
    board.hear({"event": "task-started", "task": "calibrate/j9l960a49q"})
    text = shown(board, 100, height=20)
    assert len(text.splitlines()) <= 20
    assert "j9l960a49q" in text
    assert "and 36 more" in text


def test_a_pipe_gets_one_line_an_event():
    event = {
        "event": "task-finished",
        "task": "calibrate/a",
        "duration": 1.25,
        "outputs": [
            {"path": "products/a_flt.fits", "folder": "products"},
            {"path": "work/x/a.tmp", "folder": ""},
        ],
    }
    assert describe(event) == "calibrate/a: finished in 1.2 s: products/a_flt.fits"
    assert describe({"event": "progress", "task": "a", "text": "x"}) == ""

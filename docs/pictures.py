"""Draw the README's pictures: the real plan and the real progress of the demo, as SVG.

``make pictures`` makes the demo, runs it, records the run's events, and draws. The plan is the same for
the same code; the progress is drawn from the recorded events (``docs/pictures/events.json``), so that
``tests/integration/test_pictures.py`` can draw both again and say when the committed files are stale.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI

from acsrecipe import Environment, build_plan, load_recipe, run_plan
from acsrecipe.cli.progress import Board
from acsrecipe.demo.dataset import make_dataset
from acsrecipe.plan.model import Plan
from acsrecipe.plan.render import print_plan

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 132
MOMENT = 0.62
"""Share of the run at which the progress is drawn."""


def plan_demo(folder: Path) -> tuple[Any, Plan]:
    """Make the demo of seed 1 and its plan, as on a machine without calacs.e."""
    dataset = make_dataset(folder, seed=1, mode="pre_dth")
    recipe = load_recipe(dataset.recipe)
    return recipe, build_plan(recipe, environment=Environment())


def record(recipe: Any, plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """Run the plan and keep what its board would hear: event, task, seconds since the start."""
    began = time.monotonic()
    heard = []

    def observe(event: dict[str, Any]) -> None:
        kept = {key: event[key] for key in ("event", "task", "text", "duration") if key in event}
        heard.append({**kept, "at": round(time.monotonic() - began, 2)})

    run_plan(plan, recipe, folder, environment=Environment.of(os.environ), jobs=2, observe=observe)
    return heard


def draw_plan(plan: Plan) -> str:
    """Draw a plan as SVG."""
    console = _console()
    console.print("[bold]$ acsrecipe plan demo/recipe.toml[/bold]\n")
    print_plan(plan, console)
    return _svg(console, "acsrecipe plan")


def draw_progress(plan: Plan, events: list[dict[str, Any]]) -> str:
    """Draw the board as it stood at a moment of the recorded run."""
    moment = MOMENT * events[-1]["at"]
    now = 0.0
    board = Board(plan, clock=lambda: now)
    for event in events:
        if event["at"] > moment:
            break
        now = event["at"]
        board.hear(event)
    now = moment
    console = _console()
    console.print("[bold]$ acsrecipe run demo/recipe.toml[/bold]\n")
    console.print(board)
    # The spinner turns with the wall clock: any of its faces stands for it.
    return re.sub(r"[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]", "⠹", _svg(console, "acsrecipe run"))


def _console() -> Console:
    return Console(
        record=True,
        width=WIDTH,
        height=60,
        file=StringIO(),
        force_terminal=True,
        highlight=False,
        color_system="truecolor",
    )


def _svg(console: Console, title: str) -> str:
    text = console.export_svg(title=title, theme=MONOKAI, unique_id=title.replace(" ", "-"))
    # rich names fonts on a server; the reader's own monospace font does as well.
    text = re.sub(r"@font-face \{.*?\}\s*", "", text, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def main() -> int:
    """Draw everything anew."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        recipe, plan = plan_demo(Path(folder) / "demo")
        events = record(recipe, plan, Path(folder) / "run")
    (PICTURES / "events.json").write_text("[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n")
    (PICTURES / "plan.svg").write_text(draw_plan(plan))
    (PICTURES / "progress.svg").write_text(draw_progress(plan, events))
    return 0


if __name__ == "__main__":
    sys.exit(main())

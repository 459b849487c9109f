"""What the run itself costs beside the engine: staging, hashing, publishing and the log, on four full frames.

    python benchmarks/run_overhead.py [--calacs FOLDER] [--engine calacs] [--cte] [--runs 3] [--work DIR]

One task at a time, so that every second has one owner. Prints, as medians over the runs: the engine's seconds
(as it measures itself), each part of what comes on top, that as a share of the engine's time, and how long a
second run takes, in which there is nothing to do (the whole command, in a new process). See docs/runs.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from acsrecipe.api import build_plan, load_recipe, run_plan
from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.environment import Environment

PARTS = ("start", "stage", "check", "publish", "rest")


def prepare(folder: Path, engine: str, cte: bool) -> Dataset:
    """Four full frames, and a recipe that only calibrates them."""
    dataset = make_dataset(folder, seed=1, mode="pre_dth", full_frame=True)
    text = dataset.recipe.read_text().split("[[post]]")[0].replace('engine = "auto"', f'engine = "{engine}"')
    if cte:
        text = text.replace('PCTECORR = "OMIT"', 'PCTECORR = "PERFORM"')
    dataset.recipe.write_text(text)
    return dataset


def measure(dataset: Dataset, output: Path, environment: Environment) -> dict[str, float]:
    """Run once and say who took how long."""
    recipe = load_recipe(dataset.recipe)
    plan = build_plan(recipe, environment=environment)
    heard: list[tuple[float, dict[str, Any]]] = []
    began = time.perf_counter()
    result = run_plan(
        plan,
        recipe,
        output,
        environment=environment,
        jobs=1,
        observe=lambda event: heard.append((time.perf_counter(), event)),
    )
    whole = time.perf_counter() - began
    if not result.succeeded:
        raise SystemExit(f"the run failed: {result.failed}")
    spent = dict.fromkeys(("engine", *PARTS), 0.0)
    spent["whole"] = whole
    at: dict[tuple[str, str], float] = {}
    for moment, event in heard:
        what = event["text"] if event["event"] == "progress" else event["event"]
        at[event.get("task", ""), what] = moment
        if event["event"] == "task-finished" and event["kind"] == "calibrate":
            task, engine = event["task"], event["details"]["seconds"]
            spent["engine"] += engine
            spent["start"] += at[task, "staging"] - at[task, "task-started"]
            spent["stage"] += at[task, "checking"] - at[task, "staging"] - engine
            spent["check"] += at[task, "task-publishing"] - at[task, "checking"]
            spent["publish"] += moment - at[task, "task-publishing"]
    spent["rest"] = whole - sum(spent[name] for name in ("engine", *PARTS[:-1]))
    return spent


def again(dataset: Dataset, output: Path, variables: dict[str, str], *more: str) -> float:
    """Run the command where there is nothing to do; whole seconds, from start to end of its process."""
    argv = [sys.executable, "-m", "acsrecipe", "run", str(dataset.recipe), "--output", str(output), *more]
    began = time.perf_counter()
    done = subprocess.run(argv, env=variables, capture_output=True, text=True, check=True)
    if "\n0 tasks finished" not in done.stderr:
        raise SystemExit(f"there was something to do: {done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--calacs", type=Path, help="the folder of calacs.e")
    options.add_argument("--engine", default="calacs")
    options.add_argument("--cte", action="store_true", help="with the CTE correction")
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--work", type=Path, help="where to work; a temporary folder if not given")
    asked = options.parse_args()
    path = os.environ.get("PATH", os.defpath)
    variables = {**os.environ, "PATH": f"{asked.calacs}:{path}" if asked.calacs else path}
    work = Path(tempfile.mkdtemp(dir=asked.work))
    try:
        dataset = prepare(work / "demo", asked.engine, asked.cte)
        runs, idle, verified = [], [], []
        for number in range(asked.runs):
            output = work / f"run{number}"
            runs.append(measure(dataset, output, Environment.of(variables)))
            idle.append(again(dataset, output, variables))
            verified.append(again(dataset, output, variables, "--verify"))
            shutil.rmtree(output)
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for name in ("engine", *PARTS, "whole"):
            print(
                f"{name:10} {middle[name]:8.2f} s  {100 * middle[name] / middle['engine']:6.1f} % of the engine's time"
            )
        share = statistics.median((run["whole"] - run["engine"]) / run["engine"] for run in runs)
        print(f"overhead   {100 * share:6.1f} % of the engine's time")
        print(f"nothing to do: {statistics.median(idle):.2f} s; with --verify {statistics.median(verified):.2f} s")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

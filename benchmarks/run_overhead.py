"""What a run costs beside its engine: staging, hashing, syncing, publishing and the log, on four full frames.

    python benchmarks/run_overhead.py [--calacs FOLDER] [--engine calacs] [--cte] [--runs 3] [--data DIR] [--work DIR]

One task at a time. In turn: the bare engine (on the same staged files, one exposure after the other, nothing
hashed, nothing synced) and the run. Prints medians, wall and processor seconds: of both, of each part of the run
that the engine does not work in, and of a second run, in which there is nothing to do (the whole command, in a new
process). What is hashed while the engine works at the next exposure is no part of its own. See docs/runs.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from acsrecipe.api import build_plan, load_recipe, run_plan
from acsrecipe.demo.dataset import make_dataset
from acsrecipe.environment import Environment
from acsrecipe.inputs.header import stage_edited
from acsrecipe.plan.model import Plan

PARTS = ("start", "stage", "check", "end")

EMBEDDED = """
import sys
from pathlib import Path
from acsrecipe.engines.embedded.pipeline import calibrate
for raw in sys.argv[2:]:
    calibrate([Path(raw)], Path("ref"), Path("."), threads=int(sys.argv[1]))
"""


def prepare(folder: Path, engine: str, cte: bool) -> Path:
    """Make four full frames where they are not there yet, and a recipe that only calibrates them."""
    if not folder.exists():
        make_dataset(folder, seed=1, mode="pre_dth", full_frame=True)
    text = (folder / "recipe.toml").read_text().split("[[post]]")[0].replace('engine = "auto"', f'engine = "{engine}"')
    if cte:
        text = text.replace('PCTECORR = "OMIT"', 'PCTECORR = "PERFORM"')
    recipe = folder / "overhead.toml"
    recipe.write_text(text)
    return recipe


def processor_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def bare(plan: Plan, base: Path, folder: Path, engine: str, environment: dict[str, str]) -> dict[str, float]:
    """Run the engine alone on what a run would stage; staging itself is not counted."""
    (folder / "ref").mkdir(parents=True)
    raws = []
    for task in (one for one in plan.tasks if one.kind == "calibrate"):
        for file in task.inputs:
            name = file.path.rsplit("/", 1)[-1]
            stage_edited(base / file.path, folder / name, task.edits.get(name, ()))
            raws += [name] if file.role == "RAW" else []
        for reference in task.references:
            link = folder / "ref" / reference.name
            if not link.is_symlink():
                link.symlink_to((base / reference.path).resolve())
    threads = str(os.cpu_count() or 1)
    if engine == "calacs":
        executable = shutil.which("calacs.e", path=environment["PATH"]) or "calacs.e"
        commands = [[executable, "--nthreads", threads, raw] for raw in raws]
    else:
        commands = [[sys.executable, "-c", EMBEDDED, threads, *raws]]
    used, began = processor_seconds(), time.perf_counter()
    for command in commands:
        subprocess.run(command, cwd=folder, env={**environment, "jref": "ref/"}, capture_output=True, check=True)
    spent = {"bare": time.perf_counter() - began, "bare processor": processor_seconds() - used}
    shutil.rmtree(folder)
    return spent


def measure(plan: Plan, recipe: Path, output: Path, environment: Environment) -> dict[str, float]:
    """Run once and say who took how long."""
    heard: list[tuple[float, dict[str, Any]]] = []
    used, began = processor_seconds(), time.perf_counter()
    result = run_plan(
        plan,
        load_recipe(recipe),
        output,
        environment=environment,
        jobs=1,
        observe=lambda event: heard.append((time.perf_counter(), event)),
    )
    ended = time.perf_counter()
    if not result.succeeded:
        raise SystemExit(f"the run failed: {result.failed}")
    spent = dict.fromkeys(("engine", *PARTS), 0.0)
    spent |= {"whole": ended - began, "processor": processor_seconds() - used}
    staging: dict[str, float] = {}
    checking: dict[str, float] = {}
    for moment, event in heard:
        task = event.get("task", "")
        if not task.startswith("calibrate/"):
            continue
        if event.get("text") == "staging":
            staging[task] = moment
        if event.get("text") == "checking":
            checking[task] = moment
        if event["event"] == "task-finished":
            engine = event["details"]["seconds"]
            spent["engine"] += engine
            spent["stage"] += checking[task] - staging[task] - engine
            last = moment
    spent["start"] = min(staging.values()) - began
    spent["check"] = last - max(checking.values())
    spent["end"] = ended - last
    return spent


def again(recipe: Path, output: Path, variables: dict[str, str], *more: str) -> float:
    """Run the command where there is nothing to do; whole seconds, from start to end of its process."""
    argv = [sys.executable, "-m", "acsrecipe", "run", str(recipe), "--output", str(output), *more]
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
    options.add_argument("--data", type=Path, help="keep the data set here, for the next time")
    options.add_argument("--work", type=Path, help="where to work; a temporary folder if not given")
    asked = options.parse_args()
    path = os.environ.get("PATH", os.defpath)
    variables = {**os.environ, "PATH": f"{asked.calacs.resolve()}:{path}" if asked.calacs else path}
    environment = Environment.of(variables)
    work = Path(tempfile.mkdtemp(dir=asked.work))
    try:
        recipe = prepare(asked.data or work / "demo", asked.engine, asked.cte)
        plan = build_plan(load_recipe(recipe), environment=environment)
        runs = []
        for number in range(asked.runs):
            output = work / f"run{number}"
            spent = bare(plan, recipe.parent, work / "bare", asked.engine, variables)
            spent |= measure(plan, recipe, output, environment)
            spent["again"] = again(recipe, output, variables)
            spent["verified"] = again(recipe, output, variables, "--verify")
            runs.append(spent)
            shutil.rmtree(output)
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        print(f"bare engine  {middle['bare']:6.2f} s, {middle['bare processor']:6.2f} s of processor time")
        print(f"the run      {middle['whole']:6.2f} s, {middle['processor']:6.2f} s of processor time")
        for name in ("engine", *PARTS):
            print(f"  {name:10} {middle[name]:6.2f} s  {100 * middle[name] / middle['bare']:6.1f} % of the bare engine")
        for whole, engine in (("whole", "bare"), ("whole", "engine"), ("processor", "bare processor")):
            shares = sorted(100 * (run[whole] / run[engine] - 1) for run in runs)
            middle_share = statistics.median(shares)
            print(f"{whole} over {engine}: {middle_share:.1f} % more ({shares[0]:.1f} to {shares[-1]:.1f})")
        print(f"nothing to do: {middle['again']:.2f} s; with --verify {middle['verified']:.2f} s")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

"""Time a plan of four exposures beside one `crds bestrefs` command on one file.

    python benchmarks/plan_speed.py [--repeat N] [--cache DIR --context hst_NNNN.pmap]

All are commands, timed from their start to their end, in turn, after one of each that is not counted. `crds` starts a
second interpreter for its sub-command; what that one alone takes is shown too. The exposures
are made by the demo; so are the rules, unless a CRDS cache with the telescope's own is named (it is copied: CRDS's
command may write into its cache). Exits 1 where the plan is not the faster one.
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

from acsrecipe.demo.dataset import Dataset, make_dataset

EXPOSURES = 4
PLAN = f"acsrecipe plan ({EXPOSURES} exposures)"
BESTREFS = "crds bestrefs --update-bestrefs (1 file)"


def main() -> int:
    """Measure, print a table, and say by the exit status whether the plan was the faster one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cache", type=Path, help="a CRDS cache, instead of the demo's own")
    parser.add_argument("--context", help="with --cache: the context to plan by")
    asked = parser.parse_args()
    if (asked.cache is None) != (asked.context is None):
        parser.error("--cache and --context go together")
    with tempfile.TemporaryDirectory() as folder:
        times = compare(Path(folder), asked.repeat, asked.cache, asked.context)
    print(f"{'command':<48}{'median s':>9}{'least':>8}{'most':>8}   of {asked.repeat}")
    for name, taken in times.items():
        print(f"{name:<48}{statistics.median(taken):>9.2f}{min(taken):>8.2f}{max(taken):>8.2f}")
    plan, bestrefs = statistics.median(times[PLAN]), statistics.median(times[BESTREFS])
    print(f"a plan of {EXPOSURES} exposures takes {plan / bestrefs:.2f} of the time of one `crds bestrefs` on one file")
    return 0 if plan < bestrefs else 1


def compare(folder: Path, repeat: int, cache: Path | None = None, context: str | None = None) -> dict[str, list[float]]:
    """Time the commands, in seconds, each as often as asked."""
    made = make_dataset(folder / "demo", exposures=EXPOSURES)
    crds, name = made.crds, made.contexts[-1]
    if cache is not None and context is not None:
        crds, name = folder / "cache", context
        copy_cache(cache, crds)
        rename_in_recipe(made, crds, context)
    raw = folder / f"{made.rootnames[0]}_raw.fits"
    shutil.copyfile(made.data / raw.name, raw)
    scripts = Path(sys.executable).parent
    environment = {
        "PATH": f"{scripts}{os.pathsep}{os.defpath}",
        "HOME": str(folder),
        "CRDS_PATH": str(crds),
        "CRDS_OBSERVATORY": "hst",
    }
    options = ["--new-context", name, "--update-bestrefs", "--files", str(raw)]
    commands = {
        PLAN: [str(scripts / "acsrecipe"), "plan", str(made.recipe)],
        BESTREFS: [str(scripts / "crds"), "bestrefs", *options],
        "python -m crds.bestrefs (1 file)": [sys.executable, "-m", "crds.bestrefs", *options],
    }
    times: dict[str, list[float]] = {title: [] for title in commands}
    for number in range(repeat + 1):
        for title, command in commands.items():
            begun = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            taken = time.perf_counter() - begun
            # 3: planned, but this machine or context can't run it: the plan was shown all the same.
            if done.returncode not in ((0, 3) if title == PLAN else (0,)):
                sys.exit(f"{title} failed ({done.returncode}):\n{done.stderr}")
            if number:
                times[title].append(taken)
    return times


def copy_cache(source: Path, target: Path) -> None:
    """Copy a cache so that it may be written, whatever the source's permissions."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def rename_in_recipe(made: Dataset, cache: Path, context: str) -> None:
    """Have the demo's recipe use another cache and context, and the references be named by CRDS alone."""
    text = made.recipe.read_text()
    kept, skipping = [], False
    for line in text.splitlines():
        if line.startswith("["):
            skipping = line.strip().startswith("[references")
        if not skipping:
            kept.append(line)
    kept += ["[references]", f'cache = "{cache}"', f'context = "{context}"', ""]
    made.recipe.write_text("\n".join(kept))


if __name__ == "__main__":
    sys.exit(main())

"""Time and memory of the embedded engine beside calacs.e, on full frames, in turn.

    python benchmarks/engine_speed.py [--calacs PATH] [--modes pre_dth post_full pre_cr] [--runs 5] [--work DIR]

Every run is a new process as a run's workers are, start-up and imports included; the page cache is warm, products
are deleted between runs, memory is touched before each, and the order changes from round to round. Prints medians,
their ratio, processor seconds, peak memory, and how two processes scale: on half of the frames each, and on all each.
docs/engines.md has what was found and what is out of reach.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from parity import stage

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.run.pool import LEAN

EXPOSURES = 4
MEMORY = 2 << 30
GROUPED = re.compile("_(cr|rpt)")

CHILD = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from acsrecipe.engines.embedded.pipeline import calibrate
ready = time.perf_counter()
references, output, threads, table, *raws = sys.argv[1:]
association = Path(table) if table else None
calibrate([Path(raw) for raw in raws], Path(references), Path(output), association=association, threads=int(threads))
print(json.dumps({"work": time.perf_counter() - ready, "import": ready - start}))
"""


@dataclass(frozen=True)
class Run:
    """One run: wall and processor seconds, peak megabytes, and what the program says of itself."""

    wall: float
    cpu: float
    megabytes: float
    said: dict[str, float]


def timed(argv: list[str], folder: Path, environment: dict[str, str]) -> Run:
    """Run a program and measure it."""
    start = time.perf_counter()
    child = subprocess.Popen(argv, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    said = child.stdout.read().decode("latin-1")
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        message = f"{argv[0]} failed:\n{said[-2000:]}"
        raise RuntimeError(message)
    last = said.strip().splitlines()[-1] if said.strip() else ""
    own = json.loads(last) if last.startswith("{") else {}
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, own)


def run_calacs(executable: str, data: Path, work: Path, references: Path) -> Run:
    """Run calacs.e on the association of four."""
    folder = work / "calacs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in data.iterdir():
        (folder / path.name).symlink_to(path)
    table = next(folder.glob("*_asn.fits"))
    copy = table.resolve().read_bytes()
    table.unlink()
    table.write_bytes(copy)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "jref": f"{references}/"}
    run = timed([executable, table.name], folder, environment)
    shutil.rmtree(folder)
    return run


def run_embedded(raws: list[Path], work: Path, references: Path, *, threads: int = 1, table: str = "") -> Run:
    """Run the embedded engine on RAW files, grouped as an association table says, in a process of its own."""
    output = work / f"embedded{raws[0].name}"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    argv = [sys.executable, "-c", CHILD, str(references), str(output), str(threads), table, *map(str, raws)]
    run = timed(argv, output, {**os.environ, **LEAN})
    shutil.rmtree(output)
    return run


def run_two(parts: tuple[list[Path], list[Path]], work: Path, references: Path) -> float:
    """Run two processes at once, each on some files; give the wall seconds."""
    outputs = [work / "two-a", work / "two-b"]
    start = time.perf_counter()
    children = []
    for output, part in zip(outputs, parts, strict=True):
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        argv = [sys.executable, "-c", CHILD, str(references), str(output), "1", "", *map(str, part)]
        children.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, **LEAN}))
    for child in children:
        if child.wait():
            message = "the embedded engine failed"
            raise RuntimeError(message)
    wall = time.perf_counter() - start
    for output in outputs:
        shutil.rmtree(output)
    return wall


def warm_memory() -> None:
    """Touch as much memory as a run needs and give it back: the host of a virtual machine may have taken it away.

    Without this a run's time depends on what ran before: fresh memory was found to cost up to 2.7 ms a megabyte.
    """
    subprocess.run([sys.executable, "-c", f"b'1' * {MEMORY}"], check=True)


def prepare(mode: str, folder: Path, count: int | None) -> None:
    """Make the data of a mode, with some exposures or as many as it has."""
    dataset = make_dataset(folder / "dataset", seed=1, mode=mode, full_frame=True, exposures=count)
    stage(dataset, folder / "raw", {"PCTECORR": "OMIT"})


def measure(mode: str, executable: str, runs: int, work: Path) -> None:
    """Measure one mode and print its table."""
    folder = work / mode
    grouped = GROUPED.search(mode) is not None
    if not folder.exists():
        # In a process of its own: a child's peak memory is never told as less than its parent's.
        with ProcessPoolExecutor(1) as pool:
            pool.submit(prepare, mode, folder, None if grouped else EXPOSURES).result()
    references = folder / "dataset" / "crds" / "references" / "hst"
    raws = sorted((folder / "raw").glob("*_raw.fits"))
    table = str(next((folder / "raw").glob("*_asn.fits"))) if grouped else ""
    run_embedded(raws, work, references, table=table)
    calacs: list[Run] = []
    embedded: list[Run] = []
    threaded: list[Run] = []
    two: list[float] = []
    twice: list[float] = []
    halves, all_twice = (raws[: len(raws) // 2], raws[len(raws) // 2 :]), (raws, raws)
    turns = [
        lambda: calacs.append(run_calacs(executable, folder / "raw", work, references)),
        lambda: embedded.append(run_embedded(raws, work, references, table=table)),
        lambda: threaded.append(run_embedded(raws, work, references, threads=2, table=table)),
    ]
    if not grouped:
        turns.append(lambda: two.append(run_two(halves, work, references)))
        turns.append(lambda: twice.append(run_two(all_twice, work, references)))
    for number in range(runs):
        # Each begins once after each other: a run's memory comes from what the one before gave back.
        for turn in range(len(turns)):
            os.sync()
            warm_memory()
            turns[(turn * (-1) ** number + number // 2) % len(turns)]()

    def middle(values: list[float]) -> str:
        return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"

    print(f"\n{mode}: {len(raws)} full frames, medians of {runs} alternating runs (extremes)")
    print("| | wall s per exposure | processor s per exposure | peak MB |")
    print("|---|---|---|---|")
    for name, group in (("calacs.e", calacs), ("embedded", embedded), ("embedded, 2 threads", threaded)):
        walls = [run.wall / len(raws) for run in group]
        cpus = [run.cpu / len(raws) for run in group]
        print(f"| {name} | {middle(walls)} | {middle(cpus)} | {max(run.megabytes for run in group):.0f} |")
    if two:
        print(f"| embedded, 2 processes, half each | {middle([wall / len(raws) for wall in two])} | | |")
        print(f"| embedded, 2 processes, all each | {middle([wall / len(raws) / 2 for wall in twice])} | | |")
    one = statistics.median(run.wall for run in embedded)
    peer = statistics.median(run.wall for run in calacs)
    ratio, threads = peer / one, peer / statistics.median(run.wall for run in threaded)
    cpu = statistics.median(run.cpu for run in calacs) / statistics.median(run.cpu for run in embedded)
    start = statistics.median(run.wall - run.said["work"] for run in embedded)
    print(f"ratio of medians: wall {ratio:.2f} (2 threads {threads:.2f}), processor {cpu:.2f}")
    if two:
        all_each = 2 * one / statistics.median(twice)
        print(f"two processes against one: {one / statistics.median(two):.2f}, with all frames each {all_each:.2f}")
    print(f"of a run, interpreter and imports take {start:.2f} s")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calacs", default=shutil.which("calacs.e"))
    parser.add_argument("--modes", nargs="*", default=["pre_dth", "post_full", "pre_cr"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--work", type=Path, help="keep the data here, for the next time")
    options = parser.parse_args()
    if options.calacs is None:
        parser.error("calacs.e is not on the PATH (conda-forge package hstcal); name it with --calacs")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(prefix="speed-") as scratch:
        work = options.work or Path(scratch)
        work.mkdir(parents=True, exist_ok=True)
        for mode in options.modes:
            measure(mode, options.calacs, options.runs, work)
    return 0


if __name__ == "__main__":
    sys.exit(main())

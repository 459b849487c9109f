"""The CTE correction beside calacs's acscte.e: time, memory, equality; and how time grows with the scene.

    python benchmarks/cte_speed.py [--calacs DIR] [--modes pre_dth post_full] [--threads 1 2] [--runs 3] [--work DIR]
    python benchmarks/cte_speed.py --growth [--figure docs/pictures/cte_growth.png]
    python benchmarks/cte_speed.py --truth [--figure docs/pictures/cte_trail.png]

DIR holds acsccd.e and acscte.e; without them only our times are measured. Runs alternate, each in a new process. Ours
is timed from Frame to Frame, acscte.e whole, with its reading and writing of 168 MB each (about a second). Data come
from the demo generator, or, for ``--growth``, are one amplifier's columns trailed by the same traps.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from parity import stage

from acsrecipe.demo.dataset import make_dataset

OURS = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
start = time.perf_counter()
from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cte.stage import correct_frame
from acsrecipe.engines.embedded.detector import process_detector
from acsrecipe.engines.embedded.fitsfile import open_fits, view
from acsrecipe.engines.embedded.references import References
imported = time.perf_counter() - start
raw, folder, threads, theirs = sys.argv[1:]
names = header.copied(open_fits(Path(raw)).hdus[0].cards)
references = References(Path(folder))
frame = process_detector(Path(raw), names, references, lambda line: None)
frame.complete()
wall, cpu = time.perf_counter(), time.process_time()
after = correct_frame(frame, names, references, threads=int(threads))
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
differ = -1
if theirs:
    differ = 0
    fits = open_fits(Path(theirs))
    for hdu in fits.hdus[1:]:
        imset = after.imsets[hdu.version - 1]
        plane = {"SCI": imset.sci, "ERR": imset.err, "DQ": imset.dq}[hdu.name]
        differ += int(np.count_nonzero(plane != view(fits, hdu)))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"wall": wall, "cpu": cpu, "import": imported, "peak": peak, "differ": differ}))
"""


def run(command: list[str], folder: Path, references: Path) -> tuple[float, float, str]:
    """Run a command; give wall seconds, processor seconds and its standard output."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "jref": f"{references}/"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        message = f"{command[0]} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        raise RuntimeError(message)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, done.stdout


def compare(mode: str, seed: int, thread_numbers: list[int], runs: int, calacs: Path | None, work: Path) -> None:
    """Time one full-frame exposure of a mode, ours and theirs in turn, and count pixels that differ."""
    dataset = make_dataset(work / "set", mode=mode, seed=seed, full_frame=True, exposures=1)
    references = dataset.crds / "references" / "hst"
    raw = stage(dataset, work / "run", {"PCTECORR": "PERFORM"})[0]
    root = raw.name.removesuffix("_raw.fits")
    uncorrected, corrected = (raw.parent / f"{root}_{kind}_tmp.fits" for kind in ("blv", "blc"))
    if calacs is not None:
        run([str(calacs / "acsccd.e"), raw.name], raw.parent, references)
    for threads in thread_numbers:
        ours: list[dict[str, float]] = []
        theirs: list[tuple[float, float]] = []
        for _ in range(runs):
            if calacs is not None:
                corrected.unlink(missing_ok=True)
                command = [str(calacs / "acscte.e"), "--nthreads", str(threads), uncorrected.name]
                theirs.append(run(command, raw.parent, references)[:2])
            other = str(corrected) if theirs else ""
            command = [sys.executable, "-c", OURS, str(raw), str(references), str(threads), other]
            ours.append(json.loads(run(command, raw.parent, references)[2].splitlines()[-1]))
        wall = statistics.median(one["wall"] for one in ours)
        cpu = statistics.median(one["cpu"] for one in ours)
        line = f"{mode:10} {threads} threads: ours {wall:6.1f} s ({cpu:5.1f} s CPU, {ours[-1]['peak']:.0f} MB at most"
        line += f", imports {ours[-1]['import']:.1f} s)"
        if theirs:
            other_wall = statistics.median(one[0] for one in theirs)
            other_cpu = statistics.median(one[1] for one in theirs)
            ratios = [they[0] / one["wall"] for they, one in zip(theirs, ours, strict=True)]
            line += f"; acscte.e {other_wall:6.1f} s ({other_cpu:5.1f} s CPU); ratio {statistics.median(ratios):.1f}"
            line += f" (CPU {other_cpu / cpu:.1f}); pixels that differ: {max(int(one['differ']) for one in ours)}"
        print(line, flush=True)


def grow(figure: Path | None, work: Path) -> None:
    """Time 128 columns of one amplifier against the level of the sky and the number of bright pixels."""
    from acsrecipe.engines.embedded.cte.correct import correct_amp, sensitivity, smooth_frame
    from acsrecipe.engines.embedded.cte.forward import trail_amp
    from acsrecipe.engines.embedded.cte.table import read_table
    from acsrecipe.engines.embedded.cte.workers import Workers

    dataset = make_dataset(work / "set", mode="pre_dth", exposures=1)
    table = read_table(next((dataset.crds / "references" / "hst").glob("*_cte.fits")))
    traps, fraction, noise = table.parallel, 0.8, 4.5
    columns, rows = 128, 2048
    chosen = sensitivity(traps, "C", 0, columns)

    def seconds(sky: float, bright: float) -> tuple[float, float]:
        rng = np.random.default_rng(1)
        scene = rng.poisson(sky, (columns, rows)).astype(np.float32)
        hit = rng.random(scene.shape) < bright
        scene[hit] += np.minimum(rng.pareto(1.0, int(hit.sum())) * 100, 80000).astype(np.float32)
        frame = trail_amp(scene, traps, chosen, fraction=fraction)
        frame += rng.normal(0, noise, frame.shape).astype(np.float32)
        with Workers(1, 1, None, None) as workers:
            best = []
            for _ in range(3):
                start = time.process_time()
                smooth_frame(frame, noise, workers)
                smoothed = time.process_time() - start
                start = time.process_time()
                correct_amp(
                    frame.copy(),
                    np.ones_like(frame),
                    traps,
                    chosen,
                    fraction=fraction,
                    noise=noise,
                    threshold=table.threshold,
                    ease=table.ease,
                    workers=workers,
                )
                best.append((smoothed, time.process_time() - start))
        scale = 8192 / columns
        return scale * min(one[0] for one in best), scale * min(one[1] for one in best)

    seconds(10, 0.001)  # compiles
    skies = [1, 3, 10, 30, 100, 300, 1000, 3000]
    shares = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1]
    by_sky = [seconds(sky, 0.01) for sky in skies]
    by_share = [seconds(50, share) for share in shares]
    print("processor seconds for four amplifiers, parallel only: smoothing, all")
    for sky, (smoothed, total) in zip(skies, by_sky, strict=True):
        print(f"sky {sky:6} electrons, 1 % bright pixels: {smoothed:5.1f} {total:6.1f}")
    for share, (smoothed, total) in zip(shares, by_share, strict=True):
        print(f"sky 50 electrons, {100 * share:5.2f} % bright pixels: {smoothed:5.1f} {total:6.1f}")
    if figure is None:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawing, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
    for panel, x, points, label in (
        (panels[0], skies, by_sky, "sky, electrons (1 % bright pixels)"),
        (panels[1], [100 * share for share in shares], by_share, "bright pixels, % (sky 50 electrons)"),
    ):
        panel.semilogx(x, [point[1] for point in points], "o-", label="whole correction")
        panel.semilogx(x, [point[0] for point in points], "s--", label="of it smoothing")
        panel.set(xlabel=label, ylim=(0, None))
    panels[0].set_ylabel("processor seconds, 4 amps")
    panels[0].legend(frameon=False)
    drawing.savefig(figure, dpi=110)
    print(f"drawn: {figure}")


def recover(figure: Path | None, work: Path) -> None:
    """Trail a scene of sky and hot pixels, add noise, correct it, and see what is left behind the hot pixels."""
    from acsrecipe.engines.embedded.cte.correct import correct_amp, sensitivity
    from acsrecipe.engines.embedded.cte.forward import trail_amp
    from acsrecipe.engines.embedded.cte.table import read_table
    from acsrecipe.engines.embedded.cte.workers import Workers

    dataset = make_dataset(work / "set", mode="pre_dth", exposures=1)
    table = read_table(next((dataset.crds / "references" / "hst").glob("*_cte.fits")))
    traps, fraction, noise, sky, bright = table.parallel, 0.8, 4.5, 30.0, 2000.0
    columns, rows, behind = 1024, 2048, 60
    chosen = sensitivity(traps, "C", 0, columns)
    rng = np.random.default_rng(1)
    scene = rng.poisson(sky, (columns, rows)).astype(np.float32)
    hot = rng.integers(1500, rows - behind - 1, columns)
    scene[np.arange(columns), hot] += bright
    trailed = trail_amp(scene, traps, chosen, fraction=fraction)
    noisy = trailed + rng.normal(0, noise, scene.shape).astype(np.float32)
    corrected = noisy.copy()
    with Workers(2, 1, None, None) as workers:
        correct_amp(
            corrected,
            np.ones_like(corrected),
            traps,
            chosen,
            fraction=fraction,
            noise=noise,
            threshold=table.threshold,
            ease=table.ease,
            workers=workers,
        )
    offsets = np.arange(-5, behind)
    profiles = {
        name: np.array([np.mean((frame - scene)[np.arange(columns), hot + k]) for k in offsets])
        for name, frame in (("trailed", noisy), ("corrected", corrected))
    }
    error = noise / np.sqrt(columns)
    for name, profile in profiles.items():
        print(
            f"{name:9}: hot pixel of {bright:.0f} e {profile[5]:+7.2f}, first row behind {profile[6]:+6.2f},"
            f" rows 2 to 59 behind {profile[7:].sum():+7.2f} in all, sky before it {profile[:5].mean():+6.3f}"
            f" (noise of one row {error:.2f})"
        )
    if figure is None:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawing, panel = plt.subplots(figsize=(6, 3), layout="constrained")
    for (name, profile), style in zip(profiles.items(), ("o-", "s-"), strict=True):
        panel.plot(offsets[6:], profile[6:], style, ms=3, label=name)
    panel.axhline(0, color="0.6", lw=0.8)
    panel.set(xlabel=f"rows behind a hot pixel of {bright:.0f} electrons", ylabel="electrons, less the truth")
    panel.legend(frameon=False)
    drawing.savefig(figure, dpi=110)
    print(f"drawn: {figure}")


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calacs", type=Path, help="folder of acsccd.e and acscte.e (default: where calacs.e is)")
    parser.add_argument("--modes", nargs="+", default=["pre_dth", "post_full"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--growth", action="store_true", help="time against sky and bright pixels instead")
    parser.add_argument("--truth", action="store_true", help="trail hot pixels and see what the correction leaves")
    parser.add_argument("--figure", type=Path, help="with --growth or --truth: draw it")
    parser.add_argument("--work", type=Path, help="an empty or new folder for data (default: a temporary one)")
    chosen = parser.parse_args()
    found = shutil.which("calacs.e")
    calacs = chosen.calacs or (Path(found).parent if found else None)
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        if chosen.growth:
            grow(chosen.figure, work / "growth")
            return
        if chosen.truth:
            recover(chosen.figure, work / "truth")
            return
        for mode in chosen.modes:
            compare(mode, chosen.seed, chosen.threads, chosen.runs, calacs, work / f"{mode}-{chosen.seed}")


if __name__ == "__main__":
    main()

"""Compare the embedded engine with calacs.e, mode by mode: pixels, cards, times.

    python benchmarks/parity.py [--calacs PATH] [--modes pre_dth ...] [--seeds 1 2] [--true-size pre_dth ...]
                                [--cte pre_dth ...] [--write]

Data are made by the demo generator (no file of the telescope is needed); calacs.e must be installed, for
comparison on one's own machine. Frames are small, but for the modes under --true-size and those that exist at
true size only. --cte names modes to run with PCTECORR too. --write puts the table into docs/engines.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.demo.modes import MODES
from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.fitsfile import FitsFile, Hdu, open_fits, view
from acsrecipe.engines.embedded.pipeline import VERSION, calibrate

DOCS = Path(__file__).resolve().parents[1] / "docs" / "engines.md"
BEGIN, END = "<!-- parity: begin -->", "<!-- parity: end -->"

# Cards that must differ (docs/engines.md says so).
LISTED = ("DATE    ", "CAL_VER ", "HISTORY Calibrated by")


@dataclass
class Tally:
    """What differs in one mode, over all seeds, exposures and imsets."""

    products: int = 0
    pixels: dict[str, int] = field(default_factory=lambda: {"SCI": 0, "ERR": 0, "DQ": 0})
    differing: dict[str, int] = field(default_factory=lambda: {"SCI": 0, "ERR": 0, "DQ": 0})
    ulps: int = 0
    first: str = ""
    cards: int = 0
    card: str = ""
    calacs: list[float] = field(default_factory=list)
    embedded: list[float] = field(default_factory=list)


def bits(fits: FitsFile, hdu: Hdu) -> np.ndarray | None:
    """Give a plane's pixels as the integers that store them."""
    stored = view(fits, hdu)
    return None if stored is None else stored.view(f">u{stored.dtype.itemsize}")


def ulps(a: np.ndarray, b: np.ndarray) -> int:
    """Give the largest distance between stored numbers, in units in the last place."""
    signed = [x.astype(np.int64) for x in (a, b)]
    limit = 1 << (8 * a.dtype.itemsize - 1)
    ordered = [np.where(x >= limit, limit - x, x) for x in signed]
    return int(np.abs(ordered[0] - ordered[1]).max())


def compare(mine: Path, theirs: Path, tally: Tally) -> None:
    """Add the differences of two products to a tally."""
    ours, expected = open_fits(mine), open_fits(theirs)
    tally.products += 1
    if [(h.name, h.version, h.shape, h.bitpix) for h in ours.hdus] != [
        (h.name, h.version, h.shape, h.bitpix) for h in expected.hdus
    ]:
        tally.cards += 1
        tally.card = tally.card or f"{mine.name}: other HDUs"
    for a, b in zip(ours.hdus, expected.hdus, strict=False):
        left = [c for c in a.cards if not c.startswith(LISTED)]
        right = [c for c in b.cards if not c.startswith(LISTED)]
        if left != right:
            odd = [c for c in left if c not in right] or [c for c in right if c not in left] or ["order of cards"]
            tally.cards += max(len(odd), 1)
            tally.card = tally.card or f"{mine.name}[{a.name},{a.version}] {odd[0].strip()}"
        x, y = bits(ours, a), bits(expected, b)
        if x is None or y is None or x.shape != y.shape:
            if (x is None) != (y is None) or (x is not None and y is not None):
                tally.differing[a.name] = tally.differing.get(a.name, 0) + 1
                tally.first = tally.first or f"{mine.name}[{a.name},{a.version}] shape"
            continue
        differ = x != y
        tally.pixels[a.name] += x.size
        count = int(differ.sum())
        if count:
            tally.differing[a.name] += count
            where = np.argwhere(differ)[0]
            tally.first = tally.first or f"{mine.name}[{a.name},{a.version}] pixel ({where[1] + 1}, {where[0] + 1})"
            if a.name != "DQ":
                tally.ulps = max(tally.ulps, ulps(x[differ], y[differ]))


def edit(source: Path, target: Path, changes: dict[str, str]) -> None:
    """Copy a RAW file with some primary switches changed."""
    data = bytearray(source.read_bytes())
    for start in range(0, open_fits(source).hdus[0].offset, 80):
        card = data[start : start + 80].decode("latin-1")
        keyword = card[:8].strip()
        if keyword in changes:
            cards = [card]
            header.put_text(cards, keyword, changes[keyword])
            data[start : start + 80] = cards[0].encode("latin-1")
    target.write_bytes(data)


def stage(dataset: Dataset, folder: Path, changes: dict[str, str]) -> list[Path]:
    """Lay RAW, SPT and ASN files into a folder."""
    folder.mkdir(parents=True)
    for path in sorted(dataset.data.iterdir()):
        if path.name.endswith("_raw.fits"):
            edit(path, folder / path.name, changes)
        else:
            shutil.copy(path, folder)
    return sorted(folder.glob("*_raw.fits"))


def run_calacs(executable: str, folder: Path, names: list[str], references: Path) -> float:
    """Run calacs.e in a folder, on one file after the other, and give the seconds."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "jref": f"{references}/"}
    start = time.perf_counter()
    for name in names:
        done = subprocess.run(
            [executable, name],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            tail = done.stdout.decode("latin-1").strip().splitlines()[-5:]
            message = f"calacs.e failed on {name} with {done.returncode}:\n" + "\n".join(tail)
            raise RuntimeError(message)
    return time.perf_counter() - start


def try_mode(name: str, seed: int, work: Path, executable: str, tally: Tally, *, full_frame: bool, cte: bool) -> None:
    """Make a data set, calibrate it with both engines, compare."""
    dataset = make_dataset(work / "data", seed=seed, mode=name, full_frame=full_frame)
    references = dataset.crds / "references" / "hst"
    changes = {"PCTECORR": "PERFORM" if cte else "OMIT"}
    raws = stage(dataset, work / "calacs", changes)
    grouped = bool(dataset.association) and MODES[name].member != "EXP-DTH"
    association = work / "calacs" / f"{dataset.association}_asn.fits"
    inputs = [association.name] if grouped else [raw.name for raw in raws]
    output = work / "embedded"
    output.mkdir()
    own = stage(dataset, work / "raw", changes)
    start = time.perf_counter()
    mine = calibrate(own, references, output, association=work / "raw" / association.name if grouped else None)
    tally.embedded.append((time.perf_counter() - start) / len(raws))
    tally.calacs.append(run_calacs(executable, work / "calacs", inputs, references) / len(raws))
    theirs = sorted(
        path.name
        for path in (work / "calacs").glob("*.fits")
        if path.name.rpartition("_")[2] in ("flt.fits", "flc.fits", "crj.fits", "crc.fits")
    )
    if sorted(path.name for path in mine) != theirs:
        tally.cards += 1
        tally.card = tally.card or f"other products: {sorted(p.name for p in mine)} and {theirs}"
    for path in mine:
        if path.name in theirs:
            compare(path, work / "calacs" / path.name, tally)


def rows(tallies: dict[str, Tally]) -> Iterator[str]:
    """Write the table, in Markdown."""
    yield (
        "| mode | what it is | products | SCI, ERR, DQ pixels that differ "
        "| cards that differ | calacs.e, s | embedded, s |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, tally in tallies.items():
        pixels = ", ".join(str(tally.differing[plane]) for plane in ("SCI", "ERR", "DQ"))
        if tally.first:
            pixels += f" (up to {tally.ulps} ulp; first {tally.first})"
        cards = f"{tally.cards} ({tally.card})" if tally.cards else "listed ones only"
        times = " | ".join(f"{np.median(t):.2f}" for t in (tally.calacs, tally.embedded))
        mode = MODES[name.split(" ")[0]]
        total = sum(tally.pixels.values())
        yield f"| {name} | {mode.summary} | {tally.products} | {pixels} of {total} | {cards} | {times} |"


def main() -> int:
    """Compare, print the table, and say 1 when anything differs that should not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calacs", default=shutil.which("calacs.e"), help="the program; default: on the PATH")
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES), metavar="MODE")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--true-size", nargs="*", default=[], choices=list(MODES), metavar="MODE")
    parser.add_argument("--cte", nargs="*", default=[], choices=list(MODES), metavar="MODE")
    parser.add_argument("--write", action="store_true", help="put the table into docs/engines.md")
    options = parser.parse_args()
    if options.calacs is None:
        parser.error("calacs.e is not on the PATH (conda-forge package hstcal); name it with --calacs")
    tallies: dict[str, Tally] = {}
    wanted = [(name, False, MODES[name].true_size) for name in options.modes]
    wanted += [(name, False, True) for name in options.true_size if not MODES[name].true_size]
    wanted += [(name, True, False) for name in options.cte]
    for name, cte, true_size in wanted:
        label = name + (" with CTE" if cte else "") + (" (true size)" if true_size else "")
        tally = tallies.setdefault(label, Tally())
        for seed in options.seeds[:1] if true_size else options.seeds:
            with tempfile.TemporaryDirectory(prefix="parity-") as work:
                try:
                    try_mode(name, seed, Path(work), options.calacs, tally, full_frame=true_size, cte=cte)
                except Exception as error:  # one mode that fails must not hide the others
                    tally.cards += 1
                    tally.card = tally.card or f"{type(error).__name__}: {error}".replace("\n", " ")
        print(list(rows({label: tally}))[-1], flush=True)
    text = "\n".join(rows(tallies))
    if options.write:
        before, _, rest = DOCS.read_text().partition(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{VERSION}, numpy {np.__version__}.\n\n{text}\n{END}{rest.partition(END)[2]}")
    return int(any(t.cards or t.first for t in tallies.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Compare the embedded engine with calacs.e where a recipe or a reference asks for something unusual.

    python benchmarks/parity_variants.py [--calacs PATH] [--only TEXT ...]

Each case is a mode of the demo with some header cards or reference tables changed. Prints one line a case:
equal, or what differs; where calacs.e fails, whether the embedded engine does so too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from astropy.io import fits
from parity import Tally, compare, edit, run_calacs

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.modes import MODES
from acsrecipe.engines.embedded.pipeline import calibrate
from acsrecipe.errors import EngineError

Change = Callable[[fits.HDUList], None]


@dataclass(frozen=True)
class Case:
    """One comparison: header cards, and changes of references by the ending of their names (``_drk``)."""

    label: str
    mode: str
    cards: dict[str, str] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    references: dict[str, Change] = field(default_factory=dict)


def column(name: str, value: object) -> Change:
    """Set a whole column of the first table."""

    def change(hdus: fits.HDUList) -> None:
        hdus[1].data[name][:] = value

    return change


def columns(**values: object) -> Change:
    """Set several whole columns of the first table."""

    def change(hdus: fits.HDUList) -> None:
        for name, value in values.items():
            hdus[1].data[name][:] = value

    return change


def dummy(hdus: fits.HDUList) -> None:
    """Make a reference a dummy."""
    hdus[0].header["PEDIGREE"] = "DUMMY 01/01/2000"


def drift(hdus: fits.HDUList) -> None:
    """Name a virtual overscan, from which a drift along lines is fitted."""
    data = hdus[1].data
    below, above = data["TRIMY1"] == 20, data["TRIMY2"] == 20
    data["VY1"][below], data["VY2"][below] = 3, 18
    data["VY1"][above], data["VY2"][above] = data["NY"][above] - 17, data["NY"][above] - 2
    data["VX1"], data["VX2"] = data["TRIMX1"] + 1, data["NX"] - data["TRIMX2"]


def unused_as_zero(hdus: fits.HDUList) -> None:
    """Spell bias sections that are not there as 0, with which calacs finds no pixels."""
    for name in ("BIASSECTA1", "BIASSECTA2", "BIASSECTB1", "BIASSECTB2"):
        cells = hdus[1].data[name]
        cells[cells == 1] = 0


def low_saturation(hdus: fits.HDUList) -> None:
    """Make many pixels saturated."""
    for version in (1, 2):
        hdus["SCI", version].data *= 0.001


def zeros(hdus: fits.HDUList) -> None:
    """Put zeros into a flat."""
    for version in (1, 2):
        hdus["SCI", version].data[3:9, 5:50] = 0


def cases() -> Iterator[Case]:
    """Give all cases."""
    for name in ("DQICORR", "BIASCORR", "FLATCORR", "DARKCORR", "PHOTCORR", "EXPSCORR"):
        yield Case(f"{name} omitted", "pre_dth", {name: "OMIT"})
    yield Case("FLSHCORR omitted", "post_dth", {"FLSHCORR": "OMIT"})
    yield Case("only PHOTCORR", "pre_dth", {"DARKCORR": "OMIT", "FLATCORR": "OMIT"})
    late = {"DARKCORR": "OMIT", "FLATCORR": "OMIT", "PHOTCORR": "OMIT"}
    yield Case("detector stage only", "pre_dth", late)
    early = {"BIASCORR": "OMIT", "DQICORR": "OMIT"}
    yield Case("constant quality plane", "pre_sub", {**early, **late})
    yield Case("constant error plane", "pre_sub", {**early, **late, "TARGNAME": "BIAS"})
    yield Case("constant error plane, divided", "pre_sub", {**early, "DARKCORR": "OMIT", "TARGNAME": "BIAS"})
    yield Case("no BPIXTAB", "pre_dth", {"BPIXTAB": "N/A"})
    yield Case("delta flat", "pre_dth", named={"DFLTFILE": "_pfl"})
    yield Case("delta flat only", "pre_sub", {"PFLTFILE": "N/A"}, {"DFLTFILE": "_pfl"})
    for mode in ("pre_dth", "post_dth", "pre_sub", "post_sub2k", "post_sub512", "pre_sub1k_old", "pre_ad"):
        yield Case(f"sinks, {mode}", mode, {"SINKCORR": "PERFORM"}, {"SNKCFILE": "_snk"})
    for ending in ("_drk", "_bia", "_pfl", "_bpx", "_imp", "_sat"):
        yield Case(f"dummy {ending[1:]}", "pre_dth", references={ending: dummy})
    for mode in ("pre_dth", "pre_sub", "pre_ad", "post_sub2k", "pre_sub1k_old"):
        yield Case(f"drift along lines, {mode}", mode, references={"_osc": drift})
        yield Case(f"low saturation, {mode}", mode, references={"_sat": low_saturation})
    for mode in ("pre_sub", "post_sub1k", "pre_sub1k_old"):
        yield Case(f"unused sections as 0, {mode}", mode, references={"_osc": unused_as_zero})
    for mode in ("pre_dth", "post_dth", "pre_sub", "pre_sub512_old"):
        yield Case(f"no row in OSCNTAB, {mode}", mode, references={"_osc": column("NX", 77)})
    yield Case("converter saturates early", "pre_dth", references={"_ccd": column("ATODSAT", 2400)})
    yield Case("zeros in the flat", "pre_dth", references={"_pfl": zeros})
    yield Case("no bad pixels of these chips", "pre_dth", references={"_bpx": column("CCDCHIP", 5)})
    mine = columns(CCDAMP="ABCD", CCDGAIN=2.0)
    for mode in ("pre_dth", "pre_gain1"):
        yield Case(f"bad pixels of ABCD at gain 2, {mode}", mode, references={"_bpx": mine})
    for mode, change in (
        ("pre_cr3", {"INITGUES": "min"}),
        ("pre_cr", {"SKYSUB": "none"}),
        ("pre_cr3", {"BADINPDQ": 148}),
        ("pre_cr", {"BADINPDQ": 32767}),
        ("pre_cr3", {"CRRADIUS": 0.0}),
        ("pre_cr", {"CRRADIUS": 1.0}),
        ("pre_cr", {"CRTHRESH": -1.0}),
        ("pre_cr3", {"CRSIGMAS": "4"}),
        ("pre_cr", {"CRMASK": False}),
        ("post_cr", {"CRSIGMAS": "3,2", "BADINPDQ": 4}),
        ("pre_rpt", {"SCALENSE": 0.0}),
        ("pre_rpt", {"INITGUES": "min", "BADINPDQ": 255}),
    ):
        spelt = ", ".join(f"{name} {value}" for name, value in change.items())
        yield Case(f"{spelt}, {mode}", mode, references={"_crr": columns(**change)})


def compare_case(case: Case, work: Path, executable: str) -> str:
    """Run both engines, and say how they compare."""
    dataset = make_dataset(work / "data", seed=3, mode=case.mode)
    references = dataset.crds / "references" / "hst"
    for ending, change in case.references.items():
        for path in references.glob(f"*{ending}*.fits"):
            with fits.open(path, mode="update") as hdus:
                change(hdus)
    cards = {"PCTECORR": "OMIT", **case.cards}
    for keyword, ending in case.named.items():
        cards[keyword] = f"jref${sorted(references.glob(f'*{ending}.fits'))[-1].name}"
    folder, own, output = (work / name for name in ("calacs", "raw", "embedded"))
    folder.mkdir()
    output.mkdir()
    for path in sorted(dataset.data.iterdir()):
        if path.name.endswith("_raw.fits"):
            edit(path, folder / path.name, cards)
        else:
            shutil.copy(path, folder)
    shutil.copytree(folder, own)
    grouped = bool(dataset.association) and MODES[case.mode].member != "EXP-DTH"
    table = f"{dataset.association}_asn.fits"
    raws = sorted(own.glob("*_raw.fits"))
    theirs = mine = ""
    products: list[Path] = []
    try:
        products = calibrate(raws, references, output, association=own / table if grouped else None)
    except EngineError as error:
        mine = error.message
    try:
        run_calacs(executable, folder, [table] if grouped else [raw.name for raw in raws], references)
    except RuntimeError as error:
        theirs = str(error).splitlines()[0]
    if mine or theirs:
        both = "both fail" if mine and theirs else "DIFFERS"
        return f"{both}: {theirs or 'calacs.e does not'}; embedded: {mine or 'does not'}"
    tally = Tally()
    for path in products:
        compare(path, folder / path.name, tally)
    if tally.first or tally.cards:
        return f"DIFFERS: {tally.differing} {tally.first} {tally.card}"
    return f"equal ({tally.products} products, {sum(tally.pixels.values())} pixels)"


def main() -> int:
    """Compare all cases, and say 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calacs", default=shutil.which("calacs.e"))
    parser.add_argument("--only", nargs="*", default=[], help="cases whose label has one of these words")
    options = parser.parse_args()
    if options.calacs is None:
        parser.error("calacs.e is not on the PATH (conda-forge package hstcal); name it with --calacs")
    worst = 0
    for case in cases():
        if options.only and not any(word in case.label for word in options.only):
            continue
        with tempfile.TemporaryDirectory(prefix="variant-") as work:
            said = compare_case(case, Path(work), options.calacs)
        worst = max(worst, int("DIFFERS" in said))
        print(f"{case.label:45} {said}", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())

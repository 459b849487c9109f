"""The embedded engine against calacs.e's own products: the golden mini sets, pixel by pixel and card by card."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from acsrecipe.engines.embedded import pipeline
from acsrecipe.engines.embedded.fitsfile import FitsFile, Hdu, open_fits, view
from acsrecipe.engines.embedded.pipeline import VERSION, calibrate
from acsrecipe.errors import EngineError


def with_primary(raw: Path, header: Path, target: Path) -> Path:
    """Write a RAW file whose primary header is the one calacs saw (after switches and bestrefs)."""
    lines = header.read_text().split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    block = "".join(line.ljust(80) for line in [*lines, "END"]).encode("latin-1")
    block = block.ljust(-(-len(block) // 2880) * 2880)
    old = open_fits(raw).hdus[1]
    data = raw.read_bytes()
    start = data.rindex(b"XTENSION", 0, old.offset)
    target.write_bytes(block + data[start:])
    return target


def stage(golden: Path, folder: Path) -> list[Path]:
    """Lay the RAW files of a golden set into a folder, as calacs saw them."""
    folder.mkdir()
    return [
        with_primary(
            raw, golden / "expected" / raw.name.replace(".fits", "_primary_after_bestrefs.txt"), folder / raw.name
        )
        for raw in sorted((golden / "data").glob("*_raw.fits"))
    ]


def pixel_bits(fits: FitsFile, hdu: Hdu) -> np.ndarray | None:
    stored = view(fits, hdu)
    return None if stored is None else stored.view(f"u{stored.dtype.itemsize}")


def comparable(hdu: Hdu) -> list[str]:
    """The cards of an HDU, but those that must differ: the day, and who calibrated."""
    skip = ("DATE    ", "CAL_VER ")
    mine = f"HISTORY Calibrated by {VERSION}"
    return [card for card in hdu.cards if not card.startswith(skip) and card.rstrip() != mine]


@pytest.mark.parametrize("name", ["pre_dth", "pre_sub", "post_dth", "post_sub2k", "pre_cr"])
def test_every_product_equals_calacs_in_every_pixel_and_card(name: str, shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / name
    raws = stage(golden, tmp_path / "raw")
    output = tmp_path / "out"
    output.mkdir()
    grouped = name == "pre_cr"
    association = golden / "data" / "j9sy01010_asn.fits" if grouped else None
    products = calibrate(raws, golden / "crds" / "references" / "hst", output, association=association)
    assert {p.name for p in products} == {p.name for p in (golden / "expected").glob("*.fits")}
    for product in products:
        mine, theirs = open_fits(product), open_fits(golden / "expected" / product.name)
        assert [(h.name, h.version, h.shape, h.bitpix) for h in mine.hdus] == [
            (h.name, h.version, h.shape, h.bitpix) for h in theirs.hdus
        ]
        for a, b in zip(mine.hdus, theirs.hdus, strict=True):
            assert comparable(a) == comparable(b)
            ours, expected = pixel_bits(mine, a), pixel_bits(theirs, b)
            if ours is None or expected is None:
                assert ours is expected is None
                continue
            differ = np.argwhere(ours != expected)
            assert not differ.size, f"{product.name}[{a.name},{a.version}] differs first at {differ[0]}"


def test_a_product_says_who_made_it_and_does_not_claim_to_be_calacs(shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / "pre_sub"
    raws = stage(golden, tmp_path / "raw")
    (product,) = calibrate(raws, golden / "crds" / "references" / "hst", tmp_path)
    cards = open_fits(product).hdus[0].cards
    stamp = next(card for card in cards if card.startswith("CAL_VER"))
    assert VERSION in stamp
    assert any(card.rstrip() == f"HISTORY Calibrated by {VERSION}" for card in cards)
    assert (tmp_path / product.name.replace("_flt.fits", ".tra")).read_text().startswith(VERSION)


def test_raw_files_are_left_as_they_were(shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / "pre_sub"
    raws = stage(golden, tmp_path / "raw")
    before = [raw.read_bytes() for raw in raws]
    calibrate(raws, golden / "crds" / "references" / "hst", tmp_path)
    assert [raw.read_bytes() for raw in raws] == before


def without_cte(raw: Path) -> None:
    raw.write_bytes(raw.read_bytes().replace(b"PCTECORR= 'PERFORM '", b"PCTECORR= 'OMIT    '"))


def test_several_exposures_at_once_give_the_products_of_one_at_a_time(shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / "pre_dth"
    raws = stage(golden, tmp_path / "raw")
    for raw in raws:
        without_cte(raw)
    products: list[list[bytes]] = []
    for threads in (1, 2, 4):
        output = tmp_path / f"out{threads}"
        output.mkdir()
        made = calibrate(raws, golden / "crds" / "references" / "hst", output, threads=threads)
        assert [path.name for path in made] == [raw.name.replace("_raw", "_flt") for raw in raws]
        products.append([path.read_bytes() for path in made])
    assert products[0] == products[1] == products[2]


def test_the_first_of_several_failures_is_told_and_nothing_hangs(shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / "pre_dth"
    raws = stage(golden, tmp_path / "raw")
    for raw in raws:
        without_cte(raw)
    raws[1].write_bytes(raws[1].read_bytes()[:-5000])
    with pytest.raises(EngineError, match="cut short") as caught:
        calibrate(raws, golden / "crds" / "references" / "hst", tmp_path, threads=2)
    assert str(raws[1]) in str(caught.value.where)


def test_after_a_failure_exposures_that_wait_are_not_begun(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = shared_dir / "golden" / "pre_dth"
    (raw, *_) = stage(golden, tmp_path / "raw")
    without_cte(raw)
    begun: list[Path] = []
    failed = threading.Event()

    def calibrate_unit(unit: pipeline._Unit, _job: object) -> list[Path]:
        begun.append(unit.exposures[0])
        if len(begun) == 2:
            failed.set()
            raise EngineError("the second one fails")
        failed.wait()
        time.sleep(0.2)
        return []

    monkeypatch.setattr(pipeline, "_calibrate_unit", calibrate_unit)
    with pytest.raises(EngineError, match="the second one fails"):
        calibrate([raw] * 8, tmp_path, tmp_path, threads=2)
    assert len(begun) <= 4


def test_machine_code_once_made_needs_no_numba(shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / "pre_sub"
    (raw,) = stage(golden, tmp_path / "raw")
    without_cte(raw)
    code = (
        "import sys; from pathlib import Path; from acsrecipe.engines.embedded.pipeline import calibrate; "
        f"calibrate([Path({str(raw)!r})], Path({str(golden / 'crds' / 'references' / 'hst')!r}), Path(sys.argv[1])); "
        "print('numba' in sys.modules)"
    )
    said = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", code, str(tmp_path / name)]
        said.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    assert said[1] == "False"

"""The CTE correction against calacs.e's own FLC products: the golden mini sets, pixel by pixel and card by card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cte.stage import correct_frame
from acsrecipe.engines.embedded.detector import process_detector
from acsrecipe.engines.embedded.fitsfile import FitsFile, hdu_of, open_fits, view
from acsrecipe.engines.embedded.history import switch
from acsrecipe.engines.embedded.image import plan_image
from acsrecipe.engines.embedded.product import Product, write_product
from acsrecipe.engines.embedded.references import References

SWITCHES = ("DARKCORR", "FLSHCORR", "FLATCORR", "SHADCORR", "PHOTCORR", "EXPSCORR")


def as_calacs_saw_it(raw: Path, after_bestrefs: Path, target: Path) -> Path:
    """Write a RAW file with the primary header that the golden set was calibrated with."""
    lines = after_bestrefs.read_text().rstrip("\n").split("\n")
    lines = [line for line in lines if line.strip() and line.strip() != "END"]
    block = "".join(line.ljust(80) for line in [*lines, "END"]).encode("latin-1")
    data = raw.read_bytes()
    start = data.index(b"XTENSION")
    target.write_bytes(block.ljust(-(-len(block) // 2880) * 2880) + data[start:])
    return target


def exposures(golden: Path, folder: Path) -> list[Path]:
    return [
        as_calacs_saw_it(
            raw, golden / "expected" / raw.name.replace(".fits", "_primary_after_bestrefs.txt"), folder / raw.name
        )
        for raw in sorted((golden / "data").glob("*_raw.fits"))
    ]


def flc(raw: Path, names: header.Cards, references: References, product: Path) -> FitsFile:
    def say(_line: str) -> None:
        """Nobody listens."""

    before = process_detector(raw, names, references, say)
    before.complete()
    planes = [(imset.sci.copy(), imset.err.copy(), imset.dq.copy()) for imset in before.imsets]
    after = correct_frame(before, names, references, threads=2)
    for imset, kept in zip(before.imsets, planes, strict=True):
        for plane, old in zip((imset.sci, imset.err, imset.dq), kept, strict=True):
            np.testing.assert_array_equal(plane, old)
    switches = {name: switch(names, name, str(raw)) for name in SWITCHES}
    stage = plan_image(after, switches, names, references, say, cte=True)
    write_product(after, Product(product, stage, "OMIT", "test"))
    return open_fits(product)


@pytest.mark.parametrize("name", ["pre_dth", "post_dth", "pre_cr", "post_sub2k"])
def test_every_flc_equals_calacs_in_every_pixel_and_history_card(name: str, shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / name
    references = References(golden / "crds" / "references" / "hst")
    raws = exposures(golden, tmp_path)
    first = header.copied(open_fits(raws[0]).hdus[0].cards)
    for raw in raws:
        names = first if name == "pre_cr" else header.copied(open_fits(raw).hdus[0].cards)
        mine = flc(raw, names, references, tmp_path / raw.name.replace("_raw", "_flc"))
        theirs = open_fits(golden / "expected" / raw.name.replace("_raw", "_flc"))
        for hdu in theirs.hdus[1:]:
            expected, own = view(theirs, hdu), view(mine, hdu_of(mine, hdu.name, hdu.version))
            if expected is None or own is None:
                assert expected is own
                continue
            differ = np.argwhere(own != expected)
            assert not differ.size, f"{raw.name}[{hdu.name},{hdu.version}] differs first at {differ[0]}"
        told_primary = mine.hdus[0].cards
        for keyword in ("PCTECORR", "CTE_NAME", "CTE_VER", "PCTETAB"):
            assert header.text(told_primary, keyword) == header.text(theirs.hdus[0].cards, keyword)
        told, expected_history = (
            [card.rstrip() for card in cards if card.startswith("HISTORY")]
            for cards in (told_primary, theirs.hdus[0].cards)
        )
        assert [line for line in told if line not in expected_history] == ["HISTORY Calibrated by test"]
        start = expected_history.index("HISTORY CTE_NAME Par/Serial PixelCTE 2023 CTE algorithm name")
        end = expected_history.index("HISTORY CTE parameters table:")
        at = told.index(expected_history[start])
        assert told[at : at + end - start] == expected_history[start:end]

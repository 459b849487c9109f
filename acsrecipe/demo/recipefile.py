"""The recipe that is written beside a data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from acsrecipe.demo.headers import TARGET
from acsrecipe.demo.modes import Mode
from acsrecipe.demo.rules import CONTEXTS

_HEAD = """\
format = 1
name = "demo-{slug}"
description = "Synthetic ACS/WFC exposures made by acsrecipe demo: {summary}"

[observations]
ids = [{ids}]
archive = {{ folder = "data" }}
products = [{products}]
"""
_DITHERED = """
[association]
keep = { MEMTYPE = ["EXP-DTH"] }      # no PROD-DTH row: nothing is drizzled
"""
_SWITCHES = """
[switches]
PCTECORR = "OMIT"
"""
_CORRECTED = """
[switches]
PCTECORR = "PERFORM"                  # FLC files beside the FLT files
"""
_TARGET = """
[[headers]]
set = {{ TARGNAME = "NGC104" }}
where = {{ TARGNAME = "{target}" }}
reason = "one name for the cluster in all our proposals"
"""
_REFERENCES = """
[references]
context = "{context}"
cache = "crds"

[calibrate]
engine = "auto"

[[post]]
step = "updatewcs"
use_db = false

[[post]]
step = "compare-plot"
"""
_INTERNAL = """
[references]
context = "{context}"
cache = "crds"

[calibrate]
engine = "auto"
"""


def write_recipe(path: Path, name: str, mode: Mode, association: str, rootnames: Sequence[str]) -> None:
    """Write the recipe: what STScI's reduction notebook does by hand, for this data set.

    Parameters
    ----------
    path : Path
    name : str
        Of the mode.
    mode : Mode
    association : str
        Rootname, or empty.
    rootnames : sequence of str
    """
    ids = [association] if association else list(rootnames)
    products = ["RAW", "ASN", "SPT"] if association else ["RAW", "SPT"]
    sky = mode.imagetyp == "EXT"
    parts = [
        _HEAD.format(
            slug=name.replace("_", "-"),
            summary=mode.summary,
            ids=_list(i.upper() for i in ids),
            products=_list(products),
        ),
        _DITHERED if mode.member == "EXP-DTH" else "",
        (_CORRECTED if mode.traps else _SWITCHES) if sky else "",
        _TARGET.format(target=TARGET[0]) if sky else "",
        (_REFERENCES if sky else _INTERNAL).format(context=CONTEXTS[-1]),
    ]
    path.write_text("".join(parts))


def _list(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)

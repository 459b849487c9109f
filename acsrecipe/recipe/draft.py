"""A new recipe as text, with comments: an empty one to fill in, or one made from what is known of a product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from acsrecipe.recipe.keywords import REFERENCES, SWITCHES
from acsrecipe.recipe.toml_text import write_value

EMPTY = """\
format = 1
name = "my-recipe"                    # letters, digits, '-', '_', '.': products and logs carry it
description = ""

# Which exposures. The files are never changed: all edits are made on copies.
[observations]
ids = ["J9L960010"]                   # associations or exposures; wildcards (J9L960A*) work too
archive = { folder = "data" }         # a folder with RAW, ASN and SPT files, or "mast"

# Which rows of the association calacs sees.
[association]
keep = { MEMTYPE = ["EXP-DTH"] }      # no PROD-DTH row: nothing is drizzled

# Calibration switches, set before CRDS is asked: they decide which reference files are needed.
[switches]
PCTECORR = "OMIT"                     # "PERFORM" makes an FLC beside each FLT

# Any other header card, where a condition holds.
# [[headers]]
# set = { TARGNAME = "NGC104" }
# where = { TARGNAME = "NGC104-FIELD" }
# reason = "one name for the cluster"

# Reference files: "latest" is CRDS's newest context; `acsrecipe lock` pins what that is today.
[references]
context = "latest"
# cache = "crds"                                     # without it, CRDS_PATH
# override = { DARKFILE = "refs/our_drk.fits" }      # files of your own, set after CRDS has chosen

[calibrate]
engine = "auto"                       # calacs.e where it is installed, else the embedded engine

[[post]]
step = "updatewcs"
use_db = false                        # true asks the astrometry database over the network

[[post]]
step = "compare-plot"                 # RAW beside FLT, one PNG for each exposure
"""
"""What ``acsrecipe init`` gives."""


@dataclass(frozen=True)
class DraftHeader:
    """A ``[[headers]]`` block."""

    set: Mapping[str, Any]
    reason: str
    hdu: str = "PRIMARY"
    where: Mapping[str, Any] = field(default_factory=dict)
    changes_match: bool = False


@dataclass(frozen=True)
class Draft:
    """What is known of a recipe that does not exist yet; ``remarks`` and the second part of a pair are comments."""

    name: str
    description: str
    ids: Sequence[str]
    folder: str
    products: Sequence[str]
    switches: Mapping[str, str]
    headers: Sequence[DraftHeader]
    context: str
    cache: str
    override: Mapping[str, tuple[str, str]]
    engine: str
    post: Sequence[Mapping[str, Any]]
    stamp: bool = True
    remarks: Sequence[str] = ()


def write_draft(draft: Draft) -> str:
    """Write a draft as a recipe's text."""
    lines = [f"# {remark}" if remark else "#" for remark in draft.remarks]
    lines += ["", "format = 1", f"name = {write_value(draft.name)}", f"description = {write_value(draft.description)}"]
    lines += ["", "[observations]", f"ids = {write_value(list(draft.ids))}"]
    lines.append(f"archive = {{ folder = {write_value(draft.folder)} }}")
    lines.append(f"products = {write_value(list(draft.products))}")
    if draft.switches:
        lines += ["", "[switches]"]
        lines += [_with(f'{name} = "{value}"', SWITCHES.get(name, "")) for name, value in draft.switches.items()]
    for header in draft.headers:
        lines += ["", "[[headers]]"]
        if header.hdu != "PRIMARY":
            lines.append(f"hdu = {write_value(header.hdu)}")
        lines.append(f"set = {write_value(dict(header.set))}")
        if header.where:
            lines.append(f"where = {write_value(dict(header.where))}")
        if header.changes_match:
            lines.append("changes_match = true")
        lines.append(f"reason = {write_value(header.reason)}")
    lines += ["", "[references]", f"context = {write_value(draft.context)}"]
    if draft.cache:
        lines.append(f"cache = {write_value(draft.cache)}")
    if draft.override:
        lines += ["", "[references.override]"]
        for keyword, (path, remark) in sorted(draft.override.items()):
            lines.append(_with(f"{keyword} = {write_value(path)}", remark or REFERENCES.get(keyword, "")))
    lines += ["", "[calibrate]", f"engine = {write_value(draft.engine)}"]
    for step in draft.post:
        lines += ["", "[[post]]", *(f"{key} = {write_value(value)}" for key, value in step.items())]
    if not draft.stamp:
        lines += ["", "[provenance]", _with("stamp = false", "the product has none")]
    return "\n".join(lines).lstrip("\n") + "\n"


def _with(text: str, remark: str) -> str:
    return f"{text:<38}# {remark}" if remark else text

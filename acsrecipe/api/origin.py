"""From a product to the recipe that would make it, read out of its headers and its stamp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError, PlanError
from acsrecipe.inputs.cards import parse_value
from acsrecipe.inputs.crds_cache import CONTEXT_NAME, CrdsSettings, open_cache
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.members import ROOTNAME
from acsrecipe.inputs.model import HduHeader, Value
from acsrecipe.plan.changes import same_reference
from acsrecipe.plan.needs import CALIBRATION_SWITCHES, bare_name, is_named
from acsrecipe.recipe.draft import Draft, DraftHeader, write_draft
from acsrecipe.recipe.keywords import MATCHING, REFERENCES
from acsrecipe.run.stamp import read_stamps

COMBINED = ("crj", "crc", "sfl")
CALIBRATED = ("flt", "flc", *COMBINED)
PLACES = (".", "data", "..", "../data", "../../data")
"""Where the RAW file of a product is looked for, seen from its folder."""

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class _Known:
    """What there is to read of a product."""

    root: str
    suffix: str
    hdus: Sequence[HduHeader]
    rows: Rows
    raw: Sequence[HduHeader] | None
    data: str
    cache: str

    @property
    def primary(self) -> Mapping[str, Value]:
        return self.hdus[0].cards


def recipe_from_product(
    path: Path,
    *,
    environment: Environment | None = None,
    data: Path | None = None,
    cache: str = "",
    base: Path | None = None,
) -> str:
    """Write the recipe that would make a product: switches, overrides, context, engine, steps.

    Parameters
    ----------
    path : Path
        An FLT, FLC, CRJ or CRC file, ours or the archive's.
    environment : Environment, optional
        For the CRDS cache.
    data : Path, optional
        The folder of the RAW files; looked for near the product where not given.
    cache : str
        The CRDS cache, to tell references that CRDS chose from overrides.
    base : Path, optional
        The folder that the recipe will lie in: what is below it is named from there.

    Returns
    -------
    str
        TOML, with comments on what could not be known.

    Raises
    ------
    PlanError
        The file is no calibrated product of ACS.
    """
    hdus = read_headers(path, complete=False)
    stem, _, suffix = path.name.removesuffix(".fits").partition("_")
    root = stem.lower()
    if suffix not in CALIBRATED or not ROOTNAME.fullmatch(root):
        msg = f"is not named as a product of calacs: expected ROOTNAME_{'|'.join(CALIBRATED)}.fits"
        raise PlanError(msg, where=str(path), hint="a recipe is made from FLT, FLC, CRJ or CRC files", code="V015")
    if str(hdus[0].cards.get("INSTRUME") or "").strip() != "ACS":
        msg = f"INSTRUME is {hdus[0].cards.get('INSTRUME')!r}, expected 'ACS'"
        raise PlanError(msg, where=str(path), code="V015")
    folder = _find_data(path, root if suffix not in COMBINED else _first_member(read_stamps(path)), data)
    raw = None
    member = root if suffix not in COMBINED else _first_member(read_stamps(path))
    if folder is not None and member and (folder / f"{member}_raw.fits").is_file():
        raw = read_headers(folder / f"{member}_raw.fits")
    cache = cache or (environment.crds_path if environment else "")
    known = _Known(root, suffix, hdus, read_stamps(path), raw, _from(base, folder) if folder else "data", cache)
    return write_draft(_draft(known, path.name, base))


def _from(base: Path | None, path: Path) -> str:
    """Name a path as a recipe in ``base`` does: relative where it lies below, else absolute."""
    whole = path.resolve()
    start = base.resolve() if base is not None else None
    return str(whole.relative_to(start)) if start is not None and whole.is_relative_to(start) else str(whole)


def _find_data(path: Path, member: str, data: Path | None) -> Path | None:
    if data is not None:
        return data.resolve()
    for place in PLACES:
        folder = (path.parent / place).resolve()
        if member and (folder / f"{member}_raw.fits").is_file():
            return folder
    return None


def _first_member(rows: Rows) -> str:
    return rows[0]["FILE"].partition("_")[0] if rows else ""


def _draft(known: _Known, name: str, base: Path | None) -> Draft:
    asn = _association(known)
    remarks = [f"The recipe that makes {name}, read out of the file."]
    if not known.raw:
        remarks.append("Its RAW file was not found: every switch is written out, also those that the RAW has already.")
    context = str(known.primary.get("CRDS_CTX") or "")
    if not CONTEXT_NAME.fullmatch(context):
        remarks.append("The file names no CRDS context: the latest one may choose other references.")
        context = "latest"
    headers = _headers(known.rows)
    override, doubt = _override(known, context, headers)
    remarks += doubt
    return Draft(
        name=f"{known.root}-again",
        description=f"What made {name}",
        ids=[(asn or known.root).upper()],
        folder=known.data,
        products=["RAW", "ASN", "SPT"] if asn else ["RAW", "SPT"],
        switches=_switches(known),
        headers=headers,
        context=context,
        cache=_from(base, Path(known.cache)) if known.cache else "",
        override=override,
        engine=_engine(known.primary),
        post=_steps(known),
        stamp=bool(known.rows),
        remarks=remarks,
    )


def _association(known: _Known) -> str:
    """Name the association that has to be given: of combined products, and of their exposures."""
    if known.suffix not in COMBINED and not str(known.primary.get("ASN_MTYP") or "").startswith(("EXP-CR", "EXP-RP")):
        return ""
    table = str(known.primary.get("ASN_TAB") or "").partition("_")[0].lower()
    return table if ROOTNAME.fullmatch(table) else str(known.primary.get("ASN_ID") or known.root).lower()


def _switches(known: _Known) -> dict[str, str]:
    found = {}
    for switch in CALIBRATION_SWITCHES:
        value = str(known.primary.get(switch) or "").strip().upper()
        value = "PERFORM" if value in ("COMPLETE", "SKIPPED") else value
        delivered = str(known.raw[0].cards.get(switch) or "").strip().upper() if known.raw else ""
        if (
            value in ("PERFORM", "OMIT")
            and value != delivered
            and not (value == "OMIT" and known.raw and not delivered)
        ):
            found[switch] = value
    return found


def _headers(rows: Rows) -> list[DraftHeader]:
    """Make ``[[headers]]`` of what the stamp says a recipe had set; equal ones of all exposures are one block."""
    exposures = {row["FILE"] for row in rows}
    blocks: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        keyword = row["KEYWORD"]
        if row["KIND"] == "recipe" and keyword not in REFERENCES and not keyword.endswith("CORR"):
            key = (row["HDU"].partition(",")[0], keyword, row["NEW"], row["WHY"])
            blocks.setdefault(key, []).append(row["FILE"])
    found = []
    for (hdu, keyword, new, why), files in blocks.items():
        roots = sorted({file.partition("_")[0] for file in files})
        where: dict[str, Any] = {} if set(files) == exposures else {"ROOTNAME": roots}
        found.append(
            DraftHeader({keyword: parse_value(new)}, why or "as the product has it", hdu, where, keyword in MATCHING)
        )
    return found


def _override(
    known: _Known, context: str, headers: Sequence[DraftHeader]
) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Find the references that the context does not choose, with the file to use; and what is in doubt."""
    found: dict[str, tuple[str, str]] = {}
    for row in known.rows:
        if row["KIND"] == "recipe" and row["KEYWORD"] in REFERENCES:
            found[row["KEYWORD"]] = (row["WHY"].partition(" = ")[2] or bare_name(row["NEW"]), "")
    if known.rows:
        return found, []
    if not known.cache or context == "latest":
        return {}, ["Without its context's rules, references of the user's own can't be told from those of CRDS."]
    try:
        choices = _choose(known, context, headers)
    except AcsRecipeError as error:
        return {}, [f"References were not compared with the context's: {error.message}"]
    doubt = []
    cache = open_cache(CrdsSettings(cache=known.cache))
    for keyword, choice in sorted(choices.items()):
        value = known.primary.get(keyword)
        if not is_named(value) or not choice.name or same_reference(value, choice.name) or choice.irrelevant:
            continue
        if keyword == "BIASFILE" and known.raw is None:
            doubt.append("BIASFILE was not compared: without the RAW file its rule can't be followed.")
            continue
        name = bare_name(value).lower()
        path = cache.reference_path(name)
        remark = f"the context chooses {choice.name}"
        found[keyword] = (str(path), remark) if path.is_file() else (f"refs/{name}", f"{remark}; put the file there")
    return found, doubt


def _choose(known: _Known, context: str, headers: Sequence[DraftHeader]) -> dict[str, Any]:
    from acsrecipe.inputs.references import merge_headers, open_rules

    merged = dict(merge_headers(known.raw if known.raw is not None else known.hdus))
    for switch in CALIBRATION_SWITCHES:
        value = known.primary.get(switch)
        if value is not None:
            merged[switch] = "PERFORM" if str(value).strip() in ("COMPLETE", "SKIPPED") else value
    for header in headers:
        merged.update(header.set)
    return open_rules(CrdsSettings(cache=known.cache), context).choose(merged)


def _engine(primary: Mapping[str, Value]) -> str:
    stamped = str(primary.get("ACSR_ENG") or "").partition(" ")[0]
    if stamped in ("calacs", "embedded"):
        return stamped
    version = str(primary.get("CAL_VER") or "").strip()
    if "embedded" in version:
        return "embedded"
    return "calacs" if version[:1].isdigit() else "auto"


def _steps(known: _Known) -> list[dict[str, Any]]:
    science = next((hdu.cards for hdu in known.hdus if hdu.name == "SCI"), {})
    if known.suffix in COMBINED or not known.primary.get("UPWCSVER"):
        return []
    # Solutions that the database fits have a hyphen: IDC_0461802ej-FIT_REL_GAIADR2.
    return [{"step": "updatewcs", "use_db": "-" in str(science.get("WCSNAME") or "")}]

"""CRDS rules for the synthetic references: two contexts in a cache of their own, for use without a server."""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import json
import pprint
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from acsrecipe.demo.modes import Mode

CONTEXTS = ("hst_0001.pmap", "hst_0002.pmap")
"""Old and new."""
FIRST_USEAFTER = "2002-03-01 00:00:00"
SYNCED = "2026-01-01 00:00:00.000000"
_AMPS = "A|ABCD|AC|AD|B|BC|BD|C|D"
_GAINS = "0.5|1.0|1.4|2.0|4.0|8.0"
_BIAS_KEYS = "DETECTOR CCDAMP CCDGAIN APERTURE NAXIS1 NAXIS2 LTV1 LTV2 XCORNER YCORNER CCDCHIP"
_FLAT_KEYS = "DETECTOR CCDAMP FILTER1 FILTER2 OBSTYPE FW1OFFST FW2OFFST FWSOFFST"


@dataclass(frozen=True)
class Rule:
    """How CRDS chooses one type of reference.

    Attributes
    ----------
    suffix : str
        Of the file names.
    keys : str
        Keywords that are matched, beside date and time.
    match : tuple of str
        Their values; ``FILTER1`` and ``FILTER2`` stand for the exposure's own.
    relevance : str
        When it is needed at all.
    switch : str
        The switch that asks for it.
    renewed : str
        What the new context does: ``added`` a file with a later USEAFTER, ``replaced`` it, or nothing.
    more : mapping
        Further cards of the mapping's header.
    """

    suffix: str
    keys: str
    match: tuple[str, ...]
    relevance: str
    switch: str
    renewed: str = ""
    required: str = "YES"
    form: str = "TABLE"
    more: Mapping[str, object] = field(default_factory=dict)


RULES: dict[str, Rule] = {
    "BIASFILE": Rule(
        "bia",
        _BIAS_KEYS,
        ("WFC", _AMPS, _GAINS, *["N/A"] * 8),
        '((DETECTOR != "SBC") and (BIASCORR != "OMIT"))',
        "BIASCORR",
        "added",
        form="IMAGE",
        more={
            "extra_keys": ("XCORNER", "YCORNER", "CCDCHIP"),
            "hooks": {
                "fallback_header": "fallback_header_acs_biasfile_v2",
                "precondition_header": "precondition_header_acs_biasfile_v2",
            },
        },
    ),
    "BPIXTAB": Rule("bpx", "DETECTOR", ("WFC",), '(DQICORR != "OMIT")', "DQICORR", "replaced"),
    "CCDTAB": Rule("ccd", "DETECTOR", ("WFC",), '(DETECTOR != "SBC")', "NONE"),
    "CRREJTAB": Rule(
        "crr",
        "DETECTOR RPTCORR",
        ("WFC", "N/A"),
        '((DETECTOR != "SBC") and ((CRCORR != "OMIT") or (RPTCORR != "OMIT")))',
        "CRCORR",
    ),
    "D2IMFILE": Rule(
        "d2i",
        "",
        (),
        '((DETECTOR == "WFC") and (DRIZCORR != "OMIT"))',
        "DRIZCORR",
        required="NO",
        form="IMAGE",
    ),
    "DARKFILE": Rule(
        "drk",
        "DETECTOR CCDAMP CCDGAIN",
        ("WFC", _AMPS, _GAINS),
        '(DARKCORR != "OMIT")',
        "DARKCORR",
        "added",
        form="IMAGE",
    ),
    "DRKCFILE": Rule(
        "dkc",
        "DETECTOR CCDAMP CCDGAIN",
        ("WFC", _AMPS, _GAINS),
        '((DETECTOR == "WFC") and (PCTECORR != "OMIT"))',
        "PCTECORR",
        "added",
        required="NO",
        form="IMAGE",
    ),
    "FLSHFILE": Rule(
        "fls",
        "DETECTOR CCDAMP CCDGAIN FLASHCUR SHUTRPOS",
        ("WFC", _AMPS, _GAINS, "LOW", "A"),
        '((DETECTOR != "SBC" and FLASHCUR != "OFF") and (FLSHCORR != "OMIT"))',
        "FLSHCORR",
        form="IMAGE",
    ),
    "IDCTAB": Rule("idc", "DETECTOR", ("WFC",), "ALWAYS", "NONE"),
    "IMPHTTAB": Rule("imp", "DETECTOR", ("WFC",), '(PHOTCORR != "OMIT")', "PHOTCORR", "replaced"),
    "MDRIZTAB": Rule("mdz", "DETECTOR", ("WFC",), '(DRIZCORR != "OMIT")', "DRIZCORR"),
    "NPOLFILE": Rule(
        "npl",
        "DETECTOR FILTER1 FILTER2",
        ("WFC", "FILTER1", "FILTER2"),
        '(DRIZCORR != "OMIT")',
        "DRIZCORR",
        required="NO",
        form="IMAGE",
    ),
    "OSCNTAB": Rule("osc", "DETECTOR", ("WFC",), '(DETECTOR != "SBC")', "NONE"),
    "PCTETAB": Rule(
        "cte", "DETECTOR", ("WFC",), '((DETECTOR == "WFC") and (PCTECORR != "OMIT"))', "PCTECORR", required="NO"
    ),
    "PFLTFILE": Rule(
        "pfl",
        _FLAT_KEYS,
        ("WFC", _AMPS, "FILTER1", "FILTER2", "IMAGING", "N/A", "N/A", "N/A"),
        '((OBSTYPE != "INTERNAL") and (FLATCORR != "OMIT"))',
        "FLATCORR",
        form="IMAGE",
        more={
            "parkey_relevance": {
                "ccdamp": '(DETECTOR != "SBC")',
                "fw1offst": '(FW1OFFST == "-1.0" or FW1OFFST == "1.0")',
                "fw2offst": '(FW2OFFST == "-1.0" or FW2OFFST == "1.0")',
                "fwsoffst": '(FWSOFFST == "-1.0" or FWSOFFST == "1.0")',
            }
        },
    ),
    "SATUFILE": Rule(
        "sat",
        "DETECTOR CCDAMP",
        ("WFC", _AMPS),
        '((DETECTOR != "SBC") and (BIASCORR != "OMIT"))',
        "BIASCORR",
        form="IMAGE",
    ),
    "SNKCFILE": Rule(
        "snk", "DETECTOR", ("WFC",), '((SINKCORR != "OMIT") and (DETECTOR == "WFC"))', "SINKCORR", form="IMAGE"
    ),
}
"""By header keyword."""


def name_reference(kind: str, edition: int) -> str:
    """Give the file name of a reference: nine characters, as CRDS's own, and the suffix of its type."""
    serial = list(RULES).index(kind) + 1
    return f"dmo{serial:02d}{edition:02d}ej_{RULES[kind].suffix}.fits"


def list_editions(kind: str) -> tuple[int, ...]:
    """Give the editions of a type that there are: two where the new context has a new file."""
    return (1, 2) if RULES[kind].renewed else (1,)


def date_edition(kind: str, edition: int, mode: Mode) -> str:
    """Give the USEAFTER of an edition, ``2006-02-21 00:00:00``: an added one is three weeks older than the exposure."""
    if edition == 1 or RULES[kind].renewed == "replaced":
        return FIRST_USEAFTER
    day = datetime.date(1858, 11, 17) + datetime.timedelta(days=int(mode.expstart) - 21)
    return f"{day:%Y-%m-%d} 00:00:00"


def choose_references(switches: Mapping[str, str], mode: Mode, edition: int) -> dict[str, str]:
    """Give what a pipeline writes into the headers of an exposure: ``jref$name`` or ``N/A``, by keyword.

    Parameters
    ----------
    switches : mapping
        The calibration switches, which decide what is needed.
    mode : Mode
    edition : int
        1 with the old context, 2 with the new one.
    """
    needed = dict.fromkeys(RULES, True)
    for kind, rule in RULES.items():
        if rule.switch != "NONE":
            needed[kind] = switches[rule.switch] != "OMIT"
    needed["CRREJTAB"] |= switches["RPTCORR"] != "OMIT"
    needed["PFLTFILE"] &= mode.imagetyp == "EXT"
    newest = {kind: min(edition, list_editions(kind)[-1]) for kind in RULES}
    return {kind: f"jref${name_reference(kind, newest[kind])}" if needed[kind] else "N/A" for kind in RULES}


def write_rules(cache: Path, mode: Mode) -> None:
    """Write mappings and configuration of a cache whose references are already there (flat layout, no server).

    Parameters
    ----------
    cache : Path
        With ``references/hst``.
    mode : Mode
        Its filters are those that flat and NPOLFILE are for.
    """
    mappings = cache / "mappings" / "hst"
    config = cache / "config" / "hst"
    mappings.mkdir(parents=True)
    config.mkdir(parents=True)
    rmaps: dict[str, str] = {}
    for edition, context in enumerate(CONTEXTS, 1):
        for kind, rule in RULES.items():
            if edition == 1 or rule.renewed:
                name = f"hst_acs_{kind.lower()}_{edition:04d}.rmap"
                rmaps[kind] = name
                _write_mapping(mappings / name, _rmap_header(kind, name, edition), _selector(kind, edition, mode))
        imap = f"hst_acs_{edition:04d}.imap"
        header = {"instrument": "ACS", "mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
        _write_mapping(
            mappings / imap,
            header | _origin(imap, edition),
            _dictionary({kind.lower(): name for kind, name in sorted(rmaps.items())}),
        )
        header = {"mapping": "PIPELINE", "parkey": ("INSTRUME",)}
        _write_mapping(mappings / context, header | _origin(context, edition), _dictionary({"ACS": imap}))
    (config / "bad_files.txt").write_text("")
    (config / "ref_cache_subdir_mode").write_text("flat")
    (config / "server_config").write_text(pprint.pformat(_server_info(cache)) + "\n")


def _origin(name: str, edition: int) -> dict[str, object]:
    stem, _, suffix = name.rpartition("_0")
    before = f"{stem}_{edition - 1:04d}.{suffix.partition('.')[2]}" if edition > 1 else "acsrecipe demo"
    return {"name": name, "observatory": "HST", "derived_from": before}


def _rmap_header(kind: str, name: str, edition: int) -> dict[str, object]:
    rule = RULES[kind]
    return {
        **_origin(name, edition),
        **rule.more,
        "filekind": kind,
        "instrument": "ACS",
        "mapping": "REFERENCE",
        "parkey": (tuple(rule.keys.split()), ("DATE-OBS", "TIME-OBS")),
        "reffile_format": rule.form,
        "reffile_required": rule.required,
        "reffile_switch": rule.switch,
        "rmap_relevance": rule.relevance,
    }


def _selector(kind: str, edition: int, mode: Mode) -> str:
    rule = RULES[kind]
    filters = {"FILTER1": mode.filters[0], "FILTER2": mode.filters[1]}
    match = tuple(filters.get(value, value) for value in rule.match)
    editions = (2,) if edition == 2 and rule.renewed == "replaced" else range(1, edition + 1)
    files = "".join(f"        '{date_edition(kind, e, mode)}' : '{name_reference(kind, e)}',\n" for e in editions)
    return f"Match({{\n    {match!r} : UseAfter({{\n{files}    }}),\n}})"


def _dictionary(entries: Mapping[str, str]) -> str:
    return "{\n" + "".join(f"    '{key}' : '{value}',\n" for key, value in entries.items()) + "}"


def _write_mapping(path: Path, header: Mapping[str, object], selector: str) -> None:
    """Write a mapping; its sha1sum is that of the text without the line that says it."""
    cards = {key: f"    '{key}' : {value!r},\n" for key, value in header.items()}

    def text() -> str:
        return "header = {\n" + "".join(cards[key] for key in sorted(cards)) + f"}}\n\nselector = {selector}\n"

    digest = hashlib.sha1(text().encode(), usedforsecurity=False).hexdigest()
    cards["sha1sum"] = f"    'sha1sum' : '{digest}',\n"
    path.write_text(text())


def _server_info(cache: Path) -> dict[str, object]:
    """Say what a CRDS server would have told the cache: mainly the context and the size and sha1 of every file."""
    catalogue = {}
    mappings = []
    for folder in ("mappings", "references"):
        for path in sorted((cache / folder / "hst").iterdir()):
            with path.open("rb") as file:
                sha1 = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
            catalogue[path.name] = {"size": str(path.stat().st_size), "sha1sum": sha1}
            if folder == "mappings":
                mappings.append(path.name)
    packed = gzip.compress(json.dumps(catalogue, sort_keys=True).encode(), mtime=0)
    return {
        "bad_files": "",
        "bad_files_list": [],
        "bad_files_set": [],
        "connected": False,
        "context_warning": [],
        "crds_version": {"__version__": "14.0.3", "str": "14.0.3"},
        "download_metadata": {"crds_encoded": "1.0", "crds_payload": base64.b64encode(packed).decode()},
        "edit_context": CONTEXTS[-1],
        "effective_context": CONTEXTS[-1],
        "force_remote_mode": 0,
        "last_synced": SYNCED,
        "mapping_url": {"hst": "none"},
        "mappings": mappings,
        "max_headers_per_rpc": 1000,
        "observatory": "hst",
        "operational_context": CONTEXTS[-1],
        "reference_url": {"hst": "none"},
        "server": "none",
        "status": "serverless",
    }

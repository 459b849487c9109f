"""Exposures, rules and engines made up for tests of plans: no files."""

from __future__ import annotations

from typing import Any

from acsrecipe.inputs.model import (
    Association,
    Context,
    Exposure,
    FileIdentity,
    HduHeader,
    Inventory,
    Member,
    ReferenceChoice,
)
from acsrecipe.plan.model import EngineAbility, Requirement

PRIMARY = {
    "ROOTNAME": "j9l960a7q",
    "INSTRUME": "ACS",
    "DETECTOR": "WFC",
    "CCDAMP": "ABCD",
    "CCDGAIN": 2.0,
    "SUBARRAY": False,
    "EXPTIME": 350.0,
    "EXPSTART": 53800.0,
    "EXPEND": 53800.1,
    "DARKTIME": 350.0,
    "FILTER1": "F606W",
    "DQICORR": "PERFORM",
    "BIASCORR": "PERFORM",
    "BLEVCORR": "PERFORM",
    "DARKCORR": "PERFORM",
    "FLATCORR": "PERFORM",
    "PHOTCORR": "PERFORM",
    "PCTECORR": "PERFORM",
    "DARKFILE": "jref$old_drk.fits",
    "PCTETAB": "jref$old_cte.fits",
}

NEEDED = ("CCDTAB", "OSCNTAB", "BPIXTAB", "BIASFILE", "SATUFILE", "DARKFILE", "PFLTFILE", "IMPHTTAB")


def make_exposure(rootname: str = "j9l960a7q", association: str = "", **cards: Any) -> Exposure:
    """An exposure of two small chips; a keyword given as None is left out."""
    primary = {**PRIMARY, "ROOTNAME": rootname, **cards}
    science = {"NAXIS": 2, "NAXIS1": 304, "NAXIS2": 116, "CCDCHIP": 2, "LTV1": 24.0}
    hdus = [HduHeader("PRIMARY", 1, {key: value for key, value in primary.items() if value is not None})]
    for number in (1, 2):
        hdus += [
            HduHeader("SCI", number, {**science, "CCDCHIP": 3 - number}),
            HduHeader("ERR", number, {}),
            HduHeader("DQ", number, {}),
        ]
    raw = FileIdentity(f"data/{rootname}_raw.fits", 198720, sha256=rootname.ljust(64, "0"))
    return Exposure(rootname, raw, tuple(hdus), association=association)


def make_choices(**names: str) -> dict[str, ReferenceChoice]:
    """What CRDS would choose: a file for every keyword that WFC needs."""
    chosen = {
        keyword: ReferenceChoice(
            keyword,
            f"new_{keyword.lower()}.fits",
            FileIdentity(f"crds/new_{keyword.lower()}.fits", 1000, sha1=keyword.ljust(40, "0")),
            mapping=f"hst_acs_{keyword.lower()}_0001.rmap",
            useafter="2006-01-01 00:00:00",
            matched={"DETECTOR": "WFC"},
        )
        for keyword in NEEDED
    }
    for keyword, name in names.items():
        chosen[keyword] = ReferenceChoice(keyword, name, mapping=f"hst_acs_{keyword.lower()}_0001.rmap")
    chosen.setdefault(
        "PCTETAB", ReferenceChoice("PCTETAB", "N/A", mapping="hst_acs_pctetab.rmap", irrelevant="PCTECORR = OMIT")
    )
    return chosen


def make_association(*rows: tuple[str, str], rootname: str = "j9l960010") -> Association:
    """An association of (MEMNAME, MEMTYPE) rows."""
    members = tuple(Member(number, name, kind, True) for number, (name, kind) in enumerate(rows, 1))
    return Association(rootname, FileIdentity(f"data/{rootname}_asn.fits", 8640, sha256="a" * 64), members)


def make_inventory(*exposures: Exposure, associations: tuple[Association, ...] = (), **choices: str) -> Inventory:
    """Exposures with the references that they need."""
    return Inventory(
        exposures=exposures,
        associations=associations,
        context=Context("hst_0002.pmap", "hst_0002.pmap", "recipe", cache="crds"),
        references={exposure.rootname: make_choices(**choices) for exposure in exposures},
    )


def make_engines() -> tuple[EngineAbility, ...]:
    """calacs, not installed, and an embedded engine that refuses CTE."""
    return (
        EngineAbility("calacs", "", available=False, detail="calacs.e is not in PATH"),
        EngineAbility(
            "embedded",
            "0.1.0",
            available=True,
            requirements=(
                Requirement("DETECTOR", "it calibrates WFC only", allowed=("WFC",)),
                Requirement("PCTECORR", "it does not correct CTE", allowed=("OMIT", None)),
            ),
            groups=("DTH",),
        ),
    )

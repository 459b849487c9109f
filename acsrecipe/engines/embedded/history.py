"""Switches turned, and HISTORY written, as each step ends."""

from __future__ import annotations

from typing import Literal

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.references import Reference
from acsrecipe.engines.embedded.tables import CcdParameters
from acsrecipe.errors import EngineError

State = Literal["OMIT", "PERFORM", "COMPLETE", "DUMMY", "IGNORED"]

_ENDS: dict[str, tuple[str, str]] = {
    "PERFORM": ("COMPLETE", "complete ..."),
    "DUMMY": ("SKIPPED", "skipped due to dummy reference file ..."),
    "IGNORED": ("SKIPPED", "not performed ..."),
}


def switch(primary: Cards, keyword: str, where: str) -> State:
    """Read a calibration switch; absent, OMIT and SKIPPED mean OMIT; raises EngineError for other words."""
    word = header.text(primary, keyword, "OMIT").upper()
    if word in ("PERFORM", "COMPLETE"):
        return "PERFORM" if word == "PERFORM" else "COMPLETE"
    if word in ("OMIT", "SKIPPED"):
        return "OMIT"
    message = f"{keyword} is {word or 'empty'}, expected PERFORM, OMIT, COMPLETE or SKIPPED"
    raise EngineError(message, where=where)


def end_step(primary: Cards, keyword: str, state: State) -> bool:
    """Turn a switch and say so in the history; False when the step was neither done nor skipped."""
    if state not in _ENDS:
        return False
    word, phrase = _ENDS[state]
    header.put_text(primary, keyword, word)
    header.add_history(primary, f"{keyword} {phrase}")
    return True


def tell_reference(primary: Cards, reference: Reference, *, image: bool, ccd: CcdParameters | None = None) -> None:
    """Write a reference's name, pedigree and description (and those of CCDTAB's row) into the history."""
    header.add_history(primary, f"  reference {'image' if image else 'table'} {reference.name}")
    pedigree = ccd.pedigree if ccd else reference.pedigree
    for line in (pedigree, reference.descrip, ccd.descrip if ccd else ""):
        if line:
            header.add_history(primary, f"    {line}")


def tell_ccd(primary: Cards, reference: Reference, ccd: CcdParameters) -> None:
    """Write which row of CCDTAB was used, and its values into the calibrated engineering cards."""
    for stem, values in (("ATODGN", ccd.gain), ("READNSE", ccd.readnoise)):
        for amp, value in zip("ABCD", values, strict=True):
            header.put_float(primary, f"{stem}{amp}", value)
    header.add_history(primary, "CCD parameters table: ")
    tell_reference(primary, reference, image=False, ccd=ccd)

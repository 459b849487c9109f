"""What calacs.e says while it runs, and what of it a person needs when it fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

LAST_LINES = 8
"""Lines of a failed run that an error quotes."""

_SWITCH = re.compile(r"^([A-Z]{2,4}CORR)\s+(PERFORM|OMIT)")
_TASK = re.compile(r"^CALBEG\*\*\* (\w+) ")
_INPUT = re.compile(r"^Input\s+(\S+)_(?:raw|blv_tmp|blc_tmp)\.fits")
_OUTPUT = re.compile(r"^Output\s+\S+_(fl[tc]|cr[jc]|sfl)\.fits")
_CTE = re.compile(r"^\(pctecorr\) Performing CTE correction type (\w+) for amp (\w)")
_REJECT = re.compile(r"^CALBEG\*\*\* ACSREJ")

_NOISE = re.compile(
    r"^(git (tag|branch)|HEAD @|Setting max threads|System env limiting|CALBEG|Begin |End |Trying to open"
    r"|Read in Primary header|APERTURE|FILTER[12]|DETECTOR|Input |Output |LoadAsn|\w+\s+(PEDIGREE|DESCRIP) ?="
    r"|\*\*\*)"
)
# acscte looks for these in the RAW header too, and calls it an error that they are only in PCTETAB.
_HARMLESS = re.compile(r"^(ERROR:\s+Keyword = `(PCTE\w+|FIXROCR)'|Warning\s+\(pctecorr\) IGNORING read noise)")

_HINTS = (
    (r"reference files? (was|were) missing|not found or can't open", "look up the references named above in the plan"),
    (r"version of PCTETAB is obsolete", "this calacs.e reads 'Par/Serial PixelCTE 2023' only: take a newer context"),
    (r"Matching row not found", "that table has no row for this exposure's amplifiers, gain and chip"),
    (r"Overscan region not trimmed", "BLEVCORR has to be PERFORM, and OSCNTAB needs a row for this size of frame"),
    (r"Keyword \w+ = .* is invalid", "a switch is PERFORM, OMIT, COMPLETE or SKIPPED"),
    (r"Required keyword missing", "the RAW or association header lacks a card that calacs.e needs"),
    (r"already exists", "the folder was not fresh: start again"),
    (r"status = 106|No space left", "the disk is full"),
    (r"status = (108|301)", "a file that it read ends too early: check the RAW and the references"),
    (r"No calibration switch was set to PERFORM", "with every switch OMIT calacs.e makes nothing: set one to PERFORM"),
)


@dataclass
class Progress:
    """Turn calacs's output into short words on where it is: ``DARKCORR``, ``j9l960a7q PCTECORR parallel, amp C``.

    Parameters
    ----------
    report : callable
        Gets each new word once.
    several : bool
        Whether to say which exposure, too.
    """

    report: Callable[[str], None]
    several: bool = False
    _exposure: str = ""
    _product: str = ""
    _last: str = ""
    warnings: list[str] = field(default_factory=list)

    def take(self, line: str) -> None:
        """Look at one line of output."""
        if line.startswith("Warning") and not _HARMLESS.match(line):
            text = " ".join(line.split()[1:])
            if text not in self.warnings and len(self.warnings) < 50:
                self.warnings.append(text)
        elif _TASK.match(line):
            self._product = ""
            if _REJECT.match(line):
                self._exposure = ""
                self._say("combining, cosmic rays rejected")
        elif found := _INPUT.match(line):
            self._exposure = found[1]
        elif found := _OUTPUT.match(line):
            self._product = found[1]
        elif (found := _SWITCH.match(line)) and found[2] == "PERFORM":
            self._say(f"{found[1]} ({self._product})" if self._product == "flc" else found[1])
        elif found := _CTE.match(line):
            self._say(f"PCTECORR {found[1]}, amp {found[2]}")

    def _say(self, words: str) -> None:
        text = f"{self._exposure} {words}" if self.several and self._exposure else words
        if text != self._last:
            self._last = text
            self.report(text)


def meaningful_lines(lines: Iterable[str], most: int = LAST_LINES) -> tuple[str, ...]:
    """Give the last lines that say something: no blanks, versions, times or harmless complaints."""
    kept = [line.rstrip() for line in lines if line.strip()]
    kept = [line for line in kept if not _NOISE.match(line) and not _HARMLESS.match(line)]
    return tuple(kept[-most:])


def explain(lines: Iterable[str]) -> str | None:
    """Give a hint on what can be done about a failure, where its cause is known; the first cause counts."""
    for line in lines:
        for pattern, hint in _HINTS:
            if re.search(pattern, line):
                return hint
    return None

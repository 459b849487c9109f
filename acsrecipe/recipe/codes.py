"""Every code a recipe's mistakes are reported by, with what it means: codes are stable, messages may be bettered."""

from __future__ import annotations

from typing import Final

CODES: Final[dict[str, str]] = {
    # The file and its text.
    "R001": "The recipe can't be read: it is not there, is not a regular file, or may not be opened.",
    "R002": "The file is too large for a recipe: over 1 MiB, a line over 64 kB, or too many keys or values.",
    "R003": "The file is not plain UTF-8 text: it has other bytes, a byte order mark, or NUL characters.",
    "R004": "The text is not TOML.",
    "R005": "The file has merge conflict markers: two versions of it were merged and the conflict is still open.",
    "R006": "Tables or arrays are nested too deep, or a dotted key has too many parts.",
    "R007": "A number has so many digits, or such an exponent, that it can't be read.",
    # The shape: keys, tables, types.
    "R010": "No such key here. Keys are fixed: a misspelt key would otherwise be ignored in silence.",
    "R011": "A key that must be there is missing.",
    "R012": "No such post-step.",
    "R013": "A value is of another type than the format has here.",
    "R014": "A table is written in the wrong form: [post] is one table, [[post]] is one of a list of tables.",
    "R015": "The recipe is in another version of the format than this acsrecipe reads.",
    "R016": "A value is not one of those allowed.",
    "R017": "The recipe's name can't be part of a file name.",
    "R018": "Something is empty that has to say something.",
    "R019": "The same thing is given twice.",
    # Observations and association.
    "R020": "Not a rootname (IPPPSSOOT, J for ACS), a pattern of rootnames, or a proposal number.",
    "R021": "Not a MEMTYPE of association tables.",
    "R022": "Not a kind of product, or RAW is not among the products.",
    "R023": "A text holds control characters, which could garble a terminal.",
    # Switches.
    "R030": "Not a calibration switch of ACS. calacs ignores switches that it does not know.",
    "R031": "A switch is PERFORM or OMIT, in capitals. calacs stops at other words.",
    "R032": 'Switches tell an engine what to do; engine = "none" takes files that are calibrated already.',
    # Header cards.
    "R040": "Not a FITS keyword: 1 to 8 characters of A-Z, 0-9, '-' and '_'. Longer ones need HIERARCH cards, which "
    "calacs can't read.",
    "R041": "Not a keyword of ACS RAW headers, and close to one that is: a new card with a misspelt name would have no "
    "effect.",
    "R042": "A structural keyword: it says how the file is built (sizes, types, scaling, extensions, checksums), or is "
    "commentary.",
    "R043": "A keyword that says which file this is. calacs, CRDS, updatewcs and the log find files by it.",
    "R044": "A keyword that CRDS matches reference files by. Overriding it changes the science of the choice, so it "
    "must be said: changes_match = true.",
    "R045": "A calibration switch among the header overrides. Switches have a table of their own, [switches], because "
    "they are set first and decide which references are needed.",
    "R046": "A reference file keyword among the header overrides. CRDS sets those; [references.override] comes last.",
    "R047": "A value of another type than the keyword has in ACS headers.",
    "R048": "A value that a header card can't hold, or that calacs has no room for.",
    "R049": "A whole number that does not fit in 32 bits.",
    "R050": "The keyword lives in another header of the file.",
    "R051": "A number is out of range.",
    # References and paths.
    "R060": "Not a reference file keyword of ACS.",
    "R061": "Not the name of a file that calacs can read: it cuts names at blanks, commas, brackets and dollar signs.",
    "R062": "Not the name of a CRDS context of HST.",
    "R063": "Not the address of a server, or one with a user name, password or query.",
    "R064": "A path that would need expanding (~, $), or holds characters that no path needs.",
    "R065": "A relative path that leaves the recipe's folder, directly or through a link.",
    # Post-steps.
    "R070": "A post-step is given twice.",
    "R071": "A step comes after one that is not in the recipe.",
    "R072": "Steps wait for each other in a circle.",
    # Bounds of the report.
    "R099": "There are more problems than are shown.",
}
"""Code to what it means."""

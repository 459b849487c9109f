"""Rules for header cards: which keywords a recipe may set, and to what, without seeing a header."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from acsrecipe.recipe.findings import Finding
from acsrecipe.recipe.keywords import (
    IDENTITY,
    KEYWORDS,
    LONGEST,
    LONGEST_STRING,
    MATCHING,
    OBSOLETE_REFERENCES,
    REFERENCES,
    STRUCTURAL,
    STRUCTURAL_STEMS,
    SWITCH_VALUES,
    SWITCHES,
    Hdu,
    Kind,
)

_KEYWORD_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_NO_DIGITS = str.maketrans("", "", "0123456789")
_INT32 = 2**31
_KIND_NAMES: dict[Kind, str] = {
    "bool": "a boolean, true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
}


def nearest(word: str, known: Any, cutoff: float = 0.6) -> str | None:
    """Give the one of ``known`` that looks most like ``word``, whatever the case; None where none does."""
    by_lower = {str(name).lower(): str(name) for name in known}
    # difflib takes the square of the length: what is much too long resembles nothing.
    if len(word) > 64:
        return None
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Any, *, listed: bool = False) -> str:
    """Make the hint for a name that is not known; with ``listed``, the known ones where none is near."""
    near = nearest(word, known)
    if near is not None:
        return f"did you mean '{near}'?"
    return f"known here: {', '.join(sorted(known))}" if listed else ""


def show(value: Any) -> str:
    """Write a value as TOML has it, cut where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.encode("unicode_escape").decode("ascii")
        return f"'{escaped}'" if len(escaped) <= 60 else f"'{escaped[:57]}...'"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "an array"
    if isinstance(value, int) and abs(value) >= 10**40:
        return f"a whole number of {int(value.bit_length() * 0.30103) + 1} digits"
    return str(value)


def kind_of(value: Any) -> str:
    """Name the TOML type of a value, with its article."""
    if isinstance(value, bool):
        return "a boolean"
    for kinds, name in (
        (int, "a whole number"),
        (float, "a decimal number"),
        (str, "a string"),
        (Mapping, "a table"),
        ((list, tuple), "an array"),
    ):
        if isinstance(value, kinds):
            return name
    return "a date or time"


def settings(value: Any, others: Mapping[str, Any]) -> Iterator[Finding]:
    """Check ``set`` of a header override: keywords, types, and values that a card and calacs can hold."""
    if not isinstance(value, Mapping):
        return
    if not value:
        yield Finding("R018", "'set' is empty: there is nothing to change", "name a keyword and its value")
    hdu: Hdu = others.get("hdu", "PRIMARY")
    for keyword, setting in value.items():
        refused = next(_keyword(keyword, setting, hdu), None)
        if refused is not None:
            yield refused
            continue
        if keyword in MATCHING and not others.get("changes_match", True):
            message = f"{keyword} changes which reference files CRDS chooses"
            hint = "if that is meant, add changes_match = true to this [[headers]]"
            yield Finding("R044", message, hint, (keyword,), of_key=True)
        yield from _value(keyword, setting, hdu)


def conditions(value: Any, others: Mapping[str, Any]) -> Iterator[Finding]:
    """Check ``where`` of a header override: keyword form, and types of the values compared with."""
    if not isinstance(value, Mapping):
        return
    hdu: Hdu = others.get("hdu", "PRIMARY")
    for keyword, setting in value.items():
        malformed = next(_form(keyword), None) or next(_typo(keyword), None)
        if malformed is not None:
            yield malformed
            continue
        if isinstance(setting, list | tuple):
            if not setting:
                yield Finding("R018", f"no values to compare {keyword} with", path=(keyword,))
            for index, one in enumerate(setting):
                yield from _type(keyword, one, hdu, (keyword, index))
        else:
            yield from _type(keyword, setting, hdu, (keyword,))


def switches(value: Any, _others: Mapping[str, Any]) -> Iterator[Finding]:
    """Check ``[switches]``: names of ACS calibration switches; their values are PERFORM or OMIT."""
    if not isinstance(value, Mapping):
        return
    for name, setting in value.items():
        if name not in SWITCHES:
            yield Finding("R030", f"unknown switch '{name}'", _switch_hint(name), (name,), of_key=True)
        if setting not in SWITCH_VALUES:
            yield Finding(
                "R031", f"switch {name} is {show(setting)}, expected 'PERFORM' or 'OMIT'", _value_hint(setting), (name,)
            )


def _switch_hint(name: str) -> str:
    if name in REFERENCES:
        return "this is a reference file keyword: put it under [references.override]"
    if name in KEYWORDS["PRIMARY"] or name in KEYWORDS["SCI"]:
        return "this is a keyword, not a switch: use [[headers]] with set and reason"
    return did_you_mean(name, SWITCHES) or f"ACS switches: {', '.join(SWITCHES)}"


def _value_hint(setting: Any) -> str:
    if isinstance(setting, bool):
        return f'write "{"PERFORM" if setting else "OMIT"}"'
    if isinstance(setting, str):
        if setting.strip().upper() in ("COMPLETE", "SKIPPED"):
            return "COMPLETE and SKIPPED are what calacs writes after its work"
        near = nearest(setting.strip(), SWITCH_VALUES)
        if near is not None:
            return f"did you mean '{near}'?"
    return ""


def _form(keyword: str) -> Iterator[Finding]:
    if keyword and keyword == keyword.upper() and len(keyword) <= 8 and set(keyword) <= _KEYWORD_CHARACTERS:
        return
    upper = keyword.upper()
    hint = "a keyword has 1 to 8 characters of A-Z, 0-9, '-' and '_'; calacs can't read HIERARCH cards"
    if upper != keyword and len(upper) <= 8 and upper and set(upper) <= _KEYWORD_CHARACTERS:
        hint = f"write it in upper case: {upper}"
    yield Finding("R040", f"{show(keyword)} is not a FITS keyword", hint, (keyword,), of_key=True)


def _typo(keyword: str) -> Iterator[Finding]:
    if keyword in _ALL_KNOWN or len(keyword) < 4 or keyword.startswith(STRUCTURAL_STEMS):
        return
    near = next((_SLIPS[slip] for slip in _slips(keyword) if slip in _SLIPS), None)
    # CD3_1 beside CD2_1 is a member of a family, not a slip of the pen.
    if near is not None and keyword.translate(_NO_DIGITS) != near.translate(_NO_DIGITS):
        yield Finding("R041", f"unknown keyword '{keyword}'", f"did you mean '{near}'?", (keyword,), of_key=True)


def _slips(keyword: str) -> list[str]:
    """Give the word and the word less one letter: two words that share one of these are a slip of the pen apart."""
    return [keyword, *(keyword[:place] + keyword[place + 1 :] for place in range(len(keyword)))]


_KNOWN = (*KEYWORDS["PRIMARY"], *KEYWORDS["SCI"], *SWITCHES, *REFERENCES)
_SLIPS = {slip: keyword for keyword in reversed(_KNOWN) if len(keyword) > 3 for slip in _slips(keyword)}
_ALL_KNOWN = frozenset(_KNOWN) | STRUCTURAL | IDENTITY | OBSOLETE_REFERENCES


def _keyword(keyword: str, setting: Any, hdu: Hdu) -> Iterator[Finding]:
    yield from _form(keyword)
    at = (keyword,)
    if keyword in SWITCHES:
        value = setting if setting in SWITCH_VALUES else "OMIT"
        hint = f'put {keyword} = "{value}" under [switches]'
        yield Finding("R045", f"{keyword} is a calibration switch and does not belong in [[headers]]", hint, at, True)
    if keyword in REFERENCES:
        hint = f'put {keyword} = "path/of/file.fits" under [references.override]'
        yield Finding("R046", f"{keyword} names a reference file and does not belong in [[headers]]", hint, at, True)
    if keyword in OBSOLETE_REFERENCES:
        yield Finding("R046", f"{keyword} names a reference file that nothing reads any more", "leave it out", at, True)
    if keyword in STRUCTURAL or keyword.startswith(STRUCTURAL_STEMS):
        message = f"{keyword} describes how the file is built and can't be set"
        yield Finding("R042", message, "leave it out: changed alone it makes the file unreadable or false", at, True)
    if keyword in IDENTITY:
        message = f"{keyword} says which file this is and can't be set"
        yield Finding("R043", message, "leave it out: calacs, CRDS and the log find files by it", at, True)
    yield from _typo(keyword)
    other: Hdu = "SCI" if hdu == "PRIMARY" else "PRIMARY"
    if keyword in KEYWORDS[other] and keyword not in KEYWORDS[hdu]:
        where = "the SCI extensions" if other == "SCI" else "the primary header"
        yield Finding("R050", f"{keyword} is in {where}, not in {hdu}", f'add hdu = "{other}"', at, True)


def _type(keyword: str, setting: Any, hdu: Hdu, at: tuple[str | int, ...]) -> Iterator[Finding]:
    expected = KEYWORDS[hdu].get(keyword) or KEYWORDS["SCI" if hdu == "PRIMARY" else "PRIMARY"].get(keyword)
    if keyword in SWITCHES or keyword in REFERENCES:
        expected = "str"
    if expected is None or not isinstance(setting, bool | int | float | str):
        return
    found: Kind = "bool" if isinstance(setting, bool) else "str"
    if found == "str" and not isinstance(setting, str):
        found = "int" if isinstance(setting, int) else "float"
    if found == expected or (expected == "float" and found == "int"):
        return
    message = f"{keyword} is {_KIND_NAMES[expected]}, but {show(setting)} is {kind_of(setting)}"
    yield Finding("R047", message, _type_hint(setting, expected), at)


def _type_hint(setting: Any, expected: Kind) -> str:
    if expected == "str":
        return f'write "{show(setting)}"'
    if isinstance(setting, str):
        text = setting.strip()
        if expected == "bool" and text.lower() in ("t", "f", "true", "false"):
            return f"write {'true' if text.lower().startswith('t') else 'false'}"
        try:
            float(text)
        except ValueError:
            return ""
        return f"write it without quotes: {text}" if expected != "bool" and len(text) <= 30 else ""
    if expected == "int" and isinstance(setting, float) and setting.is_integer():
        return f"write {int(setting)}"
    return ""


def _value(keyword: str, setting: Any, hdu: Hdu) -> Iterator[Finding]:
    at = (keyword,)
    if isinstance(setting, str):
        yield from _string(keyword, setting)
    elif isinstance(setting, float) and not math.isfinite(setting):
        yield Finding("R048", f"{keyword} is {setting}: a card can't hold it", "give a finite number", at)
        return
    elif isinstance(setting, int) and not -_INT32 <= setting < _INT32:
        message = f"{keyword} = {show(setting)} does not fit in 32 bits, and calacs reads no more"
        yield Finding("R049", message, "give a number between -2147483648 and 2147483647", at)
        return
    yield from _type(keyword, setting, hdu, at)


def _string(keyword: str, text: str) -> Iterator[Finding]:
    at = (keyword,)
    odd = next((character for character in text if not " " <= character <= "~"), None)
    length = len(text) + text.count("'")
    if odd is not None:
        message = f"{keyword} holds {show(odd)}: a card holds printable ASCII only"
        yield Finding("R048", message, "use letters, digits, blanks and punctuation of ASCII", at)
    elif length > LONGEST_STRING:
        doubled = ", quotes counted twice" if "'" in text else ""
        message = f"{keyword} has {length} characters{doubled}, a card holds {LONGEST_STRING}"
        yield Finding("R048", message, "shorten it: calacs can't read CONTINUE cards", at)
    elif text != text.rstrip():
        yield Finding("R048", f"{keyword} ends in a blank: a card can't keep it", "leave the blank out", at)
    elif len(text) > LONGEST.get(keyword, LONGEST_STRING):
        message = f"{keyword} has {len(text)} characters, calacs has room for {LONGEST[keyword]}"
        yield Finding("R048", message, "shorten it", at)

"""Rules for everything of a recipe but header cards: names, rootnames, paths, contexts, steps.

A rule takes a value as it came and the fields declared before it; it yields what is wrong and what the types of the
model can't say. Functions that raise are validators; they see one value and make one error.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from acsrecipe.recipe.cards import did_you_mean, kind_of, nearest, show
from acsrecipe.recipe.compose import NOT_IN_VARIANTS
from acsrecipe.recipe.findings import Finding, refuse
from acsrecipe.recipe.keywords import MEMBER_KEYS, OBSOLETE_REFERENCES, PRODUCTS, REFERENCES

MOST_INCLUDES: Final = 8

_Others = Mapping[str, Any]
_ROOTNAME = re.compile(r"J[A-Z0-9]{8}")
_PATTERN = re.compile(r"[A-Z0-9*?]+")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CONTEXT = re.compile(r"hst_\d{4,5}\.pmap")
_MEMTYPE = re.compile(r"(EXP|PROD)-(DTH|CRJ|CR[0-9A-Z]|RPT|RP[0-9A-Z]|RPT[0-9A-Z]|TARG)")
_MEMTYPES = ("EXP-DTH", "EXP-CR1", "EXP-RP1", "PROD-DTH", "PROD-CR1", "PROD-RP1")
_OTHER_INSTRUMENTS = {"I": "WFC3", "O": "STIS", "L": "COS", "N": "NICMOS", "U": "WFPC2", "X": "FOC", "Y": "FOS"}
_REFERENCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\.fits")
# jref$ and the name together stay in one card, and far below calacs's buffers.
_LONGEST_REFERENCE = 60


def upper(value: Any) -> Any:
    """Upper-case the strings of an array; leave the rest as it is."""
    if isinstance(value, list | tuple):
        return tuple(item.upper() if isinstance(item, str) else item for item in value)
    return value


def upper_values(value: Any) -> Any:
    """Upper-case the strings of the arrays of a table."""
    return {key: upper(items) for key, items in value.items()} if isinstance(value, Mapping) else value


def require_text(value: Any) -> Any:
    """Accept strings only, and say what was found."""
    if not isinstance(value, str):
        message = f"expected a string, found {kind_of(value)}"
        raise refuse(message, "R013", f'write "{show(value)}"' if kind_of(value) == "a date or time" else "")
    return value


def require_scalar(value: Any) -> Any:
    """Accept what one card can hold."""
    if not isinstance(value, bool | int | float | str):
        kind = kind_of(value)
        hint = f'write "{show(value)}"' if kind == "a date or time" else ""
        message = f"expected a string, a number or a boolean, found {kind}"
        raise refuse(message, "R013", hint)
    return value


def require_scalar_or_list(value: Any) -> Any:
    """Accept what one card can hold, or an array of such."""
    return tuple(value) if isinstance(value, list | tuple) else require_scalar(value)


def format_number(value: Any) -> Any:
    """Accept the number of this format."""
    if isinstance(value, bool) or not isinstance(value, int) or value != 1:
        hint = "a newer acsrecipe may read it" if isinstance(value, int) and value > 1 else "write format = 1"
        message = f"format is {show(value)}, this acsrecipe reads format 1"
        raise refuse(message, "R015", hint)
    return value


def archive_name(value: Any) -> Any:
    """Accept the name of an archive."""
    if value != "mast":
        near = nearest(str(value), ("mast",))
        hint = "did you mean 'mast'?" if near else f"for a folder write archive = {{ folder = {_quoted(str(value))} }}"
        message = f"unknown archive {show(value)}, expected 'mast' or a folder"
        raise refuse(message, "R016", hint)
    return value


def _quoted(text: str) -> str:
    return '"data/"' if len(text) > 60 or not text.isprintable() or '"' in text or "\\" in text else f'"{text}"'


def slug(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the recipe's name, which becomes part of file names."""
    if isinstance(value, str) and not _SLUG.fullmatch(value):
        better = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-._")[:64]
        hint = f"did you mean '{better}'?" if better else ""
        message = f"name {show(value)} is not made of 1 to 64 letters, digits, '-', '_' and '.'"
        yield Finding("R017", message, hint)


def includes(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the paths of included files."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if isinstance(item, str):
                yield from _path(item, (index,))
        if len(value) > MOST_INCLUDES:
            yield Finding("R051", f"{len(value)} files are included, at most {MOST_INCLUDES} are allowed")


def variants(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the names of variants, and that none changes what makes the recipe itself; the rest is checked merged."""
    if not isinstance(value, Mapping):
        return
    for name, changes in value.items():
        if not _SLUG.fullmatch(name):
            message = f"variant {show(name)} is not made of 1 to 64 letters, digits, '-', '_' and '.'"
            yield Finding("R017", message, "", (name,), of_key=True)
        if isinstance(changes, Mapping):
            for key in NOT_IN_VARIANTS:
                if key in changes:
                    yield Finding("R010", f"a variant can't change '{key}'", "", (name, key), of_key=True)
            if not changes:
                yield Finding("R018", f"variant {show(name)} changes nothing", "leave it out", (name,))


def plain_text(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check that a text can be shown on a terminal as it is."""
    odd = next((c for c in value if not (c.isprintable() or c in "\n\t")), None) if isinstance(value, str) else None
    if odd is not None:
        yield Finding("R023", f"the text holds {show(odd)}", "use printable characters only")


def not_empty(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check that a text says something, and can be shown."""
    yield from plain_text(value, _others)
    if isinstance(value, str) and not value.strip():
        yield Finding("R018", "the reason is empty", "say in a few words why: it is shown in the plan and the log")


def ids(value: Any, others: _Others) -> Iterator[Finding]:
    """Check rootnames and patterns of rootnames: IPPPSSOOT, J for ACS."""
    if not isinstance(value, list | tuple):
        return
    if not value and others.get("proposal") is None:
        hint = 'name associations or exposures: ids = ["J9L960010"]'
        yield Finding("R018", "neither ids nor a proposal: no exposure is asked for", hint)
    for index, name in enumerate(value):
        if isinstance(name, str):
            yield from _rootname(name, (index,))
    yield from _twice(value, "R019", "id")


def _rootname(text: str, at: tuple[str | int, ...]) -> Iterator[Finding]:
    name = text.upper()
    if "*" in name or "?" in name:
        if not _PATTERN.fullmatch(name):
            yield Finding("R020", f"{show(text)} holds characters that no rootname has", _rootname_hint(name), at)
        elif len(name.replace("*", "")) > 9 or ("*" not in name and len(name) != 9):
            yield Finding("R020", f"{show(text)} matches no rootname: those have 9 characters", "", at)
        elif name[0] not in "J*?":
            yield Finding("R020", f"{show(text)} is not of ACS, whose rootnames start with J", _instrument(name), at)
    elif not _ROOTNAME.fullmatch(name):
        message = f"{show(text)} is not an ACS rootname (IPPPSSOOT: J and 8 letters or digits)"
        yield Finding("R020", message, _rootname_hint(name), at)


def _rootname_hint(name: str) -> str:
    stem = re.match(r"(?:.*/)?(J[A-Z0-9]{8})[_.]", name)
    if stem:
        return f"give the rootname, not the file: {stem.group(1)}"
    if name.isdigit() and len(name) <= 5:
        return f"for a proposal write proposal = {name}"
    if re.fullmatch(r"[A-Z0-9]{9}", name):
        return _instrument(name)
    if re.fullmatch(r"J[A-Z0-9]{1,20}", name):
        return f"it has {len(name)} characters, not 9" + ("; for all that start so add '*'" if len(name) < 9 else "")
    return ""


def _instrument(name: str) -> str:
    other = _OTHER_INSTRUMENTS.get(name[0])
    return f"{name[0]} is {other}" if other else ""


def _twice(value: Any, code: str, what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if isinstance(item, str):
            if item.upper() in seen:
                yield Finding(code, f"{what} {show(item)} is given twice", "leave one out", (index,))
            seen.add(item.upper())


def proposal(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the proposal's number."""
    if isinstance(value, int) and not isinstance(value, bool) and not 0 < value < 100_000:
        yield Finding("R020", f"{show(value)} is not an HST proposal", "proposals have up to five digits")


def products(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the kinds of file to take: RAW to calibrate, or FLT or FLC to go on with (see :func:`calibrate`)."""
    if not isinstance(value, list | tuple):
        return
    for index, name in enumerate(value):
        if isinstance(name, str) and name.upper() not in PRODUCTS:
            yield Finding("R022", f"unknown product {show(name)}", did_you_mean(name, PRODUCTS, listed=True), (index,))
    yield from _twice(value, "R019", "product")
    if not any(name in ("RAW", "FLT", "FLC") for name in upper(value)):
        yield Finding("R022", "products lack RAW: there would be nothing to calibrate", 'add "RAW"')


def calibrate(value: Any, others: _Others) -> Iterator[Finding]:
    """Check that what is to be calibrated is asked for, and that what is not calibrated has no switches set."""
    observations = others.get("observations")
    engine = value.get("engine") if isinstance(value, Mapping) else getattr(value, "engine", None)
    if observations is None:
        return
    kinds = [kind for kind in observations.products if kind in ("RAW", "FLT", "FLC")]
    if engine != "none":
        if "RAW" not in kinds:
            hint = 'add "RAW" to products, or write engine = "none" to go on with calibrated files'
            yield Finding("R022", "products lack RAW: there would be nothing to calibrate", hint, ("engine",))
        return
    if kinds not in (["FLT"], ["FLC"]):
        found = ", ".join(kinds)
        hint = 'write products = ["FLT"] or ["FLC"]'
        yield Finding(
            "R022", f'engine = "none" takes either FLT or FLC files, but products has {found}', hint, ("engine",)
        )
    if others.get("switches"):
        hint = "leave [switches] out, or let an engine calibrate"
        yield Finding("R032", 'engine = "none" calibrates nothing, so that no switch has an effect', hint, ("engine",))


def member_filter(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check keep or drop of an association: MEMTYPE and MEMNAME, and the form of their values."""
    if not isinstance(value, Mapping):
        return
    for key, items in value.items():
        if key not in MEMBER_KEYS:
            hint = did_you_mean(key, MEMBER_KEYS, listed=True)
            yield Finding("R010", f"unknown key '{key}', expected MEMTYPE or MEMNAME", hint, (key,), of_key=True)
            continue
        if not isinstance(items, list | tuple):
            continue
        if not items:
            yield Finding("R018", f"{key} has no values", "leave it out, or name some", (key,))
        for index, item in enumerate(items):
            if isinstance(item, str):
                found = _rootname(item, (key, index)) if key == "MEMNAME" else _memtype(item, (key, index))
                yield from found


def _memtype(text: str, at: tuple[str | int, ...]) -> Iterator[Finding]:
    name = text.upper()
    if ("*" in name or "?" in name) and re.fullmatch(r"[A-Z0-9*?-]+", name):
        return
    if not _MEMTYPE.fullmatch(name):
        near = nearest(name.replace("_", "-"), _MEMTYPES)
        hint = f"did you mean '{near}'?" if near else f"as in {', '.join(_MEMTYPES)}"
        yield Finding("R021", f"{show(text)} is not a MEMTYPE", hint, at)


def path(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check a path without looking at the disk: nothing is expanded, and only an absolute path leaves the folder."""
    if isinstance(value, str):
        yield from _path(value, ())


def _path(text: str, at: tuple[str | int, ...]) -> Iterator[Finding]:
    odd = next((character for character in text if not character.isprintable()), None)
    if not text.strip():
        yield Finding("R018", "the path is empty", "'.' is the recipe's own folder", at)
    elif odd is not None:
        yield Finding("R064", f"the path holds {show(odd)}", "use printable characters only", at)
    elif text.startswith("~"):
        yield Finding("R064", f"the path {show(text)} starts with '~', which is not expanded here",
                      "write the folder out from '/'", at)  # fmt: skip
    elif "$" in text:
        yield Finding("R064", f"the path {show(text)} holds '$': a recipe reads no environment variables",
                      "write the folder out", at)  # fmt: skip
    elif "://" in text:
        yield Finding("R064", f"{show(text)} is a URL, expected a path", "download it first, and name the file", at)
    elif len(text.encode()) > 1024:
        yield Finding("R064", f"the path has {len(text.encode())} bytes, at most 1024 are allowed", "", at)
    elif not text.startswith("/") and posixpath.normpath(text).split("/")[0] == "..":
        yield Finding("R065", f"the path {show(text)} leaves the recipe's folder",
                      "write it as an absolute path if that is meant", at)  # fmt: skip


def context(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the name of a CRDS context."""
    if not isinstance(value, str) or value == "latest" or _CONTEXT.fullmatch(value):
        return
    hint = "write hst_NNNN.pmap, or 'latest'"
    bare = re.fullmatch(r"(?i)(?:hst[_-])?0*(\d{1,5})(?:\.pmap)?", value)
    if bare:
        hint = f"did you mean 'hst_{bare.group(1):0>4}.pmap'?"
    elif re.fullmatch(r"jwst_\w+\.pmap|roman_\w+\.pmap", value):
        hint = "ACS is on HST: its contexts are hst_NNNN.pmap"
    elif nearest(value, ("latest",)):
        hint = "did you mean 'latest'?"
    elif re.match(r"\d{4}-\d\d", value):
        hint = "dates are not contexts: look up the context of that date, and name it"
    yield Finding("R062", f"{show(value)} is not a CRDS context", hint)


def server(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the address of a CRDS server; a recipe holds no secrets."""
    if not isinstance(value, str):
        return
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not value.isascii() or not value.isprintable():
        hint = (
            f"did you mean 'https://{value}'?" if re.fullmatch(r"[a-z0-9.-]+\.[a-z]+", value) else "as in https://host"
        )
        yield Finding("R063", f"{show(value)} is not the address of a server", hint)
    elif "@" in parts.netloc:
        yield Finding("R063", "the server's address holds a user name or password", "a recipe is shared: leave it out")
    elif parts.query or parts.fragment or any(mark in value for mark in " '\"`;$\\"):
        yield Finding("R063", f"{show(value)} is more than the address of a server", "as in https://host/path")


def reference_overrides(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check reference keywords, and names of files that calacs can read."""
    if not isinstance(value, Mapping):
        return
    for keyword, file in value.items():
        if keyword in OBSOLETE_REFERENCES:
            hint = "leave it out; photometry is in IMPHTTAB"
            yield Finding("R060", f"{keyword} is read by nothing any more", hint, (keyword,), of_key=True)
        elif keyword not in REFERENCES:
            hint = did_you_mean(keyword, REFERENCES) or f"reference keywords: {', '.join(REFERENCES)}"
            yield Finding("R060", f"unknown reference keyword '{keyword}'", hint, (keyword,), of_key=True)
        if isinstance(file, str):
            yield from _reference(keyword, file)


def _reference(keyword: str, file: str) -> Iterator[Finding]:
    at = (keyword,)
    if file.strip().upper() in ("N/A", "NA", "NONE"):
        hint = "switch off the steps that need it under [switches]"
        yield Finding("R061", f"{keyword} can't be {show(file)}: calacs wants a file", hint, at)
        return
    if re.match(r"[a-z]+\$", file):
        hint = f'write the path of the file: "refs/{file.split("$")[-1]}"' if len(file) < 60 else ""
        yield Finding("R061", f"{show(file)} is a name for headers, expected the path of a file", hint, at)
        return
    wrong = next(_path(file, at), None)
    name = posixpath.basename(file)
    if wrong is not None:
        yield wrong
    elif not _REFERENCE_NAME.fullmatch(name):
        hint = "the file's own name has letters, digits, '_', '-', '+', '.' only and ends in .fits"
        yield Finding("R061", f"calacs can't read a reference file named {show(name)}", hint, at)
    elif len(name) > _LONGEST_REFERENCE:
        message = f"the name of {keyword}'s file has {len(name)} characters, at most {_LONGEST_REFERENCE} fit in a card"
        yield Finding("R061", message, "rename the file", at)


def threads(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check a number of threads."""
    if isinstance(value, int) and not isinstance(value, bool) and not 1 <= value <= 1024:
        yield Finding("R051", f"threads is {show(value)}, expected 1 to 1024")


def section(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check a section of an image: x0 < x1 and y0 < y1, from 0."""
    if not isinstance(value, list | tuple):
        return
    if len(value) != 4:
        yield Finding("R013", f"a section has 4 numbers, not {len(value)}", "[x0, x1, y0, y1]")
        return
    if any(type(edge) is not int for edge in value):
        return
    x0, x1, y0, y1 = value
    if not (0 <= x0 < x1 <= 100_000 and 0 <= y0 < y1 <= 100_000):
        hint = "[x0, x1, y0, y1] with 0 <= x0 < x1 and 0 <= y0 < y1"
        yield Finding("R051", f"the section [{', '.join(map(show, value))}] holds no pixels", hint)


def post_steps(value: Any, _others: _Others) -> Iterator[Finding]:
    """Check the steps against each other: none twice, every ``after`` a step of this recipe, no cycles."""
    if not isinstance(value, list | tuple):
        return
    tables = [(index, _as_table(item)) for index, item in enumerate(value)]
    after: dict[str, tuple[int, list[str]]] = {}
    for index, table in tables:
        name = table.get("step")
        if not isinstance(name, str):
            continue
        if name in after:
            yield Finding("R070", f"step {show(name)} is given twice", "leave one out", (index, "step"))
        else:
            before = table.get("after")
            after[name] = (index, [b for b in before if isinstance(b, str)] if isinstance(before, list | tuple) else [])
    for name, (index, before) in after.items():
        for place, earlier in enumerate(before):
            if earlier not in after:
                hint = did_you_mean(earlier, after, listed=True)
                message = f"step '{name}' comes after {show(earlier)}, which is not a step of this recipe"
                yield Finding("R071", message, hint, (index, "after", place))
    cycle = _find_cycle({name: before for name, (_, before) in after.items()})
    if cycle:
        index = after[cycle[0]][0]
        yield Finding(
            "R072", f"steps wait for each other: {' -> '.join(cycle)}", "remove one 'after'", (index, "after")
        )


def _as_table(item: Any) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return item
    return {name: getattr(item, name) for name in ("step", "after") if hasattr(item, name)}


def _find_cycle(after: Mapping[str, list[str]]) -> list[str]:
    """Give one cycle, first name repeated at the end, starting from its first step in the recipe; else nothing."""
    edges = {name: iter([each for each in earlier if each in after]) for name, earlier in after.items()}
    done: set[str] = set()
    for start in after:
        # Without recursion: the steps that wait, each for the one behind it.
        trail: dict[str, None] = {} if start in done else {start: None}
        while trail:
            name = next(reversed(trail))
            earlier = next(edges[name], None)
            if earlier is None:
                done.add(name)
                del trail[name]
            elif earlier in trail:
                names = list(trail)
                return [*names[names.index(earlier) :], earlier]
            elif earlier not in done:
                trail[earlier] = None
    return []

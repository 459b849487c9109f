"""What pydantic reports of a recipe, as findings in our own words with paths into the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from acsrecipe.recipe.cards import did_you_mean, kind_of, nearest, show
from acsrecipe.recipe.codes import CODES
from acsrecipe.recipe.findings import Finding
from acsrecipe.recipe.keywords import REFERENCES, SWITCHES
from acsrecipe.recipe.model import (
    STEPS,
    ArchiveFolder,
    AssociationFilter,
    Calibrate,
    ComparePlot,
    HeaderOverride,
    Observations,
    Provenance,
    Recipe,
    References,
    UpdateWcs,
)

Path = tuple[str | int, ...]

_MOST_MISSPELT: Final = 200

_TABLES: Final[dict[Path, type[BaseModel]]] = {
    (): Recipe,
    ("observations",): Observations,
    ("observations", "archive"): ArchiveFolder,
    ("association",): AssociationFilter,
    ("headers", 0): HeaderOverride,
    ("references",): References,
    ("calibrate",): Calibrate,
    ("provenance",): Provenance,
}
_STEP_TABLES: Final[dict[str, type[BaseModel]]] = {"updatewcs": UpdateWcs, "compare-plot": ComparePlot}
_LISTS_OF_TABLES: Final = ("headers", "post")
_EXAMPLES: Final[dict[str, str]] = {
    "format": "format = 1",
    "name": 'name = "ngc104-f606w"',
    "archive": 'archive = "mast", or archive = { folder = "data/" }',
    "observations": '[observations] with ids = ["J9L960010"] and archive = "mast"',
    "set": "set = { DARKTIME = 339.5 }",
    "reason": 'reason = "why this is needed"',
    "folder": 'folder = "data/"',
    "step": 'step = "updatewcs"',
}
_EXPECTED: Final[dict[str, str]] = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "string_type": "a string",
    "float_type": "a number",
    "tuple_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}


def read_mistakes(error: ValidationError, data: Mapping[str, Any]) -> Iterator[Finding]:
    """Translate what pydantic found wrong in ``data``, one by one: a hint is made only when it is asked for.

    Parameters
    ----------
    error : pydantic.ValidationError
        As raised by :class:`~acsrecipe.recipe.model.Recipe`.
    data : mapping
        What was validated.

    Yields
    ------
    Finding
        With the whole path from the top of the file.
    """
    lines = [(line, _path(line["loc"], data)) for line in error.errors(include_url=False)]
    # A misspelt key is one mistake, though pydantic also misses the right one.
    meant = {
        (*path[:-1], near)
        for line, path in lines[:_MOST_MISSPELT]
        if line["type"] == "extra_forbidden" and (near := nearest(str(path[-1]), _fields(path[:-1], data)))
    }
    # One value may break a rule and a type at once: people need to hear it once, in the words of the rule.
    said: set[Path] = set()
    for own in (True, False):
        for line, path in lines:
            if (line["type"] in CODES) != own or (path in meant and not _is_written(path, data)):
                continue
            finding = _ours(line, path) if own else _pydantics(line, path, data)
            if own or finding.path not in said:
                said.add(finding.path)
                yield finding


def _is_written(path: Path, data: Mapping[str, Any]) -> bool:
    here: Any = data
    for part in path:
        if not _holds(here, part):
            return False
        here = here[part]
    return True


def _path(location: tuple[str | int, ...], data: Mapping[str, Any]) -> Path:
    """Drop from pydantic's location what is not in the file: names of union branches, '[key]'."""
    path: Path = ()
    here: Any = data
    for place, part in enumerate(location):
        if _holds(here, part):
            here = here[part]
            path = (*path, part)
        elif part == "[key]" or part in _BRANCHES:
            continue
        elif place == len(location) - 1:
            path = (*path, part)
    return path


def _holds(here: Any, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, Mapping) and part in here


_BRANCHES: Final = frozenset({*STEPS, "archive-name", "archive-folder", "bool", "int", "float", "str"})


def _ours(line: Any, path: Path) -> Finding:
    context = line.get("ctx", {})
    message, hint = context.get("message", line["msg"]), context.get("hint", "")
    if line["type"] == "R013" and path:
        message = f"{_name(path)}: {message}"
    return Finding(line["type"], message, hint, path, bool(context.get("of_key")))


def _pydantics(line: Any, path: Path, data: Mapping[str, Any]) -> Finding:
    kind, value = line["type"], line["input"]
    match kind:
        case "extra_forbidden":
            return _unknown_key(path, data)
        case "missing" if isinstance(path[-1], int):
            return Finding("R013", f"{_name(path[:-1])} has too few elements", "", path[:-1])
        case "missing" | "union_tag_not_found":
            return _missing(path if kind == "missing" else (*path, "step"))
        case "union_tag_invalid":
            tag = str(line["ctx"]["tag"])
            hint = did_you_mean(tag, STEPS, listed=True)
            return Finding("R012", f"unknown step {show(tag)} in [[post]]", hint, (*path, "step"))
        case "literal_error":
            allowed = line["ctx"]["expected"]
            words = allowed.replace("'", "").replace(" or ", ", ").split(", ")
            near = nearest(value, words) if isinstance(value, str) else None
            hint = f"did you mean '{near}'?" if near else ""
            return Finding("R016", f"{_name(path)} is {show(value)}, expected {allowed}", hint, path)
        case "too_short" | "too_long":
            size = f"has {len(value)} elements, expected {line['ctx'].get('min_length', line['ctx'].get('max_length'))}"
            return Finding("R013", f"{_name(path)} {size}", "", path)
        case _:
            return _wrong_type(path, value, _EXPECTED.get(kind, "something else"))


def _wrong_type(path: Path, value: Any, expected: str) -> Finding:
    name = _name(path)
    if isinstance(value, Mapping) and path and path[-1] in _LISTS_OF_TABLES and expected == "an array":
        message = f"[{name}] is one table, expected a list of tables"
        return Finding("R014", message, f"write [[{name}]], with two brackets", path, of_key=True)
    if isinstance(value, list) and expected == "a table" and value and isinstance(value[0], Mapping):
        message = f"[[{name}]] is a list of tables, expected one table"
        return Finding("R014", message, f"write [{name}], with one bracket", path, of_key=True)
    hint = ""
    if expected == "an array" and isinstance(value, str):
        hint = f"write [{_toml(value)}]" if len(value) < 60 else "put it in brackets"
    elif expected == "true or false" and isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "yes", "on", "false", "no", "off"):
            hint = f"write {'true' if word in ('true', 'yes', 'on') else 'false'}, without quotes"
    elif expected == "a whole number" and isinstance(value, str) and value.strip().isdigit() and len(value) < 20:
        hint = f"write {value.strip()}, without quotes"
    elif expected == "a table" and path and isinstance(path[0], str):
        hint = f"write [{name}] on a line of its own, and its keys below" if len(path) == 1 else ""
    return Finding("R013", f"{name}: expected {expected}, found {kind_of(value)}", hint, path)


def _toml(text: str) -> str:
    return f'"{text}"' if '"' not in text and "\\" not in text and text.isprintable() else show(text)


def _name(path: Path) -> str:
    """Name a place as people write it: ``headers[0].set.CCDGAIN``."""
    name = ""
    for part in path:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    return name if len(name) <= 80 else f"{name[:77]}..."


def _table_name(path: Path) -> str:
    if not path:
        return "the recipe"
    if isinstance(path[-1], int):
        return f"[[{path[-2]}]]"
    return f"[{_name(path)}]"


def _fields(path: Path, data: Mapping[str, Any]) -> tuple[str, ...]:
    if path and path[0] == "post":
        step = data["post"][path[1]].get("step")
        return tuple(_STEP_TABLES[step].model_fields) if step in _STEP_TABLES else ()
    model = _TABLES.get(tuple(0 if isinstance(part, int) else part for part in path))
    return tuple(model.model_fields) if model is not None else ()


def _unknown_key(path: Path, data: Mapping[str, Any]) -> Finding:
    table, key = path[:-1], str(path[-1])
    known = _fields(table, data)
    near = nearest(key, known)
    hint = f"did you mean '{near}'?" if near else _elsewhere(key, table) or f"known here: {', '.join(known)}"
    return Finding("R010", f"unknown key {show(key)} in {_table_name(table)}", hint, path, of_key=True)


def _elsewhere(key: str, table: Path) -> str:
    """Say in which table a key is at home."""
    for step, model in _STEP_TABLES.items():
        if table[:1] == ("post",) and key in model.model_fields:
            return f"'{key}' is an option of the step {step}"
    for home, model in _TABLES.items():
        if home != table and key in model.model_fields:
            return (
                f"'{key}' belongs in {_table_name(home)}" if home else f"'{key}' belongs at the top, before any table"
            )
    if key in SWITCHES:
        return f"the switch {key} belongs in [switches]"
    return f"{key} belongs in [references.override]" if key in REFERENCES else ""


def _missing(path: Path) -> Finding:
    table, key = path[:-1], str(path[-1])
    example = _EXAMPLES.get(key, "")
    return Finding("R011", f"'{key}' is missing in {_table_name(table)}", f"add {example}" if example else "", path)

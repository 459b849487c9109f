"""The JSON Schema of the recipe format, for editors: made from the models, with what the rules know of names added.

``acsrecipe schema`` writes it; ``schemas/recipe-1.json`` is that, committed.
"""

from __future__ import annotations

import json
from typing import Any, Final

from acsrecipe.recipe.keywords import (
    IDENTITY,
    KEYWORDS,
    LONGEST,
    LONGEST_STRING,
    MEMBER_KEYS,
    PRODUCTS,
    REFERENCES,
    STRUCTURAL,
    SWITCH_VALUES,
    SWITCHES,
    Kind,
)
from acsrecipe.recipe.model import FORMAT, Recipe

_JSON_TYPES: Final[dict[Kind, str]] = {"bool": "boolean", "int": "integer", "float": "number", "str": "string"}
_KEYWORD_PATTERN: Final = "^[A-Z0-9_-]{1,8}$"
_ROOTNAME_PATTERN: Final = "^[Jj*?][A-Za-z0-9*?]{0,17}$"
_PATH_PATTERN: Final = r"^[^~$][^$]*$"


def recipe_schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of a recipe.

    Returns
    -------
    dict
        Every field has a description, and an example where one helps; names of switches, keywords, references and
        products are listed so that an editor completes them. It is looser than :func:`load_recipe`, never stricter.
    """
    schema = Recipe.model_json_schema()
    parts = schema["$defs"]
    recipe = schema["properties"]
    observations = parts["Observations"]["properties"]
    override = parts["HeaderOverride"]["properties"]
    references = parts["References"]["properties"]

    _name_keys(recipe["switches"], {name: {"description": what} for name, what in SWITCHES.items()}, SWITCH_VALUES)
    _name_keys(references["override"], {name: {"description": what} for name, what in REFERENCES.items()})
    for choice in ("keep", "drop"):
        _name_keys(parts["AssociationFilter"]["properties"][choice], {name: {} for name in MEMBER_KEYS})
    for table in ("set", "where"):
        override[table]["propertyNames"] = {"pattern": _KEYWORD_PATTERN}
    override["set"]["properties"] = _cards()
    observations["ids"]["items"]["pattern"] = _ROOTNAME_PATTERN
    observations["products"]["items"]["anyOf"] = [
        {"const": name, "description": what} for name, what in PRODUCTS.items()
    ] + [{"type": "string"}]
    recipe["name"]["pattern"] = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    override["reason"]["minLength"] = 1
    parts["ArchiveFolder"]["properties"]["folder"]["pattern"] = _PATH_PATTERN
    references["context"]["pattern"] = r"^(latest|hst_[0-9]{4,5}\.pmap)$"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"acsrecipe recipe, format {FORMAT}",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def schema_text() -> str:
    """Give the schema as it is committed: indented JSON with a line end."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=True) + "\n"


def _name_keys(table: dict[str, Any], keys: dict[str, dict[str, Any]], values: tuple[str, ...] | None = None) -> None:
    each = table["additionalProperties"]
    if values is not None:
        each = {"enum": list(values)}
    table["properties"] = {name: {**each, **more} for name, more in keys.items()}
    table["additionalProperties"] = False


def _cards() -> dict[str, dict[str, Any]]:
    cards: dict[str, dict[str, Any]] = {}
    for keywords in KEYWORDS.values():
        for name, kind in keywords.items():
            if name in STRUCTURAL | IDENTITY:
                continue
            cards[name] = {"type": _JSON_TYPES[kind]}
            if kind == "str":
                cards[name]["maxLength"] = LONGEST.get(name, LONGEST_STRING)
    return dict(sorted(cards.items()))

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tomli

from acsrecipe.recipe.keywords import REFERENCES, SWITCHES
from acsrecipe.recipe.model import Recipe
from acsrecipe.recipe.schema import recipe_schema, schema_text

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_schema_is_current() -> None:
    committed = (ROOT / "schemas" / "recipe-1.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "schemas/recipe-1.json is stale: make schema"


def test_every_field_has_a_description_and_an_example() -> None:
    schema = recipe_schema()
    tables = {"Recipe": schema, **schema["$defs"]}
    lacking = [
        (table, name, what)
        for table, part in tables.items()
        for name, field in part["properties"].items()
        for what in ("description", "examples")
        if not field.get(what)
    ]
    assert lacking == []
    assert all(part["description"] for part in tables.values())


def test_names_are_listed_for_editors() -> None:
    schema = recipe_schema()
    assert set(schema["properties"]["switches"]["properties"]) == set(SWITCHES)
    assert set(schema["$defs"]["References"]["properties"]["override"]["properties"]) == set(REFERENCES)
    assert schema["$defs"]["HeaderOverride"]["properties"]["set"]["properties"]["EXPTIME"] == {"type": "number"}


def test_every_example_is_accepted_by_the_format() -> None:
    schema = recipe_schema()
    smallest = {"format": 1, "name": "x", "observations": {"ids": ["J9L960010"], "archive": "mast"}}
    homes = {"Observations": "observations", "AssociationFilter": "association", "References": "references",
             "Calibrate": "calibrate"}  # fmt: skip
    for name, field in schema["properties"].items():
        for example in field["examples"]:
            assert Recipe.model_validate({**smallest, name: example}).name
    for definition, home in homes.items():
        for name, field in schema["$defs"][definition]["properties"].items():
            for example in field["examples"]:
                table = {**smallest.get(home, {}), name: example}  # type: ignore[dict-item]
                assert Recipe.model_validate({**smallest, home: table}).name


def test_the_recipes_of_the_project_obey_the_schema() -> None:
    schema = recipe_schema()
    for path in (ROOT / "recipes").glob("*.toml"):
        assert list(_breaches(tomli.loads(path.read_text()), schema, schema)) == []
    assert list(_breaches({"format": 2, "name": "x y", "observation": {}}, schema, schema))


def _breaches(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """Check the part of JSON Schema that ours uses, as no validator is among the dependencies."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], **schema}
    found: list[str] = []
    branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if branches and all(_breaches(value, branch, root) for branch in branches):
        found.append(f"{value!r} fits no branch")
    if "const" in schema and value != schema["const"]:
        found.append(f"{value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is none of {schema['enum']}")
    kinds: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
                             "boolean": bool, "null": type(None)}  # fmt: skip
    kind = schema.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [*found, f"{value!r} is not of type {kind}"]
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{value!r} does not match {schema['pattern']}")
    if isinstance(value, dict):
        found += [f"{name} is missing" for name in schema.get("required", ()) if name not in value]
        for name, item in value.items():
            part = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
            if part is False:
                found.append(f"{name} is unknown")
            elif part is not True:
                found += _breaches(item, part, root)
    if isinstance(value, list) and "items" in schema:
        found += [breach for item in value for breach in _breaches(item, schema["items"], root)]
    return found

"""A recipe out of parts: included defaults below it, a variant above it.

One rule for both: tables are merged key by key; anything else, also a list of tables, is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

NOT_IN_VARIANTS: Final = ("format", "name", "include", "variants")
"""Keys that a variant can't change: it is a variant of this recipe."""


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one table over another.

    Examples
    --------
    >>> merge({"switches": {"A": 1, "B": 1}, "post": [1]}, {"switches": {"B": 2}, "post": []})
    {'switches': {'A': 1, 'B': 2}, 'post': []}
    """
    merged = dict(below)
    for key, value in above.items():
        earlier = merged.get(key)
        merged[key] = merge(earlier, value) if isinstance(earlier, dict) and isinstance(value, dict) else value
    return merged


def vary(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Give the data of a variant: the recipe without its variants, changed, and named after both."""
    whole = {key: value for key, value in data.items() if key != "variants"}
    varied = merge(whole, data["variants"][name])
    varied["name"] = f"{data.get('name')}-{name}"
    return varied

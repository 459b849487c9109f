"""Declarative, reviewable and recorded reprocessing of HST/ACS exposures.

A recipe says what should be true of a set of exposures; a plan shows what that would change; a run does
exactly that, and its log can prove it. Data flow one way, room by room::

    recipe.toml --recipe--> Recipe                         what the user asks
    Recipe --inputs--> Inventory                           what exists (reads only)
    Recipe + Inventory --plan--> Plan                      what will be done (pure data)
    Plan --run, with engines and steps--> events, products the only part that writes
    Plan + events --record--> provenance, audit, report    what was done

In Python: :func:`load_recipe`, :func:`build_plan`, :func:`run_plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acsrecipe.api import build_plan, load_recipe, run_plan
    from acsrecipe.environment import Environment
    from acsrecipe.errors import AcsRecipeError

__version__ = "0.1.0"
__all__ = ["AcsRecipeError", "Environment", "__version__", "build_plan", "load_recipe", "run_plan"]

_HOMES = {
    "AcsRecipeError": "acsrecipe.errors",
    "Environment": "acsrecipe.environment",
    "build_plan": "acsrecipe.api",
    "load_recipe": "acsrecipe.api",
    "run_plan": "acsrecipe.api",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that ``import acsrecipe`` costs nothing."""
    if name not in _HOMES:
        msg = f"module 'acsrecipe' has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)

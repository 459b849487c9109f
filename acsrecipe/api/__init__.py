"""The road in Python, one file a verb, as ``cli`` has one file a command.

``road``
    load a recipe, build its plan, run that plan
``look``, ``sources``
    what exists and bears on a recipe, and where it comes from
``lock``, ``diff``, ``audit``, ``origin``
    pin it; say what would change; check what there is; find the recipe of a product
"""

from acsrecipe.api.look import base_folder, find_exposures, look
from acsrecipe.api.road import build_plan, load_recipe, refuse_drift, run_plan, versions

__all__ = [
    "base_folder",
    "build_plan",
    "find_exposures",
    "load_recipe",
    "look",
    "refuse_drift",
    "run_plan",
    "versions",
]

"""Look: from a recipe to what exists and bears on it. Everything here only reads.

The one place where the flow turns: CRDS's choice depends on the switches, so the headers are first brought, in memory,
to what the recipe makes of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from acsrecipe.api.sources import crds_settings, find_reference, open_mast
from acsrecipe.environment import Environment
from acsrecipe.errors import ArchiveError, PlanError
from acsrecipe.files import sha256_file
from acsrecipe.inputs.archive import LocalFolder
from acsrecipe.inputs.download import Report
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.model import Context, FileIdentity, HduHeader, Inventory, Observed, ReferenceChoice, Value
from acsrecipe.inputs.survey import Found, survey
from acsrecipe.plan.changes import override_headers
from acsrecipe.recipe.model import ArchiveFolder
from acsrecipe.recipe.toml import LoadedRecipe, resolve_path


def look(recipe: LoadedRecipe, environment: Environment) -> Inventory:
    """Find out what exists and bears on a recipe: exposures, associations, context, references.

    Raises
    ------
    PlanError, ArchiveError
        See :func:`acsrecipe.api.build_plan`.
    """
    base = base_folder(recipe)
    found = find_exposures(recipe, environment)
    if not found.exposures:
        # What is wrong with the exposures is the news; CRDS has nothing to choose for.
        return Inventory(exposures=(), associations=found.associations, observed=found.observed)
    headers, _ = override_headers(recipe, found.exposures)
    merged = {root: header.merged() for root, header in headers.items()}
    context, references, observed = _choose_references(recipe, environment, merged, base)
    custom = {
        keyword: _identify_custom(resolve_path(recipe, path), base, recipe, keyword)
        for keyword, path in recipe.recipe.references.override.items()
    }
    return Inventory(
        exposures=found.exposures,
        associations=found.associations,
        context=context,
        references=references,
        custom=custom,
        observed=(*found.observed, *observed),
        reference_headers=dict(_read_references(references, custom, base)),
    )


def find_exposures(
    recipe: LoadedRecipe, environment: Environment, *, whole: bool = False, report: Report | None = None
) -> Found:
    """Find the exposures and associations of a recipe in its archive.

    Parameters
    ----------
    recipe : LoadedRecipe
    environment : Environment
    whole : bool
        Download what MAST has, instead of reading headers from afar.
    report : callable, optional
        Told of the progress of downloads.
    """
    asked = recipe.recipe.observations
    filters = recipe.recipe.association
    options: dict[str, Any] = {
        "proposal": asked.proposal,
        "products": asked.products,
        "keep": filters.keep,
        "drop": filters.drop,
        "threads": os.cpu_count() or 1,
    }
    if isinstance(asked.archive, ArchiveFolder):
        base = base_folder(recipe)
        folder = resolve_path(recipe, asked.archive.folder)
        return survey(LocalFolder(folder, shown_as=_shown(folder, base)), asked.ids, **options)
    mast = open_mast(environment, asked.proposal, whole=whole, report=report)
    try:
        mast.look_ahead(asked.ids)
        return survey(mast, asked.ids, **options)
    finally:
        mast.close()


def base_folder(recipe: LoadedRecipe) -> Path:
    """Give the folder that a recipe's relative paths start in: its own."""
    return recipe.path.resolve().parent if recipe.path else Path()


def _shown(path: Path, base: Path) -> str:
    """Write a path as plans show it: relative to the recipe's folder where it lies below, else absolute."""
    resolved = path.resolve()
    return str(resolved.relative_to(base)) if resolved.is_relative_to(base) else str(resolved)


def _choose_references(
    recipe: LoadedRecipe, environment: Environment, headers: Mapping[str, Mapping[str, Value]], base: Path
) -> tuple[Context, dict[str, dict[str, ReferenceChoice]], tuple[Observed, ...]]:
    from acsrecipe.inputs.references import open_rules

    settings = crds_settings(recipe, environment)
    try:
        rules = open_rules(settings, recipe.recipe.references.context)
    except ArchiveError as error:
        if str(error.where).startswith("[references]"):
            error.where = recipe.where("references", "context")
        raise
    chosen: dict[str, dict[str, ReferenceChoice]] = {}
    for rootname, header in headers.items():
        chosen[rootname] = {
            keyword: replace(choice, file=_relative(choice.file, base)) if choice.file else choice
            for keyword, choice in (
                (keyword, find_reference(found, rules.cache, online=settings.online))
                for keyword, found in rules.choose(header).items()
            )
        }
    # A server that was asked was heard just now: a plan, which knows no clock, does not say when.
    synced = "" if rules.context.server else rules.context.synced
    context = replace(rules.context, cache=_shown(Path(rules.context.cache), base), synced=synced)
    return context, chosen, rules.observed


def _relative(file: FileIdentity, base: Path) -> FileIdentity:
    return replace(file, path=_shown(Path(file.path), base))


def _identify_custom(path: Path, base: Path, recipe: LoadedRecipe, keyword: str) -> FileIdentity:
    if not path.is_file():
        kind = "it is a folder" if path.is_dir() else "it is no plain file" if path.exists() else "there is none"
        msg = f"{keyword}: {path} can't be read: {kind}"
        where = recipe.where("references", "override", keyword)
        raise PlanError(msg, where=where, hint="name a FITS file, relative to the recipe or absolute", code="P206")
    return FileIdentity(path=_shown(path, base), size=path.stat().st_size, sha256=sha256_file(path))


def _read_references(
    references: Mapping[str, Mapping[str, ReferenceChoice]], custom: Mapping[str, FileIdentity], base: Path
) -> Iterator[tuple[str, tuple[HduHeader, ...]]]:
    """Read the headers that the plan judges by: of the recipe's own references, of those they replace, of PCTETABs."""
    wanted = {file.path for file in custom.values()}
    for choices in references.values():
        for keyword in {*custom, "PCTETAB"} & set(choices):
            file = choices[keyword].file
            if file is not None and not file.source:
                wanted.add(file.path)
    for path in sorted(wanted):
        yield path, read_headers(base / path)

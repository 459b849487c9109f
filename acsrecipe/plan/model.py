"""The plan: what will be done, as pure data that a person reviews and the executor follows.

A plan knows no clock, no environment and no output folder. Its JSON is canonical: the same recipe,
inputs, references and engine give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

ARCHIVED = "mast:"
"""How the path of a file begins that is an archive's, not a folder's."""

Severity = Literal["error", "warning", "note"]
Scalar = bool | int | float | str | None


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Why(_Data):
    """The address of a decision: a line of the recipe, a CRDS rule, or a default.

    Attributes
    ----------
    kind : str
        ``recipe``, ``crds``, ``irrelevant`` (the type does not apply) or ``default``.
    text : str
        The reason, readable on its own.
    where : str
        ``recipes/x.toml:14`` for kind ``recipe``.
    context, mapping, useafter : str
        For kind ``crds``.
    matched : dict
        The rule's parameters and values, for kind ``crds``.
    """

    kind: Literal["recipe", "crds", "irrelevant", "default"]
    text: str
    where: str = ""
    context: str = ""
    mapping: str = ""
    useafter: str = ""
    matched: dict[str, str] = {}


class MemberRow(_Data):
    """A row of an association, and why it goes (empty for rows that stay)."""

    row: int
    memname: str
    memtype: str
    memprsnt: bool
    why: str = ""


class AssociationChange(_Data):
    """What the recipe's filter does to one association."""

    association: str
    file: str
    kept: tuple[MemberRow, ...]
    dropped: tuple[MemberRow, ...]


class HeaderChange(_Data):
    """One card that will differ from the file as delivered; ``old`` is None where the card is new."""

    file: str
    hdu: str
    keyword: str
    old: Scalar
    new: Scalar
    why: Why


class ReferenceChange(_Data):
    """One reference keyword that will differ from the file as delivered."""

    file: str
    keyword: str
    old: Scalar
    new: str
    why: Why


class HeldReference(_Data):
    """What a reference keyword will say, in which files, and why; also where that is what they say already."""

    keyword: str
    value: str
    why: Why
    files: tuple[str, ...]


class PlannedFile(_Data):
    """A file that a task reads, and what makes it itself (hashes are empty where not known yet).

    ``source``, ``seen`` and ``exclusive`` are those of :class:`acsrecipe.inputs.model.FileIdentity`.
    """

    role: str
    path: str
    size: int
    sha256: str = ""
    sha1: str = ""
    source: str = ""
    seen: str = ""
    exclusive: bool = False


class PlannedReference(_Data):
    """A reference file that a task needs: keyword, name in the header, and the file behind it."""

    keyword: str
    name: str
    path: str
    size: int
    sha256: str = ""
    sha1: str = ""
    source: str = ""


class Output(_Data):
    """A file that a task will make.

    Attributes
    ----------
    name : str
        Bare name, ``j9l960a7q_flt.fits``.
    folder : str
        ``products`` or ``plots``; empty for a file that only a later task uses.
    size : int
        Estimated, bytes.
    hdus : tuple of str
        The HDUs it must have, as ``SCI,1``; empty when not a FITS file.
    """

    name: str
    folder: Literal["products", "plots", ""]
    size: int
    hdus: tuple[str, ...] = ()


class Task(_Data):
    """One unit of work. Tasks are listed in an order in which they can be done.

    Attributes
    ----------
    id : str
        ``calibrate/j9l960a7q``.
    kind : str
        ``fetch``, ``association``, ``calibrate``, or the name of a post-step.
    exposures : tuple of str
        Rootnames that it works on.
    after : tuple of str
        Tasks whose outputs it uses.
    inputs : tuple of PlannedFile
        Files as delivered, that it reads or stages a copy of.
    references : tuple of PlannedReference
    outputs : tuple of Output
    engine : str
        ``embedded 0.1.0``, for calibrations.
    parameters : dict
        What the recipe gives a step, or the engine.
    edits : dict
        Per input file name: the header edits, as ``[hdu, keyword, new]``.
    stamp : bool
        Whether its products say, in cards and a table, how they were made.
    fingerprint : str
        Hash of all of the above that bears on the outputs' content, and of the tasks it follows.
    """

    id: str
    kind: str
    exposures: tuple[str, ...]
    after: tuple[str, ...] = ()
    inputs: tuple[PlannedFile, ...] = ()
    references: tuple[PlannedReference, ...] = ()
    outputs: tuple[Output, ...] = ()
    engine: str = ""
    parameters: dict[str, Any] = {}
    edits: dict[str, tuple[tuple[str, str, Scalar], ...]] = {}
    stamp: bool = False
    fingerprint: str = ""


class Finding(_Data):
    """Something a person should know before running; an ``error`` keeps the plan from being run."""

    code: str
    severity: Severity
    message: str
    where: str = ""
    hint: str = ""


class ContextUsed(_Data):
    """The CRDS context, and where that decision came from."""

    name: str
    asked: str
    source: str
    server: str = ""
    cache: str = ""
    synced: str = ""
    mappings: dict[str, str] = {}


class EngineUsed(_Data):
    """The engine that will calibrate, and why it was chosen."""

    name: str
    version: str
    why: str


class Plan(_Data):
    """Everything that a run will do."""

    format: Literal[1] = 1
    recipe: str
    recipe_file: str
    recipe_sha256: str
    context: ContextUsed | None
    engine: EngineUsed | None
    association_changes: tuple[AssociationChange, ...]
    header_changes: tuple[HeaderChange, ...]
    reference_changes: tuple[ReferenceChange, ...]
    tasks: tuple[Task, ...]
    products: tuple[Output, ...]
    findings: tuple[Finding, ...]
    references: tuple[HeldReference, ...] = ()

    @property
    def runnable(self) -> bool:
        """Whether nothing in it stands against running it."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def id(self) -> str:
        """The plan's identity: sha256 of its canonical JSON."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()


@dataclass(frozen=True)
class Requirement:
    """One thing an engine needs of an exposure, as plain data; the plan refuses what does not meet it.

    An exposure meets it when the keyword's value (after all of the recipe's changes; text compared in
    upper case) is among ``allowed`` and within ``[at_least, below)``, or when the conditions in ``when``
    do not all hold.

    Attributes
    ----------
    keyword : str
        Of the primary header, or of any SCI header.
    reason : str
        Completes "the embedded engine can't do this: ...".
    allowed : tuple
        Values that are fine; empty where any is. None in it means "the card may be absent".
    at_least, below : float or None
        Bounds of a number.
    when : tuple of (str, tuple)
        Keyword and values: the requirement counts only where all of these hold.
    """

    keyword: str
    reason: str
    allowed: tuple[Scalar, ...] = ()
    at_least: float | None = None
    below: float | None = None
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()


@dataclass(frozen=True)
class EngineAbility:
    """What an engine is, whether it is here, and what it can do: plain data for the plan."""

    name: str
    version: str
    available: bool
    detail: str = ""
    requirements: tuple[Requirement, ...] = ()
    groups: tuple[str, ...] = ("DTH", "CR", "RPT")


class StepAbility(Protocol):
    """What a post-step declares of itself, which the plan needs to know; a module can be one."""

    @property
    def KIND(self) -> str:  # noqa: N802  (a module's constant)
        """Its name in a recipe."""

    @property
    def REFERENCES(self) -> tuple[str, ...]:  # noqa: N802
        """Reference keywords whose files it reads, where the header names one."""

    @property
    def NEEDS_RAW(self) -> bool:  # noqa: N802
        """Whether it reads the RAW file too."""

    @property
    def REWRITES(self) -> bool:  # noqa: N802
        """Whether it changes the calibrated files themselves."""

    def outputs(self, rootname: str, suffixes: Sequence[str]) -> tuple[str, ...]:
        """Name what it makes of one exposure and its calibrated files (``flt``, ``flc``)."""


@dataclass(frozen=True)
class Outcome:
    """What an engine or a step says of a task that it did; it raises where it could not prove success.

    Attributes
    ----------
    command : tuple of str
        The external program's argv, empty for work done in Python.
    exit_status : int
    versions : dict
        Of everything that touched the data: name to version.
    details : dict
        What the log should keep: the WCS before and after, the last lines of a trailer ...
    warnings : tuple of str
        What a person should hear although the task succeeded.
    """

    command: tuple[str, ...] = ()
    exit_status: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def canonical(data: object) -> str:
    """Write plain data as JSON with sorted keys, so that equal data gives equal bytes."""
    return json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)


def to_json(plan: Plan) -> str:
    """Write a plan as canonical JSON, with a final newline."""
    return canonical(plan.model_dump(mode="json")) + "\n"


def from_json(text: str) -> Plan:
    """Read a plan back; raises ``pydantic.ValidationError`` where the text is not one."""
    return Plan.model_validate_json(text)


def fingerprint(task: Task, before: dict[str, str]) -> str:
    """Hash all that bears on what a task makes.

    Parameters
    ----------
    task : Task
        Its own ``fingerprint`` is left out.
    before : dict
        Fingerprints of the tasks that it follows, by id.

    Returns
    -------
    str
        sha256, hexadecimal. Where a file lies does not count; its content does.
    """
    data = task.model_dump(mode="json", exclude={"fingerprint"})
    for file in data["inputs"]:
        # Of an archive's file the sha256 is known only after the download: what was seen before stands for it,
        # so that a run that has it now goes on where the one that fetched it stopped.
        if file.pop("path").startswith(ARCHIVED):
            file.pop("sha256")
        file.pop("source")
        file.pop("exclusive")
    for file in data["references"]:
        file.pop("path")
        file.pop("source")
    for output in data["outputs"]:
        output.pop("size")
    data["after"] = [before[name] for name in task.after if not name.startswith("fetch/")]
    return hashlib.sha256(canonical(data).encode()).hexdigest()

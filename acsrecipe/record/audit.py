"""Whether what a run left is still what its log, plan and lock say: chain, hashes, seals."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acsrecipe.errors import IntegrityError
from acsrecipe.files import sha256_file
from acsrecipe.plan.lock import Lock, from_toml
from acsrecipe.run.journal import Event, fold, read_journal

LOG, PLAN, LOCK = "provenance.jsonl", "plan.json", "recipe.lock"
FOLDERS = ("products", "plots", "logs")
WATCHED = ("products", "plots")
"""Folders in which every file should be one that the log names."""

Severity = Literal["tampered", "finding", "note"]


@dataclass(frozen=True)
class AuditFinding:
    """Something that an audit found.

    Attributes
    ----------
    code : str
        ``V0xx``; :mod:`acsrecipe.explain` says what each means.
    severity : str
        ``tampered``: it is not what its record says; ``finding``; ``note``: good to know, and nothing wrong.
    file : str
    message : str
    """

    code: str
    severity: Severity
    file: str
    message: str


def audit_run(run: Path, lock: Lock | None = None) -> tuple[AuditFinding, ...]:
    """Check a run's folder: the chain of its log, and the hash of everything that the log, the plan or a lock names.

    Parameters
    ----------
    run : Path
    lock : Lock, optional
        What the run should have kept to; without it the copy in its folder, if there is one.

    Returns
    -------
    tuple of AuditFinding
    """
    found: list[AuditFinding] = []
    log = run / LOG
    if not log.is_file():
        return (AuditFinding("V001", "tampered", str(log), "the run has no log"),)
    try:
        events = read_journal(log)
    except IntegrityError as error:
        # What a damaged log says of other files counts for nothing.
        return (AuditFinding("V001", "tampered", str(error.where or log), error.message),)
    found += _audit_end(log, events)
    found += _audit_plan(run, events)
    found += _audit_files(run, events)
    kept = run / LOCK
    if kept.is_file():
        try:
            own = from_toml(kept.read_bytes().decode("utf-8", "replace"), str(kept))
            found += audit_against_lock(events, own, str(kept))
        except IntegrityError as error:
            found.append(AuditFinding("V006", "tampered", str(kept), error.message))
    if lock is not None:
        found += audit_against_lock(events, lock, str(run))
    return tuple(dict.fromkeys(found))


def _audit_end(log: Path, events: Sequence[Event]) -> Iterable[AuditFinding]:
    rest = log.read_bytes().rpartition(b"\n")[2]
    if rest:
        whole = any(_is_json(text) for text in (rest, rest[:-1]))
        if whole:
            yield AuditFinding("V002", "tampered", str(log), "the line feed at the end of the last line was changed")
        else:
            yield AuditFinding("V002", "finding", str(log), "the last line is cut short, as a crash leaves it")
    if not events:
        yield AuditFinding("V001", "tampered", str(log), "the log is empty")
    elif events[-1]["event"] != "run-finished":
        yield AuditFinding("V008", "finding", str(log), f"the run did not end: its last event is {events[-1]['event']}")
    elif events[-1].get("failed") or events[-1].get("skipped"):
        undone = [*events[-1].get("failed", ()), *events[-1].get("skipped", ())]
        yield AuditFinding("V008", "finding", str(log), f"tasks are not done: {', '.join(undone[:5])}")


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _audit_plan(run: Path, events: Sequence[Event]) -> Iterable[AuditFinding]:
    started = [event for event in events if event["event"] == "run-started"]
    if not started:
        return
    path = run / PLAN
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
    if found != started[-1]["plan"]:
        message = f"is not the plan that the log names: sha256 {found[:12]}, recorded {started[-1]['plan'][:12]}"
        yield AuditFinding("V003", "tampered", str(path), message)


def _audit_files(run: Path, events: Sequence[Event]) -> Iterable[AuditFinding]:
    known: set[str] = set()
    for task, done in fold(events).items():
        for output in done.outputs:
            if output["folder"] not in FOLDERS:
                continue
            known.add(str(output["path"]))
            message = compare_with_record(run / str(output["path"]), output)
            if message:
                yield AuditFinding("V004", "tampered", str(run / str(output["path"])), f"{message} ({task})")
    for folder in WATCHED:
        for path in sorted((run / folder).glob("*")):
            name = str(path.relative_to(run))
            if name not in known and ".kept-" not in path.name:
                yield AuditFinding("V005", "finding", str(path), "the log does not know this file")


def compare_with_record(path: Path, output: dict[str, Any]) -> str:
    """Say how a file differs from what a log recorded of it; empty where it does not."""
    if not path.is_file() or path.is_symlink():
        return "is not there, but the log says that it was made"
    size = path.stat().st_size
    if size != output["size"]:
        return f"has {size} bytes, recorded were {output['size']}"
    digest = sha256_file(path)
    if digest != output["sha256"]:
        return f"was changed: sha256 {digest[:12]}, recorded {str(output['sha256'])[:12]}"
    return ""


def recorded_output(file: Path) -> tuple[Path, dict[str, Any]] | None:
    """Find what a log says of a product that lies in a run's folder.

    Returns
    -------
    (Path, dict) or None
        The run's folder, and the record; None where the file is in no run's folder, or its log does not know it.

    Raises
    ------
    IntegrityError
        The log was damaged.
    """
    run = file.resolve().parent.parent
    log = run / LOG
    if not log.is_file():
        return None
    name = str(file.resolve().relative_to(run))
    for done in fold(read_journal(log)).values():
        for output in done.outputs:
            if output["path"] == name:
                return run, output
    return None


def audit_against_lock(events: Sequence[Event], lock: Lock, name: str) -> Iterable[AuditFinding]:
    """Say what a run read, or was done with, that is not what a lock has."""
    started = [event for event in events if event["event"] == "run-started"]
    if started:
        engine = started[-1].get("engine") or {}
        used = f"{engine.get('name', '')} {engine.get('version', '')}".strip()
        wanted = f"{lock.engine.name} {lock.engine.version}".strip()
        if used != wanted:
            yield AuditFinding("V007", "finding", name, f"the run's engine is {used}, the lock has {wanted}")
        context = lock.context.name if lock.context else None
        if started[-1].get("context") != context:
            message = f"the run's CRDS context is {started[-1].get('context')}, the lock has {context}"
            yield AuditFinding("V007", "finding", name, message)
        for package, version in lock.packages.items():
            if started[-1]["versions"].get(package, version) != version:
                message = f"the run had {package} {started[-1]['versions'][package]}, the lock has {version}"
                yield AuditFinding("V007", "finding", name, message)
    files = {(file.role, file.name): file.sha256 for file in (*lock.inputs, *lock.references)}
    for done in fold(events).values():
        read = [(file["role"], file) for file in done.event.get("inputs", ()) if file["role"] != "product"]
        read += [(file["keyword"], file) for file in done.event.get("references", ())]
        for role, file in read:
            bare = str(file.get("name") or file["path"]).rsplit("/", 1)[-1]
            locked = files.get((role, bare))
            if locked is None:
                yield AuditFinding("V007", "finding", name, f"the run read {role} {bare}, which the lock does not have")
            elif locked and locked != file["sha256"]:
                message = f"the run read {role} {bare} of sha256 {file['sha256'][:12]}, the lock has {locked[:12]}"
                yield AuditFinding("V007", "finding", name, message)

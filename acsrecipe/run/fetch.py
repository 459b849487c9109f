"""Doing a fetch task: an archive's files into the store, references into the CRDS cache. Runs in a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from acsrecipe.errors import ArchiveError
from acsrecipe.files import sha256_file
from acsrecipe.inputs.download import Progress, Wanted, fetch
from acsrecipe.inputs.store import Store
from acsrecipe.plan.model import Outcome
from acsrecipe.run.work import Job, Result


def fetch_task(job: Job, report: Callable[[str], None]) -> Result:
    """Have what a fetch task names; the log gets each file's address, size and sha256, and how it went.

    Raises
    ------
    ArchiveError, IntegrityError, OutputError
        As :func:`acsrecipe.inputs.download.fetch` and :func:`acsrecipe.inputs.references.fetch_references`.
    """
    troubles: list[str] = []
    inputs = []
    for file in job.task.inputs:
        if job.mast is None or job.store is None:
            msg = "there is no archive to fetch it from"
            raise ArchiveError(msg, where=file.path, code="M011")

        def tell(progress: Progress) -> None:
            if progress.note:
                troubles.append(str(progress))
            report(str(progress))

        name = file.path.rsplit("/", 1)[-1]
        store = Store(job.store)
        wanted = Wanted(name, file.source, file.size, file.seen, exclusive=file.exclusive)
        kept = fetch(wanted, job.mast, store, tell)
        inputs.append(
            {
                "role": file.role,
                "path": file.path,
                "source": kept.source,
                "size": kept.size,
                "sha256": kept.sha256,
                "fetched": kept.fetched,
            }
        )
    references = _fetch_references(job, report, troubles)
    outcome = Outcome(details={"troubles": troubles} if troubles else {})
    return Result(tuple(inputs), references, (), outcome)


def _fetch_references(job: Job, report: Callable[[str], None], troubles: list[str]) -> tuple[dict[str, Any], ...]:
    if not job.task.references:
        return ()
    from acsrecipe.inputs import references as crds

    if job.crds is None:
        msg = "there is no CRDS server to fetch references from"
        raise ArchiveError(msg, where=job.task.id, hint="set CRDS_SERVER_URL", code="C026")

    def tell(progress: crds.Progress) -> None:
        if progress.event in ("retry", "quarantined", "failed"):
            troubles.append(f"{progress.name}: {progress.note}")
        report(f"{progress.name} {progress.done / 1e6:.1f} of {progress.size / 1e6:.1f} MB {progress.note}".rstrip())

    found = crds.fetch_references(job.crds, [reference.name for reference in job.task.references], tell)
    return tuple(
        {
            "keyword": reference.keyword,
            "name": reference.name,
            "path": reference.path,
            "source": reference.source,
            "size": found[reference.name].size,
            "sha1": found[reference.name].sha1,
            "sha256": sha256_file(Path(found[reference.name].path)),
        }
        for reference in job.task.references
        if reference.name in found
    )

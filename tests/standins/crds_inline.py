"""Fetching from CRDS without a process apart, for tests that are about what is fetched, not about processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from acsrecipe.inputs.crds_cache import CrdsSettings
from acsrecipe.inputs.crds_fetch import perform


def follow_here(settings: CrdsSettings, job: dict[str, object]) -> Iterator[dict[str, Any]]:
    """Do what `acsrecipe.inputs.crds_sync._follow` has a process do."""
    events: list[dict[str, Any]] = []
    perform(settings, job, lambda event, **data: events.append({"event": event, **data}))
    yield from events

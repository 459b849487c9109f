"""What stands against a plan, or should be known before running it: findings with stable codes.

Each check is a function of data that yields findings; none of them opens a file. The codes:
P0xx inputs and headers, P1xx overrides, P2xx references, P3xx engine, P4xx associations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from acsrecipe.inputs.model import Exposure, Value
from acsrecipe.plan.changes import Headers
from acsrecipe.plan.model import EngineAbility, Finding, Requirement, StepAbility
from acsrecipe.plan.needs import (
    CALIBRATION_SWITCHES,
    SWITCH_VALUES,
    is_performed,
)
from acsrecipe.plan.tasks import Group


def check_headers(exposure: Exposure, header: Headers) -> Iterable[Finding]:
    """Find what makes calacs fail on an exposure, or ruin it without a word (facts: its exit codes)."""
    primary, file = header.primary, exposure.raw.path
    for switch in CALIBRATION_SWITCHES:
        value = str(primary.get(switch) or "OMIT").strip().upper()
        if value not in SWITCH_VALUES:
            yield error("P001", f"{switch} is {value!r}, not one of {', '.join(SWITCH_VALUES)}", file)
    for keyword in ("ROOTNAME", "DETECTOR", "CCDAMP", "EXPTIME", "EXPSTART", "EXPEND", "SUBARRAY"):
        if primary.get(keyword) is None:
            yield error("P002", f"the primary header has no {keyword}, which calibration needs", file)
    if primary.get("DETECTOR") == "SBC":
        return
    if not any(is_performed(primary, switch) for switch in CALIBRATION_SWITCHES):
        hint = 'set those that you want to "PERFORM" in [switches]'
        yield error("P003", "every calibration switch is OMIT: there would be nothing to do", file, hint)
        return
    if is_performed(primary, "DARKCORR") and primary.get("DARKTIME") is None:
        hint = "give it in a [[headers]] block: set = { DARKTIME = ... } (EXPTIME plus the overheads)"
        yield error("P004", "DARKTIME is missing: the dark would be scaled by 0 without a warning", file, hint)
    if not is_performed(primary, "BLEVCORR"):
        hint = 'set BLEVCORR = "PERFORM" in [switches]'
        yield error("P005", "BLEVCORR is not PERFORM: the overscan would not be trimmed, and calacs stops", file, hint)


def check_steps(exposures: Sequence[Exposure], steps: Mapping[str, StepAbility]) -> Iterable[Finding]:
    """Find post-steps that need the RAW file, in a plan that starts from calibrated files."""
    for name, step in steps.items():
        if step.NEEDS_RAW and exposures:
            hint = "leave the step out, or calibrate from RAW"
            yield error("P303", f"the step {name} needs the RAW file, which is not taken", exposures[0].raw.path, hint)


def check_engine(
    ability: EngineAbility,
    groups: Sequence[Group],
    headers: Mapping[str, Headers],
    others: Sequence[EngineAbility],
    where: str,
) -> Iterable[Finding]:
    """Find what the engine is not able to do, or that it is not here; one finding a reason.

    ``where`` is the line of the recipe that chooses the engine.
    """
    if not ability.available:
        yield error("P301", f"the engine {ability.name!r} is not here: {ability.detail}", where, _elsewhere(others))
    refused: dict[str, list[str]] = {}
    for group in groups:
        if group.kind not in ability.groups:
            what = {"CR": "CR-SPLIT groups", "RPT": "RPT-OBS groups"}.get(group.kind, group.kind)
            refused.setdefault(f"it does not combine {what}", []).append(group.name)
        for exposure in group.exposures:
            header = headers[exposure.rootname].merged()
            for requirement in ability.requirements:
                if not meets(header, requirement):
                    found = header.get(requirement.keyword)
                    reason = f"{requirement.reason} ({requirement.keyword} = {found!r})"
                    refused.setdefault(reason, []).append(exposure.rootname)
    for reason, users in refused.items():
        able = [other.name for other in others if other.name != ability.name and not _refuses(other, groups, headers)]
        hint = f'use engine = "{able[0]}" under [calibrate]' if able else None
        if able and not next(other for other in others if other.name == able[0]).available:
            hint = f"{hint} on a machine that has it"
        yield error("P302", f"the {ability.name} engine can't calibrate {some(users)}: {reason}", where, hint)


def _refuses(ability: EngineAbility, groups: Sequence[Group], headers: Mapping[str, Headers]) -> bool:
    return any(
        group.kind not in ability.groups
        or any(
            not meets(headers[exposure.rootname].merged(), requirement)
            for exposure in group.exposures
            for requirement in ability.requirements
        )
        for group in groups
    )


def meets(header: Mapping[str, Value], requirement: Requirement) -> bool:
    """Say whether a header meets one requirement of an engine (see :class:`Requirement`)."""
    for keyword, values in requirement.when:
        if _plain(header.get(keyword)) not in [_plain(value) for value in values]:
            return True
    found = header.get(requirement.keyword)
    if requirement.allowed and _plain(found) not in [_plain(value) for value in requirement.allowed]:
        return False
    if requirement.at_least is None and requirement.below is None:
        return True
    if isinstance(found, (str, bool)) or found is None:
        return found is None and None in requirement.allowed
    return (requirement.at_least is None or found >= requirement.at_least) and (
        requirement.below is None or found < requirement.below
    )


def _plain(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def some(names: Sequence[str]) -> str:
    """List the first few of many names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _elsewhere(others: Sequence[EngineAbility]) -> str | None:
    here = [other.name for other in others if other.available]
    return f'this machine has engine = "{here[0]}"' if here else None


def error(code: str, message: str, where: str, hint: str | None = None) -> Finding:
    """Make a finding that keeps the plan from being run."""
    return Finding(code=code, severity="error", message=message, where=where, hint=hint or "")

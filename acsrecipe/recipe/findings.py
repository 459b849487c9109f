"""How a rule reports what it found, several at once, through pydantic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError, ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError


@dataclass(frozen=True)
class Finding:
    """One mistake below the value that a rule looks at.

    Parameters
    ----------
    code : str
        One of :data:`acsrecipe.recipe.codes.CODES`.
    message, hint : str
        For people; the hint may be empty.
    path : tuple of str or int
        From the value that the rule was given to what is wrong; empty for that value itself.
    of_key : bool
        The key is wrong, not what it is set to: an editor should point at the key.
    """

    code: str
    message: str
    hint: str = ""
    path: tuple[str | int, ...] = ()
    of_key: bool = False


# More than anybody reads; hints for thousands of names would take seconds.
MOST_OF_A_RULE: Final = 101
_TITLE: Final = "recipe"

Rule = Callable[[Any, Mapping[str, Any]], Iterator[Finding]]


def refuse(message: str, code: str, hint: str = "", *, of_key: bool = False) -> PydanticCustomError:
    """Make the error that a validator raises for one finding."""
    return PydanticCustomError(code, "{message}", {"message": message, "hint": hint, "of_key": of_key})


def checked(rule: Rule) -> WrapValidator:
    """Run a rule beside pydantic's own checks of a field, and report what both found.

    The rule gets the value as it came (it must accept anything) and the fields of the same table that were
    declared, and found right, before.
    """

    def run(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        found = islice(rule(value, info.data), MOST_OF_A_RULE)
        details = [
            InitErrorDetails(type=refuse(one.message, one.code, one.hint, of_key=one.of_key), loc=one.path, input=value)
            for one in found
        ]
        try:
            result = handler(value)
        except ValidationError as error:
            details += [_again(line) for line in error.errors(include_url=False)]
        if details:
            raise ValidationError.from_exception_data(_TITLE, details)
        return result

    return WrapValidator(run)


def _again(line: Any) -> InitErrorDetails:
    """Make a reported error into one that can be raised: pydantic's own by name, ours as custom errors."""
    context = line.get("ctx", {})
    kind = line["type"]
    if "message" in context:
        kind = refuse(context["message"], kind, context["hint"], of_key=context["of_key"])
    elif kind.startswith("R0"):
        kind = refuse(line["msg"], kind)
    return InitErrorDetails(type=kind, loc=line["loc"], input=line["input"], ctx=context)

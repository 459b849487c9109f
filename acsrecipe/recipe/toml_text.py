"""Values written as TOML, in one form only: what the lock, the formatter and new recipes are made of."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_key(key: str) -> str:
    """Write a key: bare where it can be.

    Examples
    --------
    >>> write_key("MEMTYPE"), write_key("hst_0001.pmap")
    ('MEMTYPE', '"hst_0001.pmap"')
    """
    return key if _BARE_KEY.fullmatch(key) else write_value(key)


def write_value(value: Any) -> str:
    """Write a value on one line.

    Raises
    ------
    TypeError
        For what TOML has no form for, such as None.

    Examples
    --------
    >>> write_value({"MEMTYPE": ["EXP-DTH"], "n": 2.0})
    '{ MEMTYPE = ["EXP-DTH"], n = 2.0 }'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _write_float(value)
        case str():
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            items = ", ".join(f"{write_key(key)} = {write_value(item)}" for key, item in value.items())
            return f"{{ {items} }}" if items else "{}"
        case Sequence():
            return f"[{', '.join(write_value(item) for item in value)}]"
    msg = f"TOML has no form for {value!r}"
    raise TypeError(msg)


def _write_float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return repr(value)

"""The environment of this process and the user's keyring: read here, and passed down as a small value."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

from acsrecipe.environment import Environment

KEYRING = ("astroquery:mast.stsci.edu.token", "masttoken")
"""Where astroquery keeps a MAST token: one kept for it serves here too."""


def read_environment(*, offline: bool = False) -> Environment:
    """Take what counts from the environment; the keyring is opened only when a token is asked for."""
    return replace(Environment.of(os.environ), offline=offline, ask_token=_ask_token)


@cache
def _ask_token() -> str:
    """Give the MAST token of MAST_API_TOKEN, or else of the keyring; empty where neither has one."""
    token = os.environ.get("MAST_API_TOKEN", "").strip()
    if token:
        return token
    try:
        import keyring

        return (keyring.get_password(*KEYRING) or "").strip()
    except Exception:
        # A keyring that is locked, or has no service behind it, is none.
        return ""

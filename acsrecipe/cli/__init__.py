"""The command line: the only room that prints, exits, and reads argv or the environment.

One file a command; :mod:`acsrecipe.cli.app` names them all, :mod:`acsrecipe.cli.terminal` prints.
"""

from __future__ import annotations


def main() -> int:
    """Run the command that argv names; give its exit code."""
    from acsrecipe.cli.app import run

    return run()

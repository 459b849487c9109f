"""All commands by name, and how each ends."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from acsrecipe import __version__
from acsrecipe.cli import (
    audit,
    check,
    demo,
    diff,
    doctor,
    explain,
    fetch,
    fmt,
    init,
    lock,
    log,
    plan,
    run_command,
    schema,
)
from acsrecipe.cli.terminal import say, show_error
from acsrecipe.errors import AcsRecipeError

app = typer.Typer(
    name="acsrecipe",
    help="Declarative, reviewable and recorded reprocessing of HST/ACS exposures.\n\n"
    "A recipe (TOML) says what should be true of a set of exposures; `plan` shows what that would change; "
    "`run` does exactly that, and leaves a log that proves it.",
    epilog="Start here: `acsrecipe demo`. Exit codes: 0 ok, 1 unexpected, 2 recipe or usage, 3 plan not possible, "
    "4 archive or CRDS, 5 engine, 6 post-step, 7 output or disk, 8 integrity, 9 locked, "
    "10 differences or findings, 130 interrupted.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"acsrecipe {__version__}")
        raise typer.Exit


app.command("init")(init.init)
app.command("check")(check.check)
app.command("fmt")(fmt.fmt)
app.command("plan")(plan.plan)
app.command("run")(run_command.run)
app.command("diff")(diff.diff)
app.command("lock")(lock.lock)
app.command("fetch")(fetch.fetch)
app.command("audit")(audit.audit)
app.command("log")(log.log)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("explain")(explain.explain)
app.command("schema")(schema.schema)


def run() -> int:
    """Run the command that argv names; turn every end into an exit code."""
    try:
        code = app(standalone_mode=False)
    except AcsRecipeError as error:
        show_error(error)
        return error.exit_code
    except typer.Abort:
        return 130
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except typer.TyperException as error:
        say(f"error: {error.format_message()}", style="red")
        return 2
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is wrong. Python must not complain of it on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        import traceback

        traceback.print_exc()
        say(
            f"\nThis is a bug in acsrecipe {__version__}: {type(error).__name__}. Please report it with the text above."
        )
        return 1
    return code if isinstance(code, int) else 0

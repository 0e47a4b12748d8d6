"""The `megactor-datagen` command: it parses the command line, calls the packages and prints the results."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
import typer.core

from datagen.commands.inspect import commands as inspect_commands
from datagen.commands.maintain import commands as maintain_commands
from datagen.commands.run import commands as run_commands
from datagen.common.cli_options import say
from datagen.common.errors import UserError
from datagen.common.logs import show_logs
from trainer.commands.precompute import commands as precompute_commands
from trainer.commands.train import commands as train_commands
from trainer.commands.weights import app as weights

DEBUG = "MEGACTOR_DATAGEN_DEBUG=1 shows the traceback"
PROGRAM_OPTIONS = ("--verbose", "--log-json")


class Program(typer.core.TyperGroup):
    """The command group; options of the program may also come after the command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the options of the program to the front, where click expects them."""
        own = [word for word in args if word in PROGRAM_OPTIONS]
        return super().parse_args(ctx, own + [word for word in args if word not in PROGRAM_OPTIONS])


app = typer.Typer(
    cls=Program,
    name="megactor-datagen",
    help="Turn talking-head videos into training data for MegActor, inspect the data, and train with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def program(
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the log to stderr.")] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Print the log as JSON lines.")] = False,
) -> None:
    """Options of the program; they may come before or after any command."""
    if verbose or log_json:
        show_logs(as_json=log_json)


for commands in (run_commands, inspect_commands, maintain_commands, train_commands, precompute_commands):
    app.add_typer(commands)
app.add_typer(weights, name="weights")


def _missing(error: ImportError) -> str:
    """Message that says what to install."""
    text = " ".join(str(error).split())
    if ".so" in text and any(name in text for name in ("libGL", "libglib", "libgthread", "libX", "libxcb")):
        return f"OpenCV needs a system library ({text}); on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0"
    return (
        f"{text}; install the project with its dependencies: pip install -c constraints.txt megactor-datagen"
    )


def main() -> None:
    """Entry point: every expected error becomes one line and an exit code."""
    try:
        app()
    except UserError as error:
        say(f"error: {error}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        say("interrupted; run the same command again to continue")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:  # disk, path or permissions: the message of the operating system names the cause
        if os.environ.get("MEGACTOR_DATAGEN_DEBUG"):
            raise
        where = f": {error.filename}" if error.filename else ""
        say(f"error: {error.strerror or error}{where}")
        sys.exit(1)
    except ImportError as error:
        say(f"error: {_missing(error)}")
        sys.exit(1)
    except Exception as error:  # a bug: one line as well; the traceback only on request
        if os.environ.get("MEGACTOR_DATAGEN_DEBUG"):
            raise
        say(
            f"internal error: {type(error).__name__}: {' '.join(str(error).split())}; please report it ({DEBUG})"
        )
        sys.exit(1)


if __name__ == "__main__":
    main()

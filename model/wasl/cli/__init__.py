"""The `wasl` command: one module for each subcommand, each a thin wrapper over a plain function."""

from __future__ import annotations

import sys

import typer

from wasl.cli.export import export_command
from wasl.cli.predict import predict_command
from wasl.cli.training import crossval_command, evaluate_command, train_command
from wasl.cli.validate import validate_command
from wasl.errors import WaslError

app = typer.Typer(
    name="wasl",
    help="Entities and relations in Arabic news: train from a few annotated articles, predict offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train_command)
app.command("evaluate")(evaluate_command)
app.command("crossval")(crossval_command)
app.command("predict")(predict_command)
app.command("export")(export_command)
app.command("validate")(validate_command)


def main() -> None:
    """Run the command line; an error of wasl's own is printed as its message alone, and the exit status is 2."""
    try:
        app()
    except WaslError as error:
        print(f"wasl: {error}", file=sys.stderr)
        sys.exit(2)

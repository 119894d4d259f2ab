"""`python -m wasl_training CORPUS --output DIR ...`: `wasl train` for `accelerate launch -m`."""

from __future__ import annotations

import sys

import typer

from wasl.cli.training import train_command
from wasl.errors import WaslError

if __name__ == "__main__":
    try:
        typer.run(train_command)
    except WaslError as error:
        sys.exit(f"wasl: {error}")

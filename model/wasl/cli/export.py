"""`wasl export`: graphs for ONNX Runtime, so that a model runs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from wasl.cli.training import training_module
from wasl.errors import ArgumentError
from wasl.extractor import Extractor


def export_command(
    model: Annotated[str, typer.Argument(help="A model folder, a hub id, or `embedded`.")],
    output: Annotated[
        Path | None, typer.Option(help="Model folder to write; where none, the graphs go into MODEL, a folder.")
    ] = None,
    precision: Annotated[str, typer.Option(help="int8, or fp32.")] = "int8",
    compact: Annotated[
        bool, typer.Option("--compact", help="Keep the weights once, in 8 bits, for the graph and for training.")
    ] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX graphs; there is no other kind yet.")] = True,
) -> None:
    """Write a model's graphs for ONNX Runtime: words.onnx and pairs.onnx."""
    export = training_module("export").export
    if output is None and not Path(model).is_dir():
        raise ArgumentError(f"{model}: not a folder of yours; add --output FOLDER")
    extractor = Extractor.from_pretrained(model, engine="torch")
    if output is not None:
        extractor.save_pretrained(output)
    for file in export(extractor, output or Path(model), precision, compact=compact):
        Console().print(f"{file}: {file.stat().st_size / 1e6:.1f} MB", highlight=False)

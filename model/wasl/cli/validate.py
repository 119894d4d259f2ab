"""`wasl validate`: what is wrong with a corpus, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from wasl.errors import summarise
from wasl.validation import validate


def validate_command(
    corpus: Annotated[Path, typer.Argument(help="Folder of ID.txt and ID.ann with an annotation.conf.")],
) -> None:
    """Check a corpus: every fault with its file, line, offset and remedy. Exits with 1 where there is any."""
    found = validate(corpus)
    console = Console()
    for problem in found.problems:
        console.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    table = Table("label", "count", title=f"{found.documents} documents")
    for label, count in [*found.entities.most_common(), *found.relations.most_common()]:
        table.add_row(label, str(count))
    console.print(table)
    console.print(f"{found.entities.total()} entities, {found.relations.total()} relations can be used")
    if found.problems:
        console.print(summarise(found.problems))
        raise typer.Exit(1)

"""What training and scoring print: tables and progress bars."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from wasl.errors import Problem, summarise
from wasl_training.metrics import Figures, Score
from wasl_training.progress import Epoch, Progress

if TYPE_CHECKING:  # these need torch, and scoring does without
    from wasl_training.crossvalidation import Crossval
    from wasl_training.training import Trained
    from wasl_training.word_level import WordFigures

# Of several training processes only the first prints.
_SILENT = int(os.environ.get("LOCAL_RANK", "0")) > 0 or int(os.environ.get("RANK", "0")) > 0
_HEADER = f"{'epoch':>5} {'loss':>8} {'tags':>8} {'procl.':>8} {'relat.':>8} {'seconds':>8}"
_DEV_HEADER = f" {'entities':>9} {'strict':>7} {'gold ent.':>9}"


def console() -> Console:
    return Console(quiet=_SILENT)


def _bar(out: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=out, transient=True,
    )  # fmt: skip


class TrainingTable(Progress):
    """Prints a row of losses and dev scores for each epoch, under a bar of the steps."""

    def __init__(self) -> None:
        self.console = console()
        self.bar = _bar(self.console)
        self.task = self.bar.add_task("training", total=None)

    def __enter__(self) -> TrainingTable:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def started(self, epochs: int, steps: int, kept: tuple[list[str], list[str]], dev: list[str]) -> None:
        self.bar.update(self.task, total=steps)
        if kept[0] or kept[1]:
            self.console.print(f"kept from the extractor: {', '.join((*kept[0], *kept[1]))}", highlight=False)
        if dev:
            self.console.print(f"development documents: {', '.join(dev)}", highlight=False)
        self.console.print(_HEADER + (_DEV_HEADER if dev else ""), style="bold")

    def step(self, done: int) -> None:
        self.bar.update(self.task, completed=done)

    def epoch(self, epoch: Epoch) -> None:
        row = (
            f"{epoch.number:5d} {epoch.loss:8.4f} {epoch.tags:8.4f} {epoch.proclitics:8.4f} {epoch.relations:8.4f} "
            f"{epoch.seconds:8.0f}"
        )
        if epoch.dev_entities is not None:
            row += f" {epoch.dev_entities:9.1f} {epoch.dev_strict or 0:7.1f} {epoch.dev_given_gold or 0:9.1f}"
        row += "".join(f"  {name} {score:.1f}" for name, score in epoch.auxiliary.items())
        self.console.print(row, highlight=False)


class FoldProgress(Progress):
    """A bar over the folds of a cross-validation, and a row for each that is done."""

    def __init__(self, folds: int) -> None:
        self.console = console()
        self.bar = _bar(self.console)
        self.folds = self.bar.add_task("folds", total=folds)
        self.steps = self.bar.add_task("steps", total=None)

    def __enter__(self) -> FoldProgress:
        self.bar.start()
        self.console.print("seed document     entities boundaries  strict gold ent.", style="bold")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def started(self, epochs: int, steps: int, kept: tuple[list[str], list[str]], dev: list[str]) -> None:
        self.bar.reset(self.steps, total=steps)

    def step(self, done: int) -> None:
        self.bar.update(self.steps, completed=done)

    def fold(self, seed: int, id_: str, found: Figures) -> None:
        self.bar.advance(self.folds)
        self.console.print(
            f"{seed:4d} {id_:12} {found.entities.f1:8.1f} {found.boundaries.f1:10.1f} {found.strict.f1:7.1f} "
            f"{found.given_gold.f1:9.1f}",
            highlight=False,
        )


def print_problems(problems: Sequence[Problem]) -> None:
    """What was left out, by cause, and each of it."""
    if not problems:
        return
    out = console()
    for problem in problems:
        out.print(str(problem), markup=False, highlight=False, soft_wrap=True)
    out.print(summarise(problems), style="bold")


def print_trained(trained: Trained, output: Path) -> None:
    out = console()
    print_problems(trained.problems)
    if trained.dev is not None:
        print_figures(trained.dev, f"development documents, epoch {trained.best}")
    if not trained.epochs:
        out.print(f"[bold]{output}[/bold] was finished already")
        return
    out.print(f"[bold]{output}[/bold]: the model of epoch {trained.best}; its card is {output / 'README.md'}")


def print_figures(found: Figures, title: str, by_label: bool = True) -> None:
    """Tables of all figures."""
    out = console()
    table = Table("", "precision", "recall", "F1", "95 %", "support", title=title)
    for name, score in _named(found):
        table.add_row(name, *_cells(score))
    out.print(table)
    out.print(f"entities that start inside a word: {found.clitic_recall:.1f} % of {found.clitic_support} found exactly")
    if by_label:
        for name, score in (_named(found)[0], _named(found)[2], _named(found)[3]):
            labels = Table("label", "precision", "recall", "F1", "", "support", title=name)
            for label, part in (score.by_label or {}).items():
                labels.add_row(label, *_cells(part))
            out.print(labels)


def print_word_figures(found: WordFigures, title: str) -> None:
    """Table of a word-level corpus."""
    out = console()
    table = Table("label", "precision", "recall", "F1", "support", title=title)
    for label, part in found.by_label.items():
        table.add_row(label, f"{part.precision:.1f}", f"{part.recall:.1f}", f"{part.f1:.1f}", str(part.support))
    out.print(table)
    out.print(f"micro F1 {found.micro_f1:.2f}, macro F1 {found.macro_f1:.2f} (seqeval, strict, IOB2)", highlight=False)
    if found.left_out:
        left_out = ", ".join(f"{label} {count}" for label, count in found.left_out.items())
        out.print(f"gold entities left out, since no label of the model stands for theirs: {left_out}", highlight=False)


def print_calibration(errors: dict[str, float]) -> None:
    """How far scores are from the share of right answers."""
    text = ", ".join(f"{name} {error:.1f}" for name, error in errors.items())
    console().print(f"expected calibration error of the scores, in points: {text}", highlight=False)


def _named(found: Figures) -> list[tuple[str, Score]]:
    return [
        ("entities", found.entities),
        ("relations, boundaries", found.boundaries),
        ("relations, strict", found.strict),
        ("relations, gold entities given", found.given_gold),
    ]


def _cells(score: Score) -> list[str]:
    bounds = f"{score.ci95[0]:.1f}-{score.ci95[1]:.1f}" if score.ci95 else ""
    return [f"{score.precision:.1f}", f"{score.recall:.1f}", f"{score.f1:.1f}", bounds, str(score.support)]


def print_crossval(found: Crossval) -> None:
    print_figures(found.pooled, f"leave one out, {len(found.per_document)} documents, {len(found.per_seed)} seeds")
    out = console()
    table = Table(
        "document", "entities", "boundaries", "strict", "gold entities given", title="F1 by document and by seed"
    )
    rows = [*found.per_document.items(), *((f"seed {n}", f) for n, f in enumerate(found.per_seed))]
    for name, part in rows:
        table.add_row(name, *(f"{s.f1:.1f}" for _, s in _named(part)))
    out.print(table)

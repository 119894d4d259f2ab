"""What a training tells of itself as it goes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Epoch:
    """One row of the training table.

    Attributes:
        number: from 1.
        loss, tags, proclitics, relations: means over the epoch's steps; the joint loss and its parts.
        seconds: since the training started, or was resumed.
        dev_entities, dev_strict, dev_given_gold: F1 on the development documents in percent, where there are any.
        auxiliary: `{corpus: entity F1}` on the development documents of auxiliary corpora.
    """

    number: int
    loss: float
    tags: float
    proclitics: float
    relations: float
    seconds: float
    dev_entities: float | None = None
    dev_strict: float | None = None
    dev_given_gold: float | None = None
    auxiliary: dict[str, float] = field(default_factory=dict)

    @property
    def goodness(self) -> float:
        """What the best epoch has most of: the mean of entity and strict relation F1."""
        return ((self.dev_entities or 0.0) + (self.dev_strict or 0.0)) / 2


class Progress:
    """Told what happens in a training; does nothing. The command line has one that draws a table."""

    def started(self, epochs: int, steps: int, kept: tuple[list[str], list[str]], dev: list[str]) -> None:
        """Training starts: epochs, steps in all, entity and relation labels whose rows were kept, dev documents."""

    def step(self, done: int) -> None:
        """So many steps are done."""

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is over."""

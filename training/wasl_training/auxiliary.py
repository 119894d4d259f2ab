"""Training on further corpora, some of each in an epoch.

Most have labels of their own: their label sets and conventions differ from the main corpus's, so they cannot be mixed
into it; but they teach the encoder what names look like (multi-task learning, Caruana 1997). Each has its own tag head
on the shared encoder, which is not part of the extractor. Others have the main corpus's labels, such as articles that
a model annotated, and train the main heads.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from wasl.corpus import Corpus
from wasl.encoding import TextEncoder
from wasl.errors import ArgumentError
from wasl.extractor import Extractor
from wasl.network import Network, WindowBatch
from wasl.schema import Schema
from wasl.torch_engine import torch_extractor
from wasl_training.config import TrainingConfig
from wasl_training.examples import Collator, Example, WindowDataset
from wasl_training.loss import BATCH_FIELDS, JointLoss

MAIN = ""  # the main corpus, among the names of the auxiliary ones


@dataclass(frozen=True)
class Auxiliary:
    """A corpus to train on beside the main one.

    Attributes:
        corpus: its documents.
        share: of its windows in an epoch, drawn anew in each; 0 to 1.
        clitics: whether its entities start after the proclitics glued to them, as the main corpus's do.
        dev: documents to score after each epoch.
        joint: whether its labels are the main corpus's, and it trains the main heads; else a head of its own learns its
            entities, and its relations are not used.
        relations: whether the main relation head learns from it, if `joint`.
    """

    corpus: Corpus
    share: float = 1.0
    clitics: bool = False
    dev: Corpus | None = None
    joint: bool = False
    relations: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ArgumentError(f"share={self.share}: must be above 0 and at most 1")
        if self.corpus.schema.containment and not self.joint:
            raise ArgumentError("an auxiliary corpus may not have nested entities")

    def dataset(
        self, text_encoder: TextEncoder, config: TrainingConfig, most_pieces: int | None = None
    ) -> WindowDataset:
        """Its windows; proclitics are varied only where it is known where names start."""
        config = config if self.clitics or self.joint else replace(config, glue=0.0, unglue=0.0)
        return WindowDataset(self.corpus.documents, self.corpus.schema, text_encoder, config, most_pieces)


class MixedBatches(Dataset[tuple[str, list[Example]]]):
    """Whole batches, each of one corpus, composed anew in every epoch.

    Args:
        datasets: by corpus; `MAIN` is the main one.
        shares: how much of each is in an epoch, 0 to 1.
        batch_size: windows in a batch.
        seed: with the epoch it decides the batches.
    """

    def __init__(
        self, datasets: Mapping[str, WindowDataset], shares: Mapping[str, float], batch_size: int, seed: int
    ) -> None:
        self.datasets = datasets
        self.shares = shares
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    @property
    def epoch(self) -> int:
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self.batches: list[tuple[str, list[int]]] = []
        for name, dataset in self.datasets.items():
            dataset.epoch = epoch
            order = list(range(len(dataset)))
            random.Random(f"{self.seed} {epoch} {name}").shuffle(order)
            order = order[: max(1, round(self.shares[name] * len(order)))]
            steps = range(0, len(order), self.batch_size)
            self.batches += [(name, order[i : i + self.batch_size]) for i in steps]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[str, list[Example]]:
        name, rows = self.batches[index]
        return name, [self.datasets[name][row] for row in rows]


class MixedCollator:
    """One batch of `MixedBatches` to tensors, with the name of its corpus as `corpus`."""

    def __init__(self, collators: Mapping[str, Collator]) -> None:
        self.collators = collators

    def __call__(self, items: Sequence[tuple[str, list[Example]]]) -> dict[str, Any]:
        ((name, examples),) = items
        return {"corpus": name, **self.collators[name](examples)}


class MixedLoss(nn.Module):
    """The joint loss of the main corpus and those like it; of others that of tags, and of proclitics where known."""

    def __init__(self, joint: JointLoss, auxiliary: Mapping[str, Auxiliary]) -> None:
        super().__init__()
        self.joint = joint
        self.clitics = {name: one.clitics for name, one in auxiliary.items() if not one.joint}
        self.relations = {name: one.relations for name, one in auxiliary.items()}
        hidden = joint.network.tags.in_features
        self.heads = nn.ModuleDict(
            {name: nn.Linear(hidden, 2 * len(auxiliary[name].corpus.schema.entities) + 1) for name in self.clitics}
        )

    def forward(self, corpus: str, **batch: Any) -> dict[str, Tensor]:
        if corpus not in self.heads:
            unread = not self.relations.get(corpus, True)
            if unread:
                batch["allowed"] = torch.zeros_like(batch["allowed"])  # no pair counts
            found: dict[str, Tensor] = self.joint(**batch)
            return {**found, "relations": torch.full_like(found["loss"], torch.nan)} if unread else found
        network = self.joint.network
        out = network(WindowBatch(**{name: batch[name] for name in BATCH_FIELDS}))
        logits = self.heads[corpus](network.dropout(out.vectors))
        tags = functional.cross_entropy(logits, batch["tags"][:, 0])
        nothing = torch.full_like(tags, torch.nan)  # not part of any mean
        parts = {"loss": tags, "tags": tags.detach(), "proclitics": nothing, "relations": nothing}
        if self.clitics[corpus] and len(batch["starts"]):
            proclitics = functional.cross_entropy(out.proclitics[batch["starts"]], batch["skips"])
            parts.update(loss=tags + proclitics, proclitics=proclitics.detach())
        return parts

    def extractor(self, name: str, schema: Schema, main: Extractor) -> Extractor:
        """An extractor of an auxiliary corpus's entities; it shares all weights with this loss's network."""
        network = Network(schema, main.config.encoder, self.joint.network.encoder)
        network.norm, network.letters = self.joint.network.norm, self.joint.network.letters
        network.proclitics = self.joint.network.proclitics
        head = self.heads[name]
        assert isinstance(head, nn.Linear)
        network.tags = head
        config = replace(main.config, annotation_conf=schema.source)
        return torch_extractor(network, main.text_encoder.tokenizer, config)

"""The joint loss of the three heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wasl.network import Network, WindowBatch
from wasl.pairs import PAIR_FIELDS, PairIndex

BATCH_FIELDS = tuple(WindowBatch.__dataclass_fields__)


class JointLoss(nn.Module):
    """A network with its loss, as the Hugging Face `Trainer` wants a model.

    The loss is the cross-entropy of the tags (mean over words, summed over layers), plus that of the proclitics (mean
    over entities), plus the binary cross-entropy of the relations the schema allows (summed over relations, mean over
    pairs), times `relation_weight`.
    """

    def __init__(self, network: Network, relation_weight: float) -> None:
        super().__init__()
        self.network = network
        self.relation_weight = relation_weight
        self.slices = network.schema.tag_slices

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        out = self.network(WindowBatch(**{name: batch[name] for name in BATCH_FIELDS}))
        tags = torch.stack(
            [functional.cross_entropy(out.tags[:, where], batch["tags"][:, k]) for k, where in enumerate(self.slices)]
        ).sum()
        proclitics = self._or_zero(
            functional.cross_entropy(out.proclitics[batch["starts"]], batch["skips"]),
            len(batch["starts"]),
            out.proclitics,
        )
        relations = self._relations(out.vectors, batch)
        loss = tags + proclitics + self.relation_weight * relations
        return {"loss": loss, "tags": tags.detach(), "proclitics": proclitics.detach(), "relations": relations.detach()}

    def _relations(self, vectors: Tensor, batch: dict[str, Any]) -> Tensor:
        if not len(batch["pairs"]):
            # Every parameter takes part in every step, which training on several devices relies on.
            head = [p.sum() for name, p in self.network.named_parameters() if name.split(".")[0] in RELATION_HEAD]
            return torch.stack(head).sum() * 0
        logits = self.network.score_pairs(vectors, PairIndex(*(batch[name] for name in PAIR_FIELDS))).float()
        loss = functional.binary_cross_entropy_with_logits(logits, batch["related"].float(), reduction="none")
        return (loss * batch["allowed"]).sum() / len(logits)

    @staticmethod
    def _or_zero(loss: Tensor, count: int, logits: Tensor) -> Tensor:
        return loss if count else logits.sum() * 0


RELATION_HEAD = ("types", "distances", "between", "nothing_between", "pair", "relations")

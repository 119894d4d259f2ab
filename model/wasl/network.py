"""The network: one encoder pass gives word vectors; light heads on them give entities, proclitics and relations.

Of this package only this module and `torch_engine` import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel

from wasl.encoding import LETTER_CLASSES, LETTERS, LONGEST_PROCLITIC, Encoded, Window
from wasl.pairs import BUCKETS, LEVELS, PairIndex
from wasl.schema import Schema

TYPE_WIDTH = 32
DISTANCE_WIDTH = 16
LETTER_WIDTH = 16


@dataclass(frozen=True)
class WindowBatch:
    """Windows of one or more texts, padded together. Words are numbered through the whole batch.

    Attributes:
        input_ids, attention_mask: shape (windows, pieces), int64.
        link_words, link_pieces: shape (links,): pairs of a word and a piece of it, pieces numbered row by row.
        words: number of words.
        letters: shape (words, LETTERS), int64: see `wasl.encoding.Words`.
    """

    input_ids: Tensor
    attention_mask: Tensor
    link_words: Tensor
    link_pieces: Tensor
    words: int
    letters: Tensor

    def to(self, device: str) -> WindowBatch:
        """The batch on a device."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def collate(windows: Sequence[tuple[Encoded, Window]], pad_id: int) -> WindowBatch:
    """Pad windows to one tensor. The batch's words are the own words of its windows, one window after the other."""
    length = max(len(w.pieces) for _, w in windows)
    ids = np.full((len(windows), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(windows), length), dtype=np.int64)
    link_words, link_pieces, letters = [], [], []
    words = 0
    for row, (encoded, window) in enumerate(windows):
        first, last = window.own
        ids[row, : len(window.pieces)] = window.pieces
        mask[row, : len(window.pieces)] = 1
        own = (window.link_words >= first) & (window.link_words < last)
        link_words.append(window.link_words[own] - first + words)
        link_pieces.append(window.link_pieces[own] + row * length)
        letters.append(encoded.words.letters[first:last])
        words += last - first
    return WindowBatch(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        torch.from_numpy(np.concatenate(link_words)),
        torch.from_numpy(np.concatenate(link_pieces)),
        words,
        torch.from_numpy(np.concatenate(letters)),
    )


@dataclass(frozen=True)
class WordOutput:
    """Of each word of a batch.

    Attributes:
        vectors: shape (words, hidden).
        tags: shape (words, tags): logits, the layers' tags side by side; see `tag_slices`.
        proclitics: shape (words, LONGEST_PROCLITIC + 1): logits of how many letters to leave out, should an entity
            start at this word.
    """

    vectors: Tensor
    tags: Tensor
    proclitics: Tensor


class Network(nn.Module):
    """Encoder, entity head, proclitic head and relation head.

    Args:
        schema: the labels.
        encoder_config: a Hugging Face configuration of any BERT-like encoder, as a dictionary.
        encoder: the encoder itself, where there is one already; else one with random weights is made.
    """

    def __init__(self, schema: Schema, encoder_config: dict[str, Any], encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.schema = schema
        self.encoder = encoder if encoder is not None else make_encoder(encoder_config)
        hidden = int(self.encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        dropout = 0.1
        self.dropout = nn.Dropout(dropout)
        # Vectors of one encoder's words all point much the same way (e5's have cosines above 0.7): without this the
        # heads learn from a few articles several times more slowly (docs/experiments.md).
        self.norm = nn.LayerNorm(hidden)
        self.tags = nn.Linear(hidden, schema.tag_slices[-1].stop)

        self.letters = nn.Embedding(LETTER_CLASSES, LETTER_WIDTH, padding_idx=0)
        self.proclitics = nn.Sequential(
            nn.Linear(hidden + LETTERS * LETTER_WIDTH, 128), nn.GELU(), nn.Linear(128, LONGEST_PROCLITIC + 1)
        )

        between = hidden // 2
        self.types = nn.Embedding(len(schema.entities), TYPE_WIDTH)
        self.distances = nn.Embedding(BUCKETS, DISTANCE_WIDTH)
        self.between = nn.Linear(hidden, between)
        self.nothing_between = nn.Parameter(torch.zeros(between))
        self.pair = nn.Sequential(
            nn.Linear(2 * hidden + between + 2 * TYPE_WIDTH + DISTANCE_WIDTH, 256), nn.GELU(), nn.Dropout(dropout)
        )
        self.relations = nn.Linear(256, max(len(schema.relations), 1))

    def forward(self, batch: WindowBatch) -> WordOutput:
        """One encoder pass; a word's vector is the mean over all of its pieces (the first piece of an Arabic word is
        often only its article or its conjunction).
        """
        states = self.encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        states = states.float().flatten(0, 1)
        sums = states.new_zeros(batch.words, states.shape[1]).index_add_(0, batch.link_words, states[batch.link_pieces])
        counts = torch.bincount(batch.link_words, minlength=batch.words).clamp_(min=1)
        return self.read_words(sums / counts.unsqueeze(1), batch.letters)

    def read_words(self, means: Tensor, letters: Tensor) -> WordOutput:
        """Vectors and logits of words.

        Args:
            means: shape (words, hidden): of the encoder's states of each word's pieces.
            letters: shape (words, LETTERS).
        """
        vectors = self.norm(means)
        dropped = self.dropout(vectors)
        spelling = self.letters(letters).flatten(1)
        return WordOutput(vectors, self.tags(dropped), self.proclitics(torch.cat([dropped, spelling], dim=1)))

    def score_pairs(self, vectors: Tensor, index: PairIndex) -> Tensor:
        """Relation logits of pairs of entities.

        The first layer reads both entities, the words between, both types and the distance. What it makes of an entity
        or a gap is computed once and shared by all pairs that have it.

        Args:
            vectors: shape (words, hidden): word vectors.
            index: the pairs, as tensors.

        Returns:
            shape (pairs, relations), without the schema's mask.
        """
        means = (vectors[index.entity_words] * index.entity_shares.unsqueeze(-1)).sum(dim=1)
        between = self._max_between(vectors, index.gaps, index.gap_filled)
        head, tail, gap, distance = index.pairs.unbind(1)
        types = self.types(index.labels)
        first = self.pair[0]
        assert isinstance(first, nn.Linear)
        parts = (self.dropout(means), self.dropout(means), between, types, types, self.distances.weight)
        weights = torch.split(first.weight, [part.shape[1] for part in parts], dim=1)
        of_head, of_tail, of_gap, head_type, tail_type, of_distance = (
            functional.linear(part, weight) for part, weight in zip(parts, weights, strict=True)
        )
        summed = (of_head + head_type)[head] + (of_tail + tail_type)[tail] + of_gap[gap] + of_distance[distance]
        logits: Tensor = self.relations(self.pair[1:](summed + first.bias))
        return logits

    def _max_between(self, vectors: Tensor, gaps: Tensor, filled: Tensor) -> Tensor:
        """Elementwise maximum over the words of each gap, each projected; a learnt vector where there are none.

        Maxima over runs of 1, 2, 4, ... words from every word on; two such runs cover any gap.
        """
        runs = [self.between(self.dropout(vectors))]
        words = runs[0].shape[0]  # `len` would be fixed when the graph is exported
        here = torch.arange(words, device=vectors.device)
        for level in range(LEVELS - 1):
            runs.append(torch.maximum(runs[-1], runs[-1][(here + 2**level).clamp(max=words - 1)]))
        flat = torch.cat(runs)
        first, second = gaps[:, 0] * words + gaps[:, 1], gaps[:, 0] * words + gaps[:, 2]
        return torch.maximum(flat[first], flat[second]) * filled + self.nothing_between * (1 - filled)


def make_encoder(config: dict[str, Any]) -> nn.Module:
    """An encoder with random weights; its pooler, which nothing here uses, is left out."""
    settings = {k: v for k, v in config.items() if k not in ("dtype", "torch_dtype", "architectures", "_name_or_path")}
    encoder: nn.Module = AutoModel.from_config(AutoConfig.for_model(**settings))
    return without_pooler(encoder)


def without_pooler(encoder: nn.Module) -> nn.Module:
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # type: ignore[assignment]
    return encoder


def piece_limit(encoder: nn.Module) -> int:
    """Most pieces the encoder can read. RoBERTa's kin start counting positions after the padding id."""
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    if not isinstance(table, nn.Embedding):
        return int(getattr(encoder.config, "max_position_embeddings", 512))
    return table.num_embeddings - (table.padding_idx + 1 if table.padding_idx is not None else 0)


def keep_shared_rows(network: Network, base: Network) -> tuple[list[str], list[str]]:
    """Copy from a trained network all that a new schema shares with its own.

    The proclitic head and the body of the relation head are copied whole; of the entity head the rows of the labels
    both know; of the relation head the rows of relations with the same label, of which some argument pair is shared.

    Returns:
        the entity and relation labels whose rows were kept.
    """
    new, old = network.schema, base.schema
    entities = [label for label in new.entities if label in old.entities]
    state = {
        k: v for k, v in base.state_dict().items() if not k.startswith(("encoder.", "tags.", "types.", "relations."))
    }
    network.load_state_dict(state, strict=False)
    old_types = {r.label: r for r in old.relations}
    relations = [
        r.label for r in new.relations
        if (known := old_types.get(r.label)) and r.pairs & known.pairs and r.symmetric == known.symmetric
    ]  # fmt: skip
    with torch.no_grad():
        for label in entities:
            i, j = new.entities.index(label), old.entities.index(label)
            network.types.weight[i] = base.types.weight[j]
        for row, old_row in _matching_tag_rows(new, old):
            network.tags.weight[row] = base.tags.weight[old_row]
            network.tags.bias[row] = base.tags.bias[old_row]
        for label in relations:
            i, j = new.relation_labels.index(label), old.relation_labels.index(label)
            network.relations.weight[i] = base.relations.weight[j]
            network.relations.bias[i] = base.relations.bias[j]
    return entities, relations


def _matching_tag_rows(new: Schema, old: Schema) -> list[tuple[int, int]]:
    """(row of the new entity head, row of the old) of the tags both have.

    Of the same layer, or, for B and I, of the first layer that has the label. Two flat schemas share their O.
    """
    exact = {key: row for key, row in _tag_rows(old)}
    by_name = {name: row for (_, _, name), row in reversed(_tag_rows(old)) if name != "O"}
    if not new.containment and not old.containment:
        by_name["O"] = 0
    found = []
    for key, row in _tag_rows(new):
        old_row = exact.get(key, by_name.get(key[2]))
        if old_row is not None:
            found.append((row, old_row))
    return found


def _tag_rows(schema: Schema) -> list[tuple[tuple[tuple[str, ...], int, str], int]]:
    """((labels of the layer, how many such layers came before, tag), row of the entity head) of every tag."""
    rows = []
    for k, (layer, where) in enumerate(zip(schema.tag_layers, schema.tag_slices, strict=True)):
        before = schema.tag_layers[:k].count(layer)
        names = ["O"] + [f"{prefix}-{label}" for label in layer for prefix in "BI"]
        rows += [((layer, before, name), where.start + i) for i, name in enumerate(names)]
    return rows

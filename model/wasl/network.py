"""The network: one encoder pass gives word vectors; light heads on them give entities, proclitics and relations.

Of this package only this module and `engine` import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from wasl.encoding import LETTER_CLASSES, LETTERS, LONGEST_PROCLITIC, Encoded, Window
from wasl.schema import Schema

DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # upper edges of the buckets of words between head and tail
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


def tag_slices(schema: Schema) -> list[slice]:
    """Where each tag layer stands in the tag logits. A layer of n labels has 2n + 1 tags: O, then B and I of each."""
    edges = np.cumsum([0] + [2 * len(layer) + 1 for layer in schema.tag_layers])
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


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
        self.tags = nn.Linear(hidden, tag_slices(schema)[-1].stop)

        self.letters = nn.Embedding(LETTER_CLASSES, LETTER_WIDTH, padding_idx=0)
        self.proclitics = nn.Sequential(
            nn.Linear(hidden + LETTERS * LETTER_WIDTH, 128), nn.GELU(), nn.Linear(128, LONGEST_PROCLITIC + 1)
        )

        between = hidden // 2
        self.types = nn.Embedding(len(schema.entities), TYPE_WIDTH)
        self.distances = nn.Embedding(2 * (len(DISTANCES) + 1), DISTANCE_WIDTH)
        self.between = nn.Linear(hidden, between)
        self.nothing_between = nn.Parameter(torch.zeros(between))
        self.pair = nn.Sequential(
            nn.Linear(2 * hidden + between + 2 * TYPE_WIDTH + DISTANCE_WIDTH, 256), nn.GELU(), nn.Dropout(dropout)
        )
        self.relations = nn.Linear(256, max(len(schema.relations), 1))
        self.distance_edges: Tensor
        self.register_buffer("distance_edges", torch.tensor(DISTANCES), persistent=False)

    def forward(self, batch: WindowBatch) -> WordOutput:
        """One encoder pass; a word's vector is the mean over all of its pieces (the first piece of an Arabic word is
        often only its article or its conjunction).
        """
        states = self.encoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        states = states.float().flatten(0, 1)
        sums = states.new_zeros(batch.words, states.shape[1]).index_add_(0, batch.link_words, states[batch.link_pieces])
        counts = torch.bincount(batch.link_words, minlength=batch.words).clamp_(min=1)
        vectors = self.norm(sums / counts.unsqueeze(1))
        dropped = self.dropout(vectors)
        letters = self.letters(batch.letters).flatten(1)
        return WordOutput(vectors, self.tags(dropped), self.proclitics(torch.cat([dropped, letters], dim=1)))

    def score_pairs(self, vectors: Tensor, spans: Tensor, labels: Tensor, pairs: Tensor) -> Tensor:
        """Relation logits.

        Args:
            vectors: shape (words, hidden): word vectors.
            spans: shape (entities, 2): first and last-plus-one word.
            labels: shape (entities,): indices into the schema's entity labels.
            pairs: shape (pairs, 2): head and tail, indices of entities.

        Returns:
            shape (pairs, relations), without the schema's mask.
        """
        means = _mean_over(vectors, spans)
        head, tail = pairs.unbind(1)
        left = torch.where(spans[head, 0] <= spans[tail, 0], head, tail)
        right = head + tail - left
        gap_start = spans[left, 1]
        gap = (spans[right, 0] - gap_start).clamp(min=0)
        bucket = torch.bucketize(gap, self.distance_edges)
        bucket = bucket + (left != head).long() * (len(DISTANCES) + 1)
        features = [
            self.dropout(means[head]),
            self.dropout(means[tail]),
            self._max_between(vectors, gap_start, gap),
            self.types(labels[head]),
            self.types(labels[tail]),
            self.distances(bucket),
        ]
        logits: Tensor = self.relations(self.pair(torch.cat(features, dim=1)))
        return logits

    def _max_between(self, vectors: Tensor, start: Tensor, length: Tensor) -> Tensor:
        """Elementwise maximum over `length` words from `start`, each projected; a learnt vector where there is none.

        Pairs with the same gap share the work; the padded gather is as wide as the longest gap.
        """
        projected = self.between(self.dropout(vectors))
        keys, inverse = torch.unique(torch.stack([start, length], dim=1), dim=0, return_inverse=True)
        out = self.nothing_between.expand(len(keys), -1).clone()
        some = torch.nonzero(keys[:, 1] > 0).squeeze(1)
        if len(some):
            steps = torch.arange(int(keys[:, 1].max()), device=vectors.device)
            start_, length_ = keys[some].split(1, dim=1)
            index = torch.minimum(start_ + steps, start_ + length_ - 1)  # repeats the last word: no change to the max
            out[some] = projected[index].amax(dim=1).to(out.dtype)  # autocast projects in bf16
        return out[inverse]


def _mean_over(vectors: Tensor, spans: Tensor) -> Tensor:
    """Mean vector of each span; shape (spans, hidden)."""
    lengths = spans[:, 1] - spans[:, 0]
    owner = torch.repeat_interleave(torch.arange(len(spans), device=vectors.device), lengths)
    offset = torch.arange(len(owner), device=vectors.device) - torch.repeat_interleave(
        lengths.cumsum(0) - lengths, lengths
    )
    words = vectors[spans[owner, 0] + offset]
    sums = vectors.new_zeros(len(spans), vectors.shape[1]).index_add_(0, owner, words)
    return sums / lengths.unsqueeze(1)


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
    for k, (layer, where) in enumerate(zip(schema.tag_layers, tag_slices(schema), strict=True)):
        before = schema.tag_layers[:k].count(layer)
        names = ["O"] + [f"{prefix}-{label}" for label in layer for prefix in "BI"]
        rows += [((layer, before, name), where.start + i) for i, name in enumerate(names)]
    return rows

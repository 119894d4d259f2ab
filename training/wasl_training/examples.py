"""Training examples: windows of annotated documents with the targets of the three heads."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from wasl.alignment import Aligned, align
from wasl.decoding import candidate_pairs
from wasl.document import Document
from wasl.encoding import Encoded, TextEncoder, Window
from wasl.errors import Problem
from wasl.network import collate
from wasl.pairs import index_pairs
from wasl.schema import Schema
from wasl_training.augmentation import (
    PieceCutter,
    hide_words,
    mentions_by_label,
    replace_mentions,
    vary_proclitics,
)
from wasl_training.config import TrainingConfig
from wasl_training.encoders import mask_token_id


@dataclass(frozen=True)
class Example:
    """One window (or the windows of one long sentence) with its annotations."""

    encoded: Encoded
    aligned: Aligned


class WindowDataset(Dataset[Example]):
    """Windows of documents, varied anew in every epoch.

    Args:
        documents: annotated documents by id.
        schema: the labels.
        text_encoder: makes the windows.
        config: how much is varied; None for no variation.
        most_pieces: that the encoder can read at once; the most in a window of `text_encoder` where None.

    Raises:
        ModelError: words are to be hidden, and the tokenizer has no mask token.

    Attributes:
        problems: annotations that cannot be used, and why.
        epoch: set by the trainer; with the seed and the index it decides the variation, whatever the process.
    """

    def __init__(
        self,
        documents: dict[str, Document],
        schema: Schema,
        text_encoder: TextEncoder,
        config: TrainingConfig | None,
        most_pieces: int | None = None,
    ) -> None:
        self.schema = schema
        self.text_encoder = text_encoder
        self.config = config
        self.epoch = 0
        self.problems: list[Problem] = []
        self.parts: list[Document] = []
        self.mentions = mentions_by_label(documents.values())
        self.mask = mask_token_id(text_encoder.tokenizer, "the encoder") if config is not None and config.hide else -1
        cut = config is not None and config.cut
        self.cutter = PieceCutter(text_encoder.tokenizer, most_pieces or text_encoder.max_pieces) if cut else None
        for id_, document in documents.items():
            encoded = text_encoder.encode(document.text, context=False)
            self.problems += align(document, encoded.words, schema, Path(f"{id_}.ann")).problems
            self.parts += [document.slice(*span) for span in _window_spans(encoded)]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Example:
        part = self.parts[index]
        if self.config is not None:
            random_ = random.Random(f"{self.config.seed} {self.epoch} {index}")
            if self.config.swap:
                part = replace_mentions(part, self.mentions, random_, self.config.swap)
            part = vary_proclitics(part, random_, self.config.glue, self.config.unglue)
        encoded = self.text_encoder.encode(part.text, context=False)
        if self.config is not None and self.cutter is not None:
            encoded = self.cutter(encoded, random_, self.config.cut)
        if self.config is not None and self.config.hide:
            encoded = hide_words(encoded, random_, self.config.hide, self.mask)
        return Example(encoded, align(part, encoded.words, self.schema))


def _window_spans(encoded: Encoded) -> list[tuple[int, int]]:
    """The offsets that each window covers; windows of one long sentence are joined again."""
    spans: list[tuple[int, int]] = []
    last_sentence = -1
    for window in encoded.windows:
        first, last = window.own
        span = int(encoded.words.spans[first, 0]), int(encoded.words.spans[last - 1, 1])
        if encoded.words.sentence[first] == last_sentence:
            span = spans.pop()[0], span[1]
        spans.append(span)
        last_sentence = int(encoded.words.sentence[last - 1])
    return spans


class Collator:
    """Examples to one batch of tensors: those of `wasl.network.WindowBatch`, and the targets.

    The targets are `tags`, shape (words, layers), indices into each layer's tags; `starts` and `skips`, shape
    (entities,), the first words of entities and the letters left out there; those of `wasl.pairs.PairIndex`; `related`
    and `allowed`, shape (pairs, relations), bool.
    """

    def __init__(self, schema: Schema, pad: int) -> None:
        self.schema = schema
        self.pad = pad
        self.label_in_layer = np.array(
            [[layer.index(label) if label in layer else -1 for label in schema.entities] for layer in schema.tag_layers]
        )

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        windows: list[tuple[Encoded, Window]] = [(e.encoded, w) for e in examples for w in e.encoded.windows]
        batch = vars(collate(windows, self.pad))
        tags, starts, skips, spans, labels, pairs, related = [], [], [], [], [], [], []
        words = entities = 0
        for example in examples:
            aligned = example.aligned
            tags.append(self._tags(aligned, len(example.encoded.words)))
            here = candidate_pairs(aligned.spans, aligned.labels, example.encoded.words, self.schema)
            related.append(self._related(aligned, here))
            starts.append(aligned.spans[:, 0] + words)
            spans.append(aligned.spans + words)
            pairs.append(here + entities)
            skips.append(aligned.skips)
            labels.append(aligned.labels)
            words += len(example.encoded.words)
            entities += len(aligned.entities)
        label = np.concatenate(labels)
        pair = np.concatenate(pairs)
        arrays = {
            "tags": np.concatenate(tags), "starts": np.concatenate(starts), "skips": np.concatenate(skips),
            "related": np.concatenate(related), "allowed": self.schema.allowed[label[pair[:, 0]], label[pair[:, 1]]],
            **vars(index_pairs(np.concatenate(spans), label, pair)),
        }  # fmt: skip
        return {**batch, **{k: torch.from_numpy(v) for k, v in arrays.items()}}

    def _tags(self, aligned: Aligned, words: int) -> np.ndarray:
        tags = np.zeros((words, len(self.schema.tag_layers)), dtype=np.int64)
        for (first, last), label, layer in zip(aligned.spans, aligned.labels, aligned.layers, strict=True):
            begin = 2 * self.label_in_layer[layer, label] + 1
            tags[first:last, layer] = begin + 1
            tags[first, layer] = begin
        return tags

    def _related(self, aligned: Aligned, pairs: np.ndarray) -> np.ndarray:
        related = np.zeros((len(pairs), len(self.schema.relations)), dtype=bool)
        row = {(h, t): i for i, (h, t) in enumerate(pairs.tolist())}
        for head, tail, relation in aligned.relations:
            related[row[head, tail], relation] = True
            if self.schema.relations[relation].symmetric:
                related[row[tail, head], relation] = True
        return related

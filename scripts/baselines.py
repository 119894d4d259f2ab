"""What wasl is compared with: a gazetteer, a CRF, and Hugging Face token classification.

Each is trained on annotated documents and gives entities for a raw text. All read whole words only, as their kind does:
an entity that starts inside a word cannot be found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pycrfsuite
import torch
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast, Trainer, TrainingArguments, set_seed

from wasl.alignment import align
from wasl.decoding import best_tags, candidate_pairs
from wasl.document import Document, Entity, Relation
from wasl.encoding import Words, find_word_table
from wasl.schema import Schema


def word_tags(document: Document, schema: Schema) -> tuple[Words, np.ndarray]:
    """Words and their BIO tags: 0, then 2k + 1 and 2k + 2 for B and I of label k."""
    words = find_word_table(document.text)
    aligned = align(document, words, schema)
    tags = np.zeros(len(words), dtype=np.int64)
    for (first, last), label in zip(aligned.spans, aligned.labels, strict=True):
        tags[first:last] = 2 * label + 2
        tags[first] = 2 * label + 1
    return words, tags


def entities_of(text: str, words: Words, tags: np.ndarray, schema: Schema) -> tuple[Entity, ...]:
    """Entities of a lawful BIO sequence."""
    entities: list[Entity] = []
    for first in np.flatnonzero(tags % 2 == 1).tolist():
        last = first + 1
        while last < len(tags) and tags[last] == tags[first] + 1 and words.sentence[last] == words.sentence[first]:
            last += 1
        start, end = int(words.spans[first, 0]), int(words.spans[last - 1, 1])
        label = schema.entities[(tags[first] - 1) // 2]
        entities.append(Entity(f"T{len(entities) + 1}", label, start, end, text[start:end]))
    return tuple(entities)


class Gazetteer:
    """The names of the training documents, longest first; and for each pair of types the relation seen most often.

    A pair's relation is predicted where its share among such pairs in the training sentences reaches the threshold that
    gives the best F1 on the training documents themselves.
    """

    def __init__(self, documents: Iterable[Document], schema: Schema) -> None:
        self.schema = schema
        labels: dict[str, Counter[str]] = defaultdict(Counter)
        pairs: Counter[tuple[str, str]] = Counter()
        related: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for document in documents:
            for entity in document.entities:
                labels[entity.text][entity.label] += 1
            for head, tail, relation in self._pairs(document):
                pairs[head.label, tail.label] += 1
                if relation:
                    related[head.label, tail.label][relation] += 1
        self.names = {name: counts.most_common(1)[0][0] for name, counts in labels.items()}
        self.longest = max((len(n.split()) for n in self.names), default=1) + 4
        best = {types: counts.most_common(1)[0] for types, counts in related.items()}
        self.share = {types: (label, count / pairs[types]) for types, (label, count) in best.items()}
        gold = sum(c.total() for c in related.values())

        def f1(threshold: float) -> float:
            chosen = [t for t, (_, share) in self.share.items() if share >= threshold]
            hits, predicted = sum(best[t][1] for t in chosen), sum(pairs[t] for t in chosen)
            return 2 * hits / max(predicted + gold, 1)

        self.threshold = max(sorted({share for _, share in self.share.values()}) or [1.0], key=f1)

    def _pairs(self, document: Document) -> Iterable[tuple[Entity, Entity, str | None]]:
        words = find_word_table(document.text)
        aligned = align(document, words, self.schema)
        stated = {(h, t): self.schema.relation_labels[r] for h, t, r in aligned.relations}
        for head, tail in candidate_pairs(aligned.spans, aligned.labels, words, self.schema).tolist():
            yield aligned.entities[head], aligned.entities[tail], stated.get((head, tail))

    def predict(self, text: str) -> Document:
        words = find_word_table(text)
        tags = np.zeros(len(words), dtype=np.int64)
        at = 0
        while at < len(words):
            for last in range(min(at + self.longest, len(words)), at, -1):
                label = self.names.get(text[words.spans[at, 0] : words.spans[last - 1, 1]])
                if label and words.sentence[at] == words.sentence[last - 1]:
                    k = self.schema.entities.index(label)
                    tags[at:last] = 2 * k + 2
                    tags[at] = 2 * k + 1
                    at = last
                    break
            else:
                at += 1
        return self.relate(Document(text, entities_of(text, words, tags, self.schema)))

    def relate(self, document: Document) -> Document:
        relations: list[Relation] = []
        for head, tail, _ in self._pairs(Document(document.text, document.entities)):
            label, share = self.share.get((head.label, tail.label), ("", 0.0))
            symmetric = label in self.schema.symmetric
            if label and share >= self.threshold and not (symmetric and tail.start < head.start):
                relations.append(Relation(f"R{len(relations) + 1}", label, head, tail))
        return Document(document.text, document.entities, tuple(relations))


class Crf:
    """A linear-chain CRF (Lafferty et al. 2001) on word shapes, affixes and neighbours."""

    def __init__(self, documents: Iterable[Document], schema: Schema) -> None:
        self.schema = schema
        trainer = pycrfsuite.Trainer(verbose=False)
        for document in documents:
            words, tags = word_tags(document, schema)
            for first, last in words.sentence_bounds.tolist():
                trainer.append(self._features(document.text, words, first, last), [str(t) for t in tags[first:last]])
        trainer.set_params({"c1": 0.1, "c2": 0.1, "max_iterations": 60, "feature.possible_transitions": True})
        with TemporaryDirectory() as folder:
            trainer.train(f"{folder}/crf")
            self.model = Path(f"{folder}/crf").read_bytes()

    @staticmethod
    def _features(text: str, words: Words, first: int, last: int) -> list[list[str]]:
        forms = [text[a:b] for a, b in words.spans[first:last].tolist()]
        rows = []
        for i, form in enumerate(forms):
            row = [
                "bias",
                f"w={form}",
                f"digit={form[0].isdigit()}",
                f"latin={form.isascii()}",
                f"title={form.istitle()}",
            ]
            row += [f"p{k}={form[:k]}" for k in (1, 2, 3)] + [f"s{k}={form[-k:]}" for k in (1, 2, 3)]
            for step in (-2, -1, 1, 2):
                other = forms[i + step] if 0 <= i + step < len(forms) else "<edge>"
                row += [f"{step}w={other}", f"{step}p2={other[:2]}", f"{step}s2={other[-2:]}"]
            rows.append(row)
        return rows

    def predict(self, text: str) -> Document:
        tagger = pycrfsuite.Tagger()
        tagger.open_inmemory(self.model)
        words = find_word_table(text)
        tags = np.zeros(len(words), dtype=np.int64)
        for first, last in words.sentence_bounds.tolist():
            tags[first:last] = [int(t) for t in tagger.tag(self._features(text, words, first, last))]
        return Document(text, entities_of(text, words, tags, self.schema))


class TokenClassification:
    """Hugging Face token classification: BIO tags on words' first pieces, one learning rate, a sentence a row.

    Args:
        documents: to train on.
        schema: the labels.
        encoder: a folder with the encoder to start from.
        tokenizer: its tokenizer.
        epochs, seed: of the training.
        rate: highest learning rate.
        batch_size: sentences in a step.
        longest: most pieces of a sentence; the rest is cut off, as is usual there.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        schema: Schema,
        encoder: str | Path,
        tokenizer: Any,
        epochs: int,
        seed: int,
        rate: float = 2e-4,
        batch_size: int = 4,
        longest: int = 256,
    ) -> None:
        self.schema = schema
        special = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **special)
        set_seed(seed)
        self.model = AutoModelForTokenClassification.from_pretrained(
            encoder, num_labels=2 * len(schema.entities) + 1, attention_probs_dropout_prob=0.0, dtype=torch.float32
        )
        rows = [row for d in documents for row in self._rows(*word_tags(d, schema), d.text)]
        arguments = TrainingArguments(
            output_dir="unused",
            num_train_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=rate,
            warmup_steps=0.1,
            weight_decay=0.01,
            seed=seed,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
        )
        Trainer(model=self.model, args=arguments, train_dataset=rows, data_collator=self._collate).train()
        self.model.eval()

    def _rows(self, words: Words, tags: np.ndarray, text: str) -> list[dict[str, Any]]:
        rows = []
        for first, last in words.sentence_bounds.tolist():
            forms = [text[a:b] for a, b in words.spans[first:last].tolist()]
            encoding = self.tokenizer(forms, is_split_into_words=True, truncation=True)
            word_of = encoding.word_ids()
            is_first = [w is not None and w != p for w, p in zip(word_of, [None, *word_of], strict=False)]
            labels = [
                int(tags[first + w]) if f and w is not None else -100 for w, f in zip(word_of, is_first, strict=True)
            ]
            rows.append({"input_ids": encoding["input_ids"], "labels": labels, "length": len(labels)})
        return rows

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        length = max(len(r["input_ids"]) for r in rows)
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        labels, mask = torch.full((len(rows), length), -100), torch.zeros((len(rows), length), dtype=torch.long)
        for i, row in enumerate(rows):
            n = len(row["input_ids"])
            ids[i, :n], labels[i, :n], mask[i, :n] = torch.tensor(row["input_ids"]), torch.tensor(row["labels"]), 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def predict(self, text: str) -> Document:
        words = find_word_table(text)
        logs = np.zeros((len(words), 2 * len(self.schema.entities) + 1))
        rows = self._rows(words, np.arange(len(words)), text)  # a label that says which word it is
        with torch.inference_mode():
            for row in rows:
                batch = self._collate([row])
                where = batch.pop("labels")[0]
                scores = self.model(**batch).logits[0].log_softmax(-1).numpy()
                for piece, word in enumerate(where.tolist()):
                    if word >= 0:
                        logs[word] = scores[piece]
        return Document(text, entities_of(text, words, best_tags(logs, words.sentence_bounds), self.schema))

"""The extractor: texts in, documents with entities and relations out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from wasl.alignment import align
from wasl.config import ExtractorConfig
from wasl.decoding import Spans, candidate_pairs, decode_entities, decode_relations
from wasl.document import Document, Entity, Relation
from wasl.encoding import Encoded, TextEncoder
from wasl.errors import ArgumentError, ModelError
from wasl.pretrained import EMBEDDED, resolve
from wasl.schema import Schema
from wasl.text import skip_letters

if TYPE_CHECKING:
    from wasl.engine import Engine
    from wasl.network import Network

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "README.md"


@dataclass(frozen=True)
class Readout:
    """What the engine said of one text's words.

    Attributes:
        encoded: the text, its words and windows.
        vectors: shape (words, hidden).
        tags: shape (words, tags), logits.
        proclitics: shape (words, LONGEST_PROCLITIC + 1), logits.
    """

    encoded: Encoded
    vectors: np.ndarray
    tags: np.ndarray
    proclitics: np.ndarray


class Extractor:
    """Finds entities and relations in Arabic text.

    >>> extractor = Extractor.from_pretrained("my-model")  # doctest: +SKIP
    >>> document = extractor.predict("أطلقت شركة علي بابا نموذج Qwen.")  # doctest: +SKIP
    >>> [(e.text, e.label) for e in document.entities]  # doctest: +SKIP
    [('علي بابا', 'ORG'), ('Qwen', 'MODEL')]
    """

    def __init__(self, network: Network, tokenizer: Tokenizer, config: ExtractorConfig, device: str = "cpu") -> None:
        from wasl.engine import TorchEngine
        from wasl.network import tag_slices

        self.network = network
        self.config = config
        self.schema: Schema = network.schema
        self.text_encoder = TextEncoder(tokenizer, config.max_pieces, config.context_pieces)
        self.slices = tag_slices(self.schema)
        self.engine: Engine = TorchEngine(network, pad_id(tokenizer), device)

    @classmethod
    def from_pretrained(cls, name: str | Path = EMBEDDED, device: str | None = None) -> Extractor:
        """Load an extractor.

        Args:
            name: a folder that `save_pretrained` wrote, a hub id, or `embedded`.
            device: a torch device; a GPU where there is one, else the CPU, where None.

        Raises:
            ModelError: it is not there, damaged, made by another version, or only an encoder.
        """
        folder = resolve(name)
        for file in (CONFIG, WEIGHTS, TOKENIZER):
            if not (folder / file).is_file():
                raise ModelError(f"{folder}: no {file} in it; a wasl model folder has {CONFIG}, {WEIGHTS}, {TOKENIZER}")
        config = ExtractorConfig.read(folder / CONFIG)
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from wasl.network import Network

        network = Network(config.schema, config.encoder)
        try:
            weights = {k: v.float() for k, v in load_file(folder / WEIGHTS).items()}
            network.load_state_dict(weights)
        except (SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{folder / WEIGHTS}: the weights do not fit {CONFIG} ({str(error).splitlines()[0]}); "
                "the folder is damaged or mixed from two models, copy or train it again"
            ) from error
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ModelError(f"{folder / TOKENIZER}: damaged ({error}); copy or train the model again") from error
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(network, tokenizer, config, device)

    def save_pretrained(self, folder: str | Path, card: str = "") -> None:
        """Write the model folder: configuration, weights (fp16), tokenizer, and the model card where one is given."""
        import torch
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [WEIGHTS, TOKENIZER, CONFIG] + [CARD] * bool(card)
        state = {k: v.detach().cpu().to(torch.float16).contiguous() for k, v in self.network.state_dict().items()}
        save_file(state, folder / f"{WEIGHTS}.part", metadata={"format": "pt"})
        self.text_encoder.tokenizer.save(str(folder / f"{TOKENIZER}.part"))
        self.config.write(folder / f"{CONFIG}.part")
        if card:
            (folder / f"{CARD}.part").write_text(card, encoding="utf-8")
        for file in files:  # all are there before the first takes its place
            (folder / f"{file}.part").replace(folder / file)

    def push_to_hub(self, repo_id: str, *, private: bool = False) -> str:
        """Upload the model folder to the Hugging Face hub, with the rights of the user's token; returns its address."""
        import tempfile

        from huggingface_hub import HfApi

        api = HfApi()
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder))

    def predict(self, text: str) -> Document:
        """The entities and relations of one text, of any length.

        Raises:
            TextError: the text is not a string or holds a lone surrogate.
        """
        return next(self.predict_many([text]))

    def predict_many(self, texts: Iterable[str], batch_size: int = 32) -> Iterator[Document]:
        """Documents of any number of texts, lazily and in order; what a text gives does not depend on the others.

        Args:
            texts: any iterable of raw texts.
            batch_size: texts that are read ahead and share encoder passes.
        """
        if batch_size < 1:
            raise ArgumentError(f"batch_size={batch_size}: must be 1 or more")
        source = iter(texts)
        while chunk := list(itertools.islice(source, batch_size)):
            for readout in self.read(chunk):
                yield self.decode(readout)

    def read(self, texts: list[str]) -> list[Readout]:
        """One pass of the network over the words of each text."""
        encoded = [self.text_encoder.encode(text) for text in texts]
        results = iter(self.engine.run_windows([(e, w) for e in encoded for w in e.windows]))
        readouts = []
        for e in encoded:
            parts = [next(results) for _ in e.windows]
            if parts:
                readouts.append(Readout(e, *(np.concatenate(column) for column in zip(*parts, strict=True))))
            else:
                empty = np.zeros((0, 0), np.float32)
                readouts.append(Readout(e, empty, empty, empty))
        return readouts

    def decode(self, readout: Readout) -> Document:
        """The most probable lawful document."""
        if not len(readout.encoded.words):
            return Document(readout.encoded.text)
        spans = self.decode_spans(readout)
        entities = self._entities(spans, readout.encoded)
        return Document(readout.encoded.text, entities, self._relations(readout, spans, entities))

    def decode_spans(self, readout: Readout) -> Spans:
        return decode_entities(
            readout.tags, readout.proclitics, readout.encoded.words, self.schema, self.slices,
            self.config.entity_calibration, self.config.entity_threshold,
        )  # fmt: skip

    def relate(self, document: Document, readout: Readout | None = None) -> Document:
        """The relations between given entities, such as annotated ones; the document's own relations are replaced.

        Entities that are not whole words less proclitics of one sentence take part in no relation.
        """
        readout = readout or self.read([document.text])[0]
        if not len(readout.encoded.words):
            return Document(document.text, document.entities)
        given = align(Document(document.text, document.entities), readout.encoded.words, self.schema)
        spans = Spans(given.spans, given.skips, given.labels, np.ones(len(given.entities)))
        return Document(document.text, document.entities, self._relations(readout, spans, given.entities))

    def pair_logits(self, readout: Readout, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
        """Candidate pairs, shape (pairs, 2), and their raw relation logits, shape (pairs, relations)."""
        pairs = candidate_pairs(spans.spans, spans.labels, readout.encoded.words, self.schema)
        return pairs, self.engine.run_pairs(readout.vectors, spans.spans, spans.labels, pairs)

    def _entities(self, spans: Spans, encoded: Encoded) -> tuple[Entity, ...]:
        entities = []
        columns = (spans.spans.tolist(), spans.skips.tolist(), spans.labels.tolist(), spans.scores.tolist())
        for i, ((first, last), skip, label, score) in enumerate(zip(*columns, strict=True), 1):
            word_start, word_end = encoded.words.spans[first].tolist()
            start = skip_letters(encoded.text, word_start, word_end, skip)
            end = int(encoded.words.spans[last - 1, 1])
            entities.append(
                Entity(f"T{i}", self.schema.entities[label], start, end, encoded.text[start:end], round(score, 4))
            )
        return tuple(entities)

    def _relations(self, readout: Readout, spans: Spans, entities: tuple[Entity, ...]) -> tuple[Relation, ...]:
        pairs, logits = self.pair_logits(readout, spans)
        found, scores = decode_relations(
            logits, pairs, spans, self.schema, self.config.relation_calibration, self.config.relation_threshold
        )
        order = np.lexsort((found[:, 2], spans.spans[found[:, 1], 0], spans.spans[found[:, 0], 0]))
        return tuple(
            Relation(f"R{n}", self.schema.relation_labels[r], entities[h], entities[t], round(score, 4))
            for n, ((h, t, r), score) in enumerate(zip(found[order].tolist(), scores[order].tolist(), strict=True), 1)
        )


def pad_id(tokenizer: Tokenizer) -> int:
    """The id to pad with; masked, so that any would do."""
    for token in ("<pad>", "[PAD]"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return 0

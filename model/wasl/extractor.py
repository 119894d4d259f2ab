"""The extractor: texts in, documents with entities and relations out."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from wasl.alignment import align
from wasl.config import Calibration, ExtractorConfig
from wasl.decoding import Spans, calibrated, candidate_pairs, decode_entities, decode_relations, logit
from wasl.document import Document, Entity, Relation
from wasl.encoding import Encoded, TextEncoder
from wasl.errors import ArgumentError, ModelError, WaslError
from wasl.pretrained import EMBEDDED, GRAPHS, resolve
from wasl.schema import Schema
from wasl.text import skip_letters

if TYPE_CHECKING:
    from wasl.engine import Engine, WordArrays
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

    def __init__(self, engine: Engine, tokenizer: Tokenizer, config: ExtractorConfig) -> None:
        self.engine = engine
        self.config = config
        self.schema: Schema = config.schema
        self.text_encoder = TextEncoder(tokenizer, config.max_pieces, config.context_pieces, config.split_proclitics)
        self.folder: Path | None = None  # where it was loaded from

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path = EMBEDDED,
        device: str | None = None,
        *,
        engine: str | None = None,
        threads: int | None = None,
    ) -> Extractor:
        """Load an extractor.

        Args:
            name: a folder that `save_pretrained` wrote, a hub id, or `embedded`.
            device: `cpu`, or a torch device such as `cuda`, which needs `wasl[train]`; the CPU where None.
            engine: `onnx` or `torch`; where None, `onnx` on a CPU if the folder has graphs, else `torch`.
            threads: processor cores to use, with ONNX Runtime; all that the process may use, where None.

        Raises:
            ModelError: it is not there, damaged, made by another version, only an encoder, or needs torch, which is not
                installed.
            ArgumentError: there is no such engine, or it does not run on such a device.
        """
        folder = resolve(name)
        for file in (CONFIG, WEIGHTS, TOKENIZER):
            if not (folder / file).is_file():
                raise ModelError(f"{folder}: no {file} in it; a wasl model folder has {CONFIG}, {WEIGHTS}, {TOKENIZER}")
        config = ExtractorConfig.read(folder / CONFIG)
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ModelError(f"{folder / TOKENIZER}: damaged ({error}); copy or train the model again") from error
        extractor = cls(_load_engine(folder, config, pad_id(tokenizer), device, engine, threads), tokenizer, config)
        extractor.folder = folder
        return extractor

    @property
    def network(self) -> Network:
        """The torch network.

        Raises:
            ModelError: the extractor runs on another engine.
        """
        network: Network | None = getattr(self.engine, "network", None)
        if network is None:
            raise ModelError("this extractor has no torch network; load it with engine='torch'")
        return network

    def save_pretrained(self, folder: str | Path, card: str = "") -> None:
        """Write the model folder: configuration, weights (fp16), tokenizer, and the model card where one is given.

        Graphs that are there already are of other weights and are deleted; `wasl export` makes new ones. An extractor
        that runs on ONNX Runtime is copied, with its graphs, from where it was loaded.

        Raises:
            ModelError: the extractor is a committee of several.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [WEIGHTS, TOKENIZER, CONFIG] + [CARD] * bool(card)
        if hasattr(self.engine, "save"):
            self.engine.save(folder / f"{WEIGHTS}.part")
            for graph in GRAPHS:
                (folder / graph).unlink(missing_ok=True)
        elif self.folder is not None:
            files += GRAPHS
            for file in (*GRAPHS, WEIGHTS):
                shutil.copyfile(self.folder / file, folder / f"{file}.part")
        else:
            raise ModelError("this extractor's engine cannot be saved; save the extractors that it was made of")
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
        ahead: Callable[[], list[Readout]] | None = None
        failed: WaslError | None = None
        while not failed and (chunk := list(itertools.islice(source, batch_size))):
            try:
                started = self._start(chunk)  # computed while the chunk before is decoded
            except WaslError as error:
                failed, started = error, None  # raised once the texts before have been given
            if ahead:
                yield from map(self.decode, ahead())
            ahead = started
        if ahead:
            yield from map(self.decode, ahead())
        if failed:
            raise failed

    def read(self, texts: list[str]) -> list[Readout]:
        """One pass of the network over the words of each text."""
        return self._start(texts)()

    def _start(self, texts: list[str]) -> Callable[[], list[Readout]]:
        encoded = [self.text_encoder.encode(text) for text in texts]
        wait = self.engine.start_windows([(e, w) for e in encoded for w in e.windows])

        def readouts() -> list[Readout]:
            results = iter(wait())
            return [_joined(e, [next(results) for _ in e.windows]) for e in encoded]

        return readouts

    def decode(self, readout: Readout) -> Document:
        """The most probable lawful document."""
        if not len(readout.encoded.words):
            return Document(readout.encoded.text)
        spans = self.decode_spans(readout)
        entities = self._entities(spans, readout.encoded)
        relations = self._relations(readout, spans, entities, self.config.triple_calibration)
        return Document(readout.encoded.text, entities, relations)

    def decode_spans(self, readout: Readout) -> Spans:
        return decode_entities(
            readout.tags, readout.proclitics, readout.encoded.words, self.schema,
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
        return Document(
            document.text, document.entities, self._relations(readout, spans, given.entities, Calibration())
        )

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

    def _relations(
        self, readout: Readout, spans: Spans, entities: tuple[Entity, ...], triple: Calibration
    ) -> tuple[Relation, ...]:
        pairs, logits = self.pair_logits(readout, spans)
        found, scores = decode_relations(
            logits, pairs, spans, self.schema, self.config.relation_calibration, self.config.relation_threshold
        )
        scores = calibrated(logit(np.log(scores)), triple)
        order = np.lexsort((found[:, 2], spans.spans[found[:, 1], 0], spans.spans[found[:, 0], 0]))
        return tuple(
            Relation(f"R{n}", self.schema.relation_labels[r], entities[h], entities[t], round(score, 4))
            for n, ((h, t, r), score) in enumerate(zip(found[order].tolist(), scores[order].tolist(), strict=True), 1)
        )


def _joined(encoded: Encoded, parts: list[WordArrays]) -> Readout:
    """The words of a text's windows, one after the other."""
    if not parts:
        return Readout(encoded, *(np.zeros((0, 0), np.float32),) * 3)
    return Readout(encoded, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def _load_engine(
    folder: Path, config: ExtractorConfig, pad: int, device: str | None, engine: str | None, threads: int | None
) -> Engine:
    """The engine that was asked for, or the best there is; torch is imported only where it is needed."""
    on_cpu = device in (None, "cpu")
    has_graphs = all((folder / graph).is_file() for graph in GRAPHS)
    chosen = engine or ("onnx" if on_cpu and has_graphs else "torch")
    if chosen == "onnx":
        if not on_cpu:
            raise ArgumentError(f"device={device!r}: the ONNX engine runs on the CPU; leave out engine or device")
        if not has_graphs:
            raise ModelError(f"{folder}: no {' and '.join(GRAPHS)} in it; make them with `wasl export {folder}`")
        from wasl.onnx_engine import OnnxEngine

        return OnnxEngine(folder, config, threads)
    if chosen != "torch":
        raise ArgumentError(f"engine={engine!r}: choose onnx or torch")
    try:
        from wasl.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        raise ModelError(
            f"{folder}: needs {error.name}, which is not installed: pip install 'wasl[train]'"
            + ("" if has_graphs else f", or copy the folder with the {' and '.join(GRAPHS)} that training writes")
        ) from error
    return TorchEngine.load(folder / WEIGHTS, config, pad, device or "cpu")


def pad_id(tokenizer: Tokenizer) -> int:
    """The id to pad with; masked, so that any would do."""
    for token in ("<pad>", "[PAD]"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    return 0

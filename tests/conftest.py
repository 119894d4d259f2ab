"""Shared fixtures: a small corpus, tiny encoders made from a config, an extractor trained on them. No network."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

# Tiny networks are fastest on one thread, and on a busy machine by far. Read when torch is imported, here and by the
# programs that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, XLMRobertaConfig, XLMRobertaModel

import wasl
from wasl.pretrained import GRAPHS
from wasl_training import TrainingConfig, train
from wasl_training.export import export

# No time limits for single examples: machines are noisy.
settings.register_profile("wasl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wasl")

ANNOTATIONS = Path(__file__).parents[1] / "annotations"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection beyond this machine fails at once."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):  # type: ignore[index]
            raise OSError("tests may not use the network")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def articles() -> wasl.Corpus:
    """The five annotated articles."""
    return wasl.read_corpus(ANNOTATIONS)


def _vocabulary(articles: wasl.Corpus) -> tuple[list[str], list[str]]:
    """The characters and the most frequent words of the articles: the same in every run, as a trainer's are not."""
    words = Counter(w for d in articles.documents.values() for w in re.findall(r"\w+|[^\w\s]", d.text))
    frequent = [w for w, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(w) > 1][:400]
    return sorted({c for w in words for c in w}), frequent


@pytest.fixture(scope="session")
def wordpiece_encoder(articles: wasl.Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT and its WordPiece tokenizer."""
    folder = tmp_path_factory.mktemp("wordpiece")
    characters, words = _vocabulary(articles)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{c}" for c in characters), *words]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )  # type: ignore[assignment]
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=80, **SIZES)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sentencepiece_encoder(articles: wasl.Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny XLM-RoBERTa and its unigram tokenizer."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    characters, words = _vocabulary(articles)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    scored = [(c, -9.0) for c in ("▁", *characters)] + [(f"▁{w}", -4 - i / 400) for i, w in enumerate(words)]
    pieces = [(s, 0.0) for s in special] + scored
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()  # type: ignore[assignment]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )  # type: ignore[assignment]
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = XLMRobertaConfig(vocab_size=len(pieces), max_position_embeddings=82, pad_token_id=1, **SIZES)
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def quick() -> TrainingConfig:
    """Settings for a training that takes a second."""
    return TrainingConfig(
        epochs=2, batch_size=8, max_pieces=64, encoder_rate=5e-3, head_rate=5e-3, precision="fp32", export=False
    )


@pytest.fixture(scope="session")
def model_folder(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model folder with a tiny extractor that finds some entities and relations, right or wrong."""
    folder = tmp_path_factory.mktemp("model") / "extractor"
    from dataclasses import replace

    train(articles, folder, encoder=wordpiece_encoder, config=replace(quick, epochs=12))
    return folder


@pytest.fixture(scope="session")
def graphs_folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with graphs in 8 bits, so that programs that predict with it start without torch."""
    folder = tmp_path_factory.mktemp("graphs") / "extractor"
    shutil.copytree(model_folder, folder)
    assert [file.name for file in export(wasl.load(model_folder, engine="torch"), folder)] == list(GRAPHS)
    return folder


@pytest.fixture(scope="session")
def extractor(model_folder: Path) -> wasl.Extractor:
    """The extractor of `model_folder`, with a threshold so low that it returns relations."""
    from dataclasses import replace

    loaded = wasl.load(model_folder)
    loaded.config = replace(loaded.config, relation_threshold=0.05)
    return loaded

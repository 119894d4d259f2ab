"""Graphs for ONNX Runtime say what the torch network says, alone or among other texts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import DebertaV2Config, DebertaV2Model, ModernBertConfig, ModernBertModel

import wasl
from wasl.errors import ArgumentError, ModelError
from wasl.pretrained import GRAPHS
from wasl_training import TrainingConfig, train
from wasl_training.export import UNMASKED, WINDOWS, chance_windows, export, prepare, smoothing, use_unmasked_attention

TEXTS = ["شركة هواوي في الصين", "", "قالت إنفيديا. " * 60, "علي بابا، وآبل.", "ف"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture(scope="module")
def exported(model_folder: Path, graphs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model with graphs of each precision."""
    plain = shutil.copytree(model_folder, tmp_path_factory.mktemp("exported") / "fp32")
    written = export(wasl.load(model_folder, engine="torch"), plain, "fp32")
    assert [file.name for file in written] == list(GRAPHS)
    return {"fp32": plain, "int8": graphs_folder}


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("int8", 0.3)])
def test_both_engines_agree(exported: dict[str, Path], precision: str, tolerance: float, articles: wasl.Corpus) -> None:
    torch_, onnx = (wasl.load(exported[precision], engine=name) for name in ("torch", "onnx"))
    texts = TEXTS + [document.text for document in articles.documents.values()]
    for one, other in zip(torch_.read(texts), onnx.read(texts), strict=True):
        for name in ("vectors", "tags", "proclitics"):
            assert np.allclose(getattr(one, name), getattr(other, name), atol=tolerance), name
        spans = torch_.decode_spans(one) if len(one.encoded.words) else None
        if spans is not None:
            logits = [extractor.pair_logits(r, spans)[1] for extractor, r in ((torch_, one), (onnx, other))]
            assert np.allclose(*logits, atol=tolerance)


def test_a_text_gives_the_same_in_any_batch(exported: dict[str, Path], articles: wasl.Corpus) -> None:
    extractor = wasl.load(exported["int8"], threads=2)
    extractor.config = replace(extractor.config, relation_threshold=0.05)
    texts = TEXTS + [document.text for document in articles.documents.values()]
    alone = [extractor.predict(text) for text in texts]
    assert list(extractor.predict_many(texts, batch_size=3)) == alone
    assert list(extractor.predict_many(texts[::-1])) == alone[::-1]
    assert any(document.relations for document in alone)


def test_the_graphs_are_used_where_they_are(exported: dict[str, Path], model_folder: Path) -> None:
    assert type(wasl.load(exported["int8"]).engine).__name__ == "OnnxEngine"
    assert type(wasl.load(model_folder).engine).__name__ == "TorchEngine"
    with pytest.raises(ModelError, match="make them with `wasl export"):
        wasl.load(model_folder, engine="onnx")
    with pytest.raises(ArgumentError, match="choose onnx or torch"):
        wasl.load(model_folder, engine="tensorflow")
    with pytest.raises(ArgumentError, match="runs on the CPU"):
        wasl.load(exported["int8"], device="cuda", engine="onnx")
    with pytest.raises(ModelError, match="engine='torch'"):
        _ = wasl.load(exported["int8"]).network


def test_damaged_and_foreign_graphs_are_named(exported: dict[str, Path], tmp_path: Path) -> None:
    damaged = shutil.copytree(exported["int8"], tmp_path / "damaged")
    (damaged / GRAPHS[0]).write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=f"{GRAPHS[0]}: damaged"):
        wasl.load(damaged)
    foreign = shutil.copytree(exported["int8"], tmp_path / "foreign")
    config = json.loads((foreign / "config.json").read_text(encoding="utf-8"))
    config["annotation_conf"] = "[entities]\nORG\n"
    (foreign / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="of another model"):
        wasl.load(foreign)


def test_saving_keeps_graphs_with_their_weights(exported: dict[str, Path], tmp_path: Path) -> None:
    text = TEXTS[0]
    extractor = wasl.load(exported["int8"])
    extractor.save_pretrained(tmp_path / "copy")
    again = wasl.load(tmp_path / "copy")
    assert type(again.engine).__name__ == "OnnxEngine"
    assert again.predict(text) == extractor.predict(text)
    wasl.load(exported["int8"], engine="torch").save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy" / GRAPHS[0]).exists()  # they would be of other weights


def test_compact_weights_serve_both_engines(model_folder: Path, tmp_path: Path, exported: dict[str, Path]) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "compact")
    written = export(wasl.load(folder, engine="torch"), folder, compact=True)
    assert [file.name for file in written] == ["model.safetensors", *GRAPHS]
    sizes = [sum((f / n).stat().st_size for n in (GRAPHS[0], "model.safetensors")) for f in (folder, exported["int8"])]
    assert sizes[0] < 0.75 * sizes[1]
    torch_, onnx, separate = wasl.load(folder, engine="torch"), wasl.load(folder), wasl.load(exported["int8"])
    weights = wasl.load(model_folder, engine="torch").network.state_dict()
    for name, tensor in torch_.network.state_dict().items():
        assert (tensor - weights[name]).abs().max() <= weights[name].abs().max() / 127, name
    text = TEXTS[2]
    assert np.allclose(onnx.read([text])[0].tags, separate.read([text])[0].tags, atol=1e-5)
    assert np.allclose(onnx.read([text])[0].tags, torch_.read([text])[0].tags, atol=0.3)
    onnx.save_pretrained(tmp_path / "copy")
    assert wasl.load(tmp_path / "copy").predict(text) == onnx.predict(text)
    with pytest.raises(ArgumentError, match="int8"):
        export(torch_, folder, "fp32", compact=True)


def test_an_outlying_input_costs_the_others_little(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is made smaller by is stored with the weights, and taken off again where they are read."""
    extractor = wasl.load(model_folder, engine="torch")
    for layer in extractor.network.encoder.encoder.layer:  # type: ignore[union-attr]
        layer.intermediate.dense.weight.data[3] *= 1000
        layer.output.dense.weight.data[:, 3] /= 1000
    folder = shutil.copytree(model_folder, tmp_path / "compact")
    extractor.save_pretrained(folder)
    exact = wasl.load(folder, engine="torch").read([TEXTS[2]])[0].tags

    def error(engine: str) -> float:
        return float(np.abs(wasl.load(folder, engine=engine).read([TEXTS[2]])[0].tags - exact).mean())

    export(extractor, folder, compact=True)
    stored = load_file(folder / "model.safetensors")
    sizes = [value for name, value in stored.items() if name.endswith("output.dense.weight.sizes")]
    assert len(sizes) == 2
    assert all(size.argmax() == 3 and size[3] > 10 and size.median() == 1 for size in sizes)
    smoothed = error("onnx")
    assert error("torch") < smoothed  # only the weights are rounded there
    monkeypatch.setattr("wasl_training.export.LARGEST", 1e9)
    export(extractor, folder, compact=True)
    assert smoothed < error("onnx") / 2


def test_only_inputs_far_above_the_others_are_made_smaller() -> None:
    unused = [0.0] * 5
    assert smoothing(torch.tensor([*unused, 1, 2, 3, 80])).tolist() == [1] * 8 + [10]
    assert smoothing(torch.tensor([1, 1, 1e6])).tolist() == [1, 1, 64]
    assert smoothing(torch.tensor(unused)).tolist() == [1] * 5


def test_pieces_by_chance_are_ones_that_the_encoder_has(extractor: wasl.Extractor) -> None:
    windows = chance_windows(extractor.text_encoder, 60)
    assert [window.shape for window in windows] == [(1, extractor.text_encoder.max_pieces)] * WINDOWS
    assert max(int(window.max()) for window in windows) == 59


def test_embeddings_that_are_not_looked_up_stay_as_they_are() -> None:
    """DeBERTa reads its embeddings of relative positions whole."""
    config = DebertaV2Config(vocab_size=50, relative_attention=True, pos_att_type=["c2p", "p2c"], **SIZES)
    encoder, window = DebertaV2Model(config).eval(), torch.arange(5, 45)[None]
    plain = encoder(input_ids=window).last_hidden_state
    prepare(encoder, [window])
    assert torch.allclose(encoder(input_ids=window).last_hidden_state, plain, atol=0.05)
    assert isinstance(encoder.encoder.rel_embeddings, torch.nn.Embedding)
    assert not isinstance(encoder.embeddings.word_embeddings, torch.nn.Embedding)


@pytest.mark.parametrize(("sees", "attention"), [(8, "eager"), (256, UNMASKED)])
def test_masks_stay_in_encoders_that_see_a_part_of_the_window(sees: int, attention: str) -> None:
    encoder = ModernBertModel(ModernBertConfig(vocab_size=50, pad_token_id=0, local_attention=sees, **SIZES)).eval()
    use_unmasked_attention(encoder, torch.arange(5, 45)[None])
    assert encoder.config._attn_implementation == attention


def test_training_writes_graphs(
    articles: wasl.Corpus, sentencepiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    train(articles, tmp_path, encoder=sentencepiece_encoder, config=replace(quick, epochs=1, export=True))
    assert type(wasl.load(tmp_path).engine).__name__ == "OnnxEngine"
    plain, graph = (wasl.load(tmp_path, engine=name).read([TEXTS[2]])[0] for name in ("torch", "onnx"))
    assert np.allclose(plain.tags, graph.tags, atol=0.3)


def test_a_precision_that_there_is_not(extractor: wasl.Extractor, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="int8, fp32"):
        export(extractor, tmp_path, "int4")

"""Training: from any encoder, repeatable to the last digit, resumable, with every fault reported."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import wasl
from wasl.config import Calibration
from wasl.corpus import Corpus
from wasl.document import Document, Entity
from wasl.encoding import Encoded
from wasl.errors import ArgumentError, CorpusError, ModelError
from wasl.schema import Schema
from wasl_training import TrainingConfig, evaluate, train
from wasl_training.augmentation import hide_words
from wasl_training.config import FOR_KNOWN_LABELS, FOR_NEW_LABELS, FROM_ENCODER
from wasl_training.encoders import load_start
from wasl_training.loss import JointLoss
from wasl_training.progress import Epoch, Progress
from wasl_training.trainer import CHECKPOINTS, last_checkpoint
from wasl_training.training import choose_dev


def weights(extractor: wasl.Extractor) -> dict[str, torch.Tensor]:
    return dict(extractor.network.state_dict())


def equal(a: wasl.Extractor, b: wasl.Extractor) -> bool:
    return all(torch.equal(x, weights(b)[name]) for name, x in weights(a).items())


@pytest.mark.parametrize("kind", ["wordpiece", "sentencepiece"])
def test_any_encoder_learns(
    kind: str, request: pytest.FixtureRequest, articles: wasl.Corpus, quick: TrainingConfig, tmp_path: Path
) -> None:
    encoder = request.getfixturevalue(f"{kind}_encoder")
    part = articles.select(["001", "005"])
    trained = train(part, tmp_path, encoder=encoder, config=replace(quick, epochs=30))
    assert trained.epochs[-1].loss < trained.epochs[0].loss / 3
    loaded = wasl.load(tmp_path)
    assert evaluate(loaded, part).figures.entities.f1 > 60  # the training documents themselves: it can learn
    assert not (tmp_path / CHECKPOINTS).exists()
    assert "`" + str(encoder) + "`" in (tmp_path / "README.md").read_text()


def test_the_same_seed_gives_the_same_weights(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig
) -> None:
    one, two, other = (
        train(articles.select(["001"]), encoder=wordpiece_encoder, config=replace(quick, seed=seed))
        for seed in (3, 3, 4)
    )
    assert equal(one.extractor, two.extractor)
    assert [replace(e, seconds=0) for e in one.epochs] == [replace(e, seconds=0) for e in two.epochs]
    assert not equal(one.extractor, other.extractor)


class KilledError(Exception):
    pass


class KillAfter(Progress):
    """Stops a training in the middle of an epoch, as a power cut would."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.over = 0

    def epoch(self, epoch: Epoch) -> None:
        self.over += 1

    def step(self, done: int) -> None:
        if self.over == self.epochs:
            raise KilledError


def test_a_killed_training_resumes_to_the_same_result(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "encoder": wordpiece_encoder, "dev": ["002"], "config": replace(quick, epochs=4, checkpoint_seconds=0),
    }  # fmt: skip
    part = articles.select(["001", "002", "005"])
    whole = train(part, tmp_path / "whole", **settings)
    with pytest.raises(KilledError):
        train(part, tmp_path / "killed", progress=KillAfter(3), **settings)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = train(part, tmp_path / "killed", resume=True, **settings)
    assert equal(whole.extractor, resumed.extractor)
    finished = train(part, tmp_path / "killed", resume=True, **settings)  # nothing is left to do
    assert finished.epochs == []
    assert finished.extractor.config == whole.extractor.config
    assert [replace(e, seconds=0) for e in whole.epochs] == [replace(e, seconds=0) for e in resumed.epochs]
    assert whole.best == resumed.best


def test_other_settings_do_not_go_on_from_a_checkpoint(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    config = replace(quick, epochs=4, checkpoint_seconds=0)
    part = articles.select(["001"])
    with pytest.raises(KilledError):
        train(part, tmp_path, encoder=wordpiece_encoder, config=config, progress=KillAfter(2))
    with pytest.raises(ArgumentError, match="other settings, encoder or documents"):
        train(part, tmp_path, encoder=wordpiece_encoder, config=replace(config, seed=9), resume=True)


def test_a_half_written_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, whole in ((5, True), (10, True), (15, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


def test_bf16_learns_too(articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig) -> None:
    part = articles.select(["001", "005"])
    trained = train(part, encoder=wordpiece_encoder, config=replace(quick, epochs=12, precision="bf16"), dev=[])
    assert trained.epochs[-1].loss < trained.epochs[0].loss / 2
    assert all(v.dtype == torch.float32 for v in weights(trained.extractor).values())


def test_the_best_epoch_is_kept_and_the_rest_calibrated(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    rates = replace(quick, epochs=6, encoder_rate=2e-2, head_rate=2e-2)  # wild enough not to end at its best
    trained = train(articles, tmp_path, encoder=wordpiece_encoder, dev=["003"], config=rates)
    assert trained.best == max(trained.epochs, key=lambda e: e.goodness).number
    assert trained.dev is not None
    assert trained.dev.entities.f1 == pytest.approx(trained.epochs[trained.best - 1].dev_entities)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "development documents, which also chose" in card
    assert f"| entities | {trained.dev.entities.precision:.1f} |" in card


def test_an_extractors_rows_are_kept(articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig) -> None:
    seen: list[Any] = []

    class Watch(Progress):
        def started(self, epochs: int, steps: int, kept: tuple[list[str], list[str]], dev: list[str]) -> None:
            seen.extend([epochs, kept])

    frozen = replace(quick, epochs=1, encoder_rate=0, head_rate=0)
    trained = train(articles.select(["001"]), encoder=model_folder, config=frozen, progress=Watch())
    assert seen == [1, (list(articles.schema.entities), list(articles.schema.relation_labels))]
    before = wasl.load(model_folder)
    assert equal(trained.extractor, before)  # nothing was learnt, and nothing was lost
    assert trained.extractor.config.relation_threshold == before.config.relation_threshold


def test_calibration_is_kept_only_for_the_labels_it_was_fitted_to(
    articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig
) -> None:
    start = load_start(model_folder)
    assert start.extractor is not None
    start.extractor.config = replace(
        start.extractor.config, entity_threshold=0.7, entity_calibration=Calibration(0.5, -1.0)
    )
    part = articles.select(["005"])
    same = train(part, encoder=start, config=replace(quick, epochs=1)).extractor.config
    assert (same.entity_threshold, same.entity_calibration) == (0.7, Calibration(0.5, -1.0))
    document = Document("هواوي في الصين", (Entity("T1", "THING", 0, 5, "هواوي"),))
    others = Corpus(Schema.parse("[entities]\nTHING\n"), {"x": document})
    new = train(others, encoder=start, config=replace(quick, epochs=1)).extractor.config
    assert (new.entity_threshold, new.entity_calibration) == (0.0, Calibration())


def test_proclitics_are_set_apart_as_the_start_has_it(
    articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    one, quick = articles.select(["001"]), replace(quick, epochs=1)
    assert load_start(model_folder).split_proclitics  # it was trained from a bare encoder
    joined = train(one, tmp_path, encoder=model_folder, config=replace(quick, split_proclitics=False)).extractor
    assert joined.text_encoder.split is None
    assert not wasl.load(tmp_path).config.split_proclitics
    assert train(one, encoder=tmp_path, config=quick).extractor.text_encoder.split is None


def test_what_is_not_set_follows_from_the_start() -> None:
    """Epochs, rates and hidden words from whether the labels are known, the batch from the size of the corpus."""
    starts = {FROM_ENCODER: (False, False), FOR_NEW_LABELS: (False, True), FOR_KNOWN_LABELS: (True, True)}
    for defaults, start in starts.items():
        resolved = TrainingConfig().resolved(*start)
        assert {name: getattr(resolved, name) for name in vars(defaults)} == vars(defaults)
    assert [TrainingConfig().windows_in_step(n) for n in (45, 200, 700)] == [2, 4, 8]
    assert TrainingConfig(batch_size=1).windows_in_step(700) == 1
    set_ = {"epochs": 3, "encoder_rate": 0.0, "head_rate": 0.5, "keep": 0.3, "hide": 0.0}
    given = TrainingConfig(**set_).resolved(True, True)
    assert {name: getattr(given, name) for name in set_} == set_
    assert TrainingConfig(hide=0.0).resolved(False, True).hide == 0
    assert TrainingConfig(hide=0.3).resolved(False, False).hide == 0.3
    assert TrainingConfig(keep=0.3).resolved(False, True).keep == 0  # there is nothing to keep


def test_words_are_hidden_for_new_labels_of_an_extractor(
    articles: wasl.Corpus,
    wordpiece_encoder: Path,
    model_folder: Path,
    quick: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden: list[float] = []

    def record(encoded: Encoded, random_: random.Random, share: float, mask: int) -> Encoded:
        hidden.append(share)
        return hide_words(encoded, random_, share, mask)

    monkeypatch.setattr("wasl_training.examples.hide_words", record)
    document = Document("هواوي في الصين", (Entity("T1", "THING", 0, 5, "هواوي"),))
    others = Corpus(Schema.parse("[entities]\nTHING\n"), {"x": document})
    once = replace(quick, epochs=1)
    train(others, encoder=wordpiece_encoder, config=once)
    train(articles.select(["001"]), encoder=model_folder, config=once)
    assert not hidden
    train(others, encoder=model_folder, config=once)
    assert hidden == [0.1]
    hidden.clear()
    monkeypatch.setattr("wasl_training.training.has_mask_token", lambda tokenizer: False)
    train(others, encoder=model_folder, config=once)
    assert not hidden


def test_a_perturbed_pass_loses_more_and_is_undone(
    articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[float] = []
    forward = JointLoss.forward

    def record(self: JointLoss, **batch: Any) -> dict[str, torch.Tensor]:
        for module in self.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        parts = forward(self, **batch)
        passes.append(parts["loss"].item())
        return parts

    monkeypatch.setattr(JointLoss, "forward", record)
    still = replace(quick, epochs=1, encoder_rate=0.0, head_rate=0.0, weight_decay=0.0, perturb=0.1)
    trained = train(articles, encoder=model_folder, dev=[], config=still)
    clean, perturbed = passes[::2], passes[1::2]
    assert len(clean) == len(perturbed) > 3
    assert all(one < other for one, other in zip(clean, perturbed, strict=True))
    assert trained.epochs[0].loss == pytest.approx(sum(clean) / len(clean))  # as without it
    start = load_start(str(model_folder)).encoder.get_input_embeddings().weight
    assert torch.equal(trained.extractor.network.encoder.get_input_embeddings().weight, start)

    passes.clear()
    alone, beside = (
        train(articles.select(["001"]), encoder=model_folder, dev=[], config=replace(quick, perturb=perturb))
        for perturb in (0.0, 0.1)
    )
    assert not equal(alone.extractor, beside.extractor)  # its gradient counts


def test_a_share_of_the_starts_weights_is_kept(
    articles: wasl.Corpus, model_folder: Path, quick: TrainingConfig
) -> None:
    """Of an extractor that knows all labels, and more than these."""
    fewer = "\n".join(line for line in articles.schema.source.splitlines() if not line.startswith("alias_of"))
    documents = {
        id_: wasl.Document(d.text, d.entities, tuple(r for r in d.relations if r.label != "alias_of"))
        for id_, d in articles.documents.items()
    }
    corpus = Corpus(Schema.parse(fewer), documents)
    weights = {}
    for keep in (0.0, 0.25, 0.5):
        trained = train(corpus, encoder=model_folder, dev=[], config=replace(quick, keep=keep))
        weights[keep] = trained.extractor.network.state_dict()
    assert weights[0.0]["relations.weight"].shape[0] == len(corpus.schema.relations) < len(articles.schema.relations)
    for name, tuned in weights[0.0].items():
        begun = 2 * weights[0.5][name] - tuned
        assert torch.allclose(weights[0.25][name], 0.75 * tuned + 0.25 * begun, atol=1e-5), name
    start = wasl.load(model_folder, engine="torch").network.state_dict()["norm.weight"]
    assert torch.allclose(2 * weights[0.5]["norm.weight"] - weights[0.0]["norm.weight"], start, atol=1e-5)
    assert not torch.allclose(weights[0.0]["norm.weight"], start, atol=1e-3)


def write(folder: Path, text: str, annotations: str, conf: str) -> wasl.Corpus:
    folder.mkdir()
    (folder / "a.txt").write_text(text, encoding="utf-8")
    (folder / "a.ann").write_text(annotations, encoding="utf-8")
    (folder / "annotation.conf").write_text(conf, encoding="utf-8")
    return wasl.read_corpus(folder)


def test_a_nested_schema_is_learnt(wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path) -> None:
    text = "مختبر أكسفورد لسياسات الصين في لندن.\n" * 12
    lines = []
    for i in range(12):
        at = i * (len(text) // 12)
        for n, (label, surface) in enumerate(
            [("ORG", "مختبر أكسفورد لسياسات الصين"), ("LOC", "الصين"), ("LOC", "لندن")]
        ):
            start = text.index(surface, at)
            lines.append(f"T{3 * i + n}\t{label} {start} {start + len(surface)}\t{surface}\n")
    conf = "[entities]\nORG\nLOC\n[relations]\n<OVERLAP>\tArg1:ORG, Arg2:LOC, <OVL-TYPE>:contain\n"
    corpus = write(tmp_path / "nested", text, "".join(lines), conf)
    trained = train(
        corpus, tmp_path / "model", encoder=wordpiece_encoder, config=replace(quick, epochs=40, glue=0, unglue=0)
    )
    document = wasl.load(tmp_path / "model").predict(text.split("\n")[0])
    assert [(e.label, e.text) for e in document.entities] == [
        ("ORG", "مختبر أكسفورد لسياسات الصين"), ("LOC", "الصين"), ("LOC", "لندن"),
    ]  # fmt: skip
    assert trained.extractor.schema.relations == ()


def test_annotations_that_cannot_be_used_stop_training_or_are_reported(
    wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    corpus = write(
        tmp_path / "c", "زار الصين وفد من هواوي", "T1\tLOC 4 8\tالصي\nT2\tORG 17 22\tهواوي\n", "[entities]\nLOC\nORG\n"
    )
    with pytest.raises(CorpusError, match=r"ends inside a word.*(?s:.*)--skip-invalid"):
        train(corpus, encoder=wordpiece_encoder, config=quick)
    trained = train(corpus, encoder=wordpiece_encoder, config=quick, skip_invalid=True)
    assert [p.cause for p in trained.problems] == ["ends inside a word"]


def test_further_corpora_must_have_the_same_labels(
    articles: wasl.Corpus, wordpiece_encoder: Path, quick: TrainingConfig, tmp_path: Path
) -> None:
    other = write(tmp_path / "c", "زار الصين", "T1\tLOC 4 9\tالصين\n", "[entities]\nLOC\nSHIP\n")
    with pytest.raises(CorpusError, match="does not know SHIP"):
        train(articles, encoder=wordpiece_encoder, also=[other], config=quick)
    looser = articles.schema.source.replace("located_in\tArg1:LOC", "located_in\tArg1:LOC|PER")
    with pytest.raises(CorpusError, match="different arguments of located_in"):
        train(articles, encoder=wordpiece_encoder, also=[wasl.Corpus(wasl.Schema.parse(looser), {})], config=quick)
    same = wasl.Corpus(articles.schema, {"x": articles.documents["004"]})
    card_folder = tmp_path / "m"
    train(articles.select(["001"]), card_folder, encoder=wordpiece_encoder, also=[same], config=quick)
    assert "Trained on 2 documents: 001, also0/x" in (card_folder / "README.md").read_text(encoding="utf-8")


def test_scoring_needs_labels_the_model_knows(extractor: wasl.Extractor, tmp_path: Path) -> None:
    other = write(tmp_path / "c", "زار الصين", "T1\tSHIP 4 9\tالصين\n", "[entities]\nSHIP\n")
    with pytest.raises(CorpusError, match="the model does not know SHIP; it knows PER, ORG"):
        evaluate(extractor, other)


def test_development_documents(articles: wasl.Corpus) -> None:
    many = wasl.Corpus(articles.schema, {f"{i:02d}": articles.documents["001"] for i in range(40)})
    assert len(choose_dev(many, None, TrainingConfig())) == 4
    assert choose_dev(many, None, TrainingConfig()) == choose_dev(many, None, TrainingConfig())
    assert choose_dev(articles, None, TrainingConfig()) == []
    assert choose_dev(articles, ["002"], TrainingConfig()) == ["002"]
    with pytest.raises(CorpusError, match=r"no 9\.txt"):
        choose_dev(articles, ["9"], TrainingConfig())
    with pytest.raises(ArgumentError, match="leave some"):
        choose_dev(articles, list(articles.documents), TrainingConfig())


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"max_pieces": 8},
        {"glue": 2.0},
        {"encoder_rate": 3.0},
        {"perturb": -1.0},
        {"precision": "fp8"},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


def test_encoders_that_cannot_be_read(tmp_path: Path, wordpiece_encoder: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_start(tmp_path / "nowhere" / "at" / "all")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError, match="no encoder that can be read"):
        load_start(tmp_path)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (pickled / name).write_bytes((wordpiece_encoder / name).read_bytes())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"model.safetensors"):  # pickles are never opened
        load_start(pickled)


def test_a_tokenizer_without_tokenizer_json_is_converted(articles: wasl.Corpus, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    words = sorted({w for d in articles.documents.values() for w in d.text.split() if w.isalpha()})[:400]
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), encoding="utf-8"
    )
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    )
    BertModel(BertConfig(vocab_size=500, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
              ).save_pretrained(tmp_path)  # fmt: skip
    start = load_start(tmp_path)
    assert start.limit == 512
    assert start.tokenizer.encode(words[7], add_special_tokens=False).tokens == [words[7]]

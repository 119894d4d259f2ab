"""Training windows and their targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import wasl
from wasl.document import Document, Entity
from wasl.encoding import TextEncoder, Window
from wasl.pretrained import EMBEDDED_FOLDER
from wasl.schema import Schema
from wasl_training import TrainingConfig
from wasl_training.examples import Collator, Example, WindowDataset


@pytest.fixture(scope="module")
def text_encoder(wordpiece_encoder: Path) -> TextEncoder:
    return TextEncoder(Tokenizer.from_file(str(wordpiece_encoder / "tokenizer.json")), max_pieces=64)


def test_windows_hold_every_annotation_once(articles: wasl.Corpus, text_encoder: TextEncoder) -> None:
    dataset = WindowDataset(articles.documents, articles.schema, text_encoder, None)
    examples = [dataset[i] for i in range(len(dataset))]
    assert sum(len(e.aligned.entities) for e in examples) == articles.counts()[0].total()
    assert sum(len(e.aligned.relations) for e in examples) == articles.counts()[1].total()
    assert dataset.problems == []


def test_a_long_sentence_is_one_example_of_several_windows(text_encoder: TextEncoder) -> None:
    text = "قبل. " + "شركة هواوي " * 60 + ". بعد"
    at = text.rindex("هواوي")
    document = Document(text, (Entity("T1", "ORG", at, at + 5, "هواوي"),))
    dataset = WindowDataset({"a": document}, Schema.parse("[entities]\nORG\n"), text_encoder, None)
    counts = [len(dataset[i].encoded.windows) for i in range(len(dataset))]
    assert max(counts) > 1
    assert sum(len(dataset[i].aligned.entities) for i in range(len(dataset))) == 1


def test_variation_depends_on_seed_epoch_and_index_alone(articles: wasl.Corpus, text_encoder: TextEncoder) -> None:
    def texts(seed: int, epoch: int) -> list[str]:
        dataset = WindowDataset(articles.documents, articles.schema, text_encoder, TrainingConfig(seed=seed, glue=0.5))
        dataset.epoch = epoch
        return [dataset[i].encoded.text for i in range(len(dataset))]

    assert texts(0, 1) == texts(0, 1)
    assert texts(0, 1) != texts(0, 2)
    assert texts(0, 1) != texts(1, 1)


def test_targets(text_encoder: TextEncoder, articles: wasl.Corpus) -> None:
    dataset = WindowDataset(articles.documents, articles.schema, text_encoder, None)
    examples = [dataset[i] for i in range(8)]
    batch = Collator(articles.schema, 0)(examples)
    labels = articles.schema.entities
    words = 0
    expected = np.zeros(batch["words"], dtype=int)
    for example in examples:
        for (first, last), label in zip(example.aligned.spans, example.aligned.labels, strict=True):
            expected[words + first] = 2 * label + 1
            expected[words + first + 1 : words + last] = 2 * label + 2
        words += len(example.encoded.words)
    assert words == batch["words"]
    assert batch["tags"][:, 0].tolist() == expected.tolist()
    assert batch["related"].shape == batch["allowed"].shape == (len(batch["pairs"]), len(articles.schema.relations))
    assert bool((batch["related"] & ~batch["allowed"]).any()) is False
    gold = sum(1 + (articles.schema.relations[r].symmetric) for e in examples for _, _, r in e.aligned.relations)
    assert int(batch["related"].sum()) == gold > 5
    assert batch["labels"].tolist() == [labels.index(x.label) for e in examples for x in e.aligned.entities]


def test_hidden_words(articles: wasl.Corpus, text_encoder: TextEncoder) -> None:
    mask = text_encoder.tokenizer.token_to_id("[MASK]")

    def examples(hide: float) -> list[Example]:
        config = TrainingConfig(hide=hide, glue=0, unglue=0)
        dataset = WindowDataset(articles.documents, articles.schema, text_encoder, config)
        return [dataset[i] for i in range(len(dataset))]

    words = hidden = 0
    for plain, other in zip(examples(0), examples(0.3), strict=True):
        assert (plain.aligned.spans == other.aligned.spans).all()
        for before, after in zip(plain.encoded.windows, other.encoded.windows, strict=True):
            changed = before.pieces != after.pieces
            assert (after.pieces[changed] == mask).all()
            assert not changed[[0, -1]].any()  # special tokens stay
            words += len(set(before.link_words.tolist()))
            hidden += len(set(before.link_words[changed[before.link_pieces]].tolist()))
            for word in set(before.link_words[changed[before.link_pieces]].tolist()):
                assert changed[before.link_pieces[before.link_words == word]].all()  # whole words
    assert 0.25 < hidden / words < 0.35


@pytest.mark.parametrize(  # of the small vocabulary few pieces are made of others
    ("folder", "least", "most"), [("wordpiece_encoder", 0.02, 0.3), (EMBEDDED_FOLDER, 0.2, 0.3)]
)
def test_cut_pieces(
    articles: wasl.Corpus, folder: str | Path, least: float, most: float, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(folder) if isinstance(folder, str) else folder
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def examples(cut: float, most_pieces: int) -> list[Example]:
        config = TrainingConfig(cut=cut, glue=0, unglue=0)
        encoder = TextEncoder(tokenizer, max_pieces=64)
        dataset = WindowDataset(articles.documents, articles.schema, encoder, config, most_pieces)
        return [dataset[i] for i in range(len(dataset))]

    def spelt(window: Window) -> dict[int, str]:
        """The pieces of each word, put together again."""
        found: dict[int, str] = {}
        for word, piece in zip(window.link_words.tolist(), window.link_pieces.tolist(), strict=True):
            token = tokenizer.id_to_token(int(window.pieces[piece]))
            found[word] = found.get(word, "") + token.removeprefix("##")
        return found

    words = cut = 0
    for plain, other, crowded in zip(examples(0, 512), examples(0.3, 512), examples(1, 66), strict=True):
        assert (plain.aligned.spans == other.aligned.spans).all()
        for before, after, full in zip(
            plain.encoded.windows, other.encoded.windows, crowded.encoded.windows, strict=True
        ):
            assert spelt(before) == spelt(after) == spelt(full)
            assert before.own == after.own
            assert before.pieces[[0, -1]].tolist() == after.pieces[[0, -1]].tolist()
            assert len(full.pieces) <= 66
            number = np.bincount(before.link_words), np.bincount(after.link_words)
            words += int((number[0] > 0).sum())
            cut += int((number[0] < number[1]).sum())
    assert least < cut / words < most

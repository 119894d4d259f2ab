"""The network: word vectors, pair features and what is kept from an extractor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from wasl.encoding import TextEncoder
from wasl.network import Network, collate, keep_shared_rows, make_encoder, piece_limit
from wasl.pairs import PAIR_FIELDS, PairIndex, index_pairs
from wasl.schema import Schema

SCHEMA = Schema.parse("[entities]\nORG\nLOC\n[relations]\nin\tArg1:ORG, Arg2:LOC\nnear\tArg1:LOC, Arg2:LOC\n")
CONFIG = {"model_type": "bert", "vocab_size": 600, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 64, "max_position_embeddings": 80}  # fmt: skip


def network(schema: Schema = SCHEMA, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(schema, CONFIG).eval()


def scored(
    net: Network, vectors: torch.Tensor, spans: np.ndarray, labels: np.ndarray, pairs: np.ndarray
) -> torch.Tensor:
    index = index_pairs(spans, labels, pairs)
    return net.score_pairs(vectors, PairIndex(*(torch.from_numpy(getattr(index, name)) for name in PAIR_FIELDS)))


def test_a_words_vector_is_the_normalised_mean_of_its_pieces(wordpiece_encoder) -> None:  # type: ignore[no-untyped-def]
    net = network()
    encoder = TextEncoder(Tokenizer.from_file(str(wordpiece_encoder / "tokenizer.json")), 64)
    encoded = encoder.encode("شركة إنفيديا الأميركية.")
    (window,) = encoded.windows
    with torch.no_grad():
        out = net(collate([(encoded, window)], 0))
        states = net.encoder(input_ids=torch.from_numpy(window.pieces[None])).last_hidden_state[0]
        for word in range(len(encoded.words)):
            pieces = window.link_pieces[window.link_words == word]
            expected = net.norm(states[pieces].mean(dim=0))
            assert torch.allclose(out.vectors[word], expected, atol=1e-5)


def test_pair_scores_do_not_depend_on_the_other_pairs() -> None:
    net = network()
    vectors = torch.randn(20, 32)
    spans = np.array([[0, 2], [2, 3], [9, 12], [19, 20]])
    labels = np.array([0, 1, 1, 0])
    pairs = np.array([[0, 1], [1, 0], [0, 2], [3, 0], [2, 3]])
    with torch.no_grad():
        together = scored(net, vectors, spans, labels, pairs)
        alone = torch.cat([scored(net, vectors, spans, labels, p[None]) for p in pairs])
    assert torch.allclose(together, alone, atol=1e-5)


def test_words_between_matter_and_words_outside_do_not() -> None:
    net = network()
    vectors = torch.randn(10, 32)
    spans, labels, pairs = np.array([[1, 2], [5, 6]]), np.array([0, 1]), np.array([[0, 1]])

    def with_other(changed: int) -> torch.Tensor:
        other = vectors.clone()
        other[changed] += 5
        with torch.no_grad():
            return scored(net, other, spans, labels, pairs)

    with torch.no_grad():
        plain = scored(net, vectors, spans, labels, pairs)
    assert not torch.allclose(with_other(3), plain)
    assert torch.equal(with_other(8), plain)


def test_shared_rows_are_kept_and_others_fresh() -> None:
    base = network(seed=1)
    schema = Schema.parse(
        "[entities]\nPER\nLOC\n[relations]\nin\tArg1:PER, Arg2:LOC\nnear\tArg1:LOC, Arg2:LOC\nborn\tArg1:PER, Arg2:LOC\n"
    )
    new = network(schema, seed=2)
    fresh = {k: v.clone() for k, v in new.state_dict().items()}
    entities, relations = keep_shared_rows(new, base)
    assert entities == ["LOC"]
    assert relations == ["near"]  # `in` has no argument pair in common
    assert torch.equal(new.tags.weight[[0, 3, 4]], base.tags.weight[[0, 3, 4]])
    assert torch.equal(new.tags.weight[[1, 2]], fresh["tags.weight"][[1, 2]])
    assert torch.equal(new.relations.weight[1], base.relations.weight[1])
    assert torch.equal(new.relations.weight[[0, 2]], fresh["relations.weight"][[0, 2]])
    assert torch.equal(new.types.weight[1], base.types.weight[1])
    for name in ("norm.weight", "proclitics.0.weight", "pair.0.weight", "distances.weight"):
        assert torch.equal(new.state_dict()[name], base.state_dict()[name])


@pytest.mark.parametrize("overlap", ["", "<OVERLAP>\tArg1:ORG, Arg2:<ENTITY>, <OVL-TYPE>:contain\n"])
def test_the_same_schema_keeps_every_row(overlap: str) -> None:
    schema = Schema.parse(SCHEMA.source + overlap)
    base, new = network(schema, seed=1), network(schema, seed=2)
    keep_shared_rows(new, base)
    for name, tensor in new.state_dict().items():
        if not name.startswith("encoder."):
            assert torch.equal(tensor, base.state_dict()[name]), name


def test_piece_limit_of_bert_and_of_roberta() -> None:
    assert piece_limit(make_encoder(CONFIG)) == 80
    assert piece_limit(make_encoder({**CONFIG, "model_type": "xlm-roberta", "pad_token_id": 1})) == 78


def test_collate_numbers_words_through_the_batch(wordpiece_encoder) -> None:  # type: ignore[no-untyped-def]
    encoder = TextEncoder(Tokenizer.from_file(str(wordpiece_encoder / "tokenizer.json")), 64)
    texts = [encoder.encode("الصين."), encoder.encode("هواوي شركة صينية كبيرة")]
    batch = collate([(e, e.windows[0]) for e in texts], 0)
    assert batch.words == sum(len(e.words) for e in texts)
    assert sorted(set(batch.link_words.tolist())) == list(range(batch.words))
    assert batch.attention_mask.sum() == sum(len(e.windows[0].pieces) for e in texts)
    assert np.array_equal(batch.letters.numpy(), np.concatenate([e.words.letters for e in texts]))

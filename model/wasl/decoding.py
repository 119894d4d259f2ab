"""From logits to entities and relations: the best lawful reading, with its probabilities. Arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wasl.config import Calibration
from wasl.encoding import LONGEST_GAP, Words
from wasl.schema import Schema


@dataclass(frozen=True)
class Spans:
    """Entities as runs of words.

    Attributes:
        spans: shape (entities, 2), int64: first and last-plus-one word, in text order, outermost first.
        skips: shape (entities,), int64: letters of the first word that are left out.
        labels: shape (entities,), int64: indices into the schema's entity labels.
        scores: shape (entities,): probability that span and label are right.
    """

    spans: np.ndarray
    skips: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.spans)

    def take(self, index: np.ndarray) -> Spans:
        return Spans(self.spans[index], self.skips[index], self.labels[index], self.scores[index])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def calibrated(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Probabilities of raw logits."""
    return 1.0 / (1.0 + np.exp(-np.clip(calibration.slope * logits + calibration.shift, -60, 60)))


def logit(log_probability: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of log p, finite everywhere."""
    clipped = np.minimum(log_probability, -1e-7)
    return clipped - np.log(-np.expm1(clipped))


def best_tags(logs: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The most probable lawful BIO sequence of each sentence (Viterbi 1967): I follows only B or I of its label.

    Args:
        logs: shape (words, 2n + 1): log probabilities of O, B and I of each of n labels.
        bounds: shape (sentences, 2): first and last-plus-one word.

    Returns:
        shape (words,): tags. All sentences advance together, longest first.
    """
    words, tags = logs.shape
    path = logs.argmax(axis=1)  # what is lawful there is the most probable of all; few sentences are not
    before = np.concatenate([[0], path[:-1]])
    before[bounds[:, 0]] = 0
    inside = (path > 0) & (path % 2 == 0)
    lawless = np.flatnonzero(inside & (before != path) & (before != path - 1))
    bounds = bounds[np.unique(np.searchsorted(bounds[:, 0], lawless, side="right") - 1)]
    if not len(bounds):
        return path
    order = np.argsort(bounds[:, 0] - bounds[:, 1], kind="stable")
    bounds = bounds[order]
    lengths = bounds[:, 1] - bounds[:, 0]
    begins, insides = np.arange(1, tags, 2), np.arange(2, tags, 2)
    state = logs[bounds[:, 0]].copy()
    state[:, insides] = -np.inf
    back = np.zeros((words, tags), dtype=np.int64)
    for step in range(1, int(lengths[0])):
        alive = int(np.searchsorted(-lengths, -step, side="left"))  # sentences longer than `step`
        previous = state[:alive]
        at = bounds[:alive, 0] + step
        best = previous.argmax(axis=1)
        new = np.repeat(previous.max(axis=1)[:, None], tags, axis=1)
        source = np.repeat(best[:, None], tags, axis=1)
        from_begin = previous[:, begins] >= previous[:, insides]
        new[:, insides] = np.where(from_begin, previous[:, begins], previous[:, insides])
        source[:, insides] = np.where(from_begin, begins, insides)
        state[:alive] = new + logs[at]
        back[at] = source
    current = state.argmax(axis=1)
    for step in range(int(lengths[0]) - 1, -1, -1):
        alive = int(np.searchsorted(-lengths, -step, side="left"))
        at = bounds[:alive, 0] + step
        path[at] = current[:alive]
        current[:alive] = back[at, current[:alive]]
    return path


def decode_layer(
    tag_logits: np.ndarray, proclitic_logits: np.ndarray, words: Words, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Entities of one tag layer.

    Args:
        tag_logits: shape (words, 2n + 1).
        proclitic_logits: shape (words, LONGEST_PROCLITIC + 1).
        words: the words.
        labels: shape (n,): indices of the layer's labels.

    Returns:
        spans, skips, labels and raw logits of the entities' probabilities. An entity's probability is that of its B, of
        its I's, of no further I after it, and of its proclitic.
    """
    logs = log_softmax(tag_logits)
    bounds = words.sentence_bounds
    path = best_tags(logs, bounds)
    starts = np.flatnonzero(path % 2 == 1)
    inside = (path > 0) & (path % 2 == 0)
    # The first word at or after each start + 1 that is not an I.
    stops = np.append(np.flatnonzero(~inside), len(path))
    ends = stops[np.searchsorted(stops, starts + 1)]
    tags = path[starts]
    proclitic = log_softmax(np.where(words.skippable, proclitic_logits, -1e9))
    skips = proclitic[starts].argmax(axis=1)
    cumulative = np.vstack([np.zeros(logs.shape[1]), np.cumsum(logs, axis=0, dtype=np.float64)])
    within = cumulative[ends, tags + 1] - cumulative[starts + 1, tags + 1]
    last_of_sentence = np.isin(ends, bounds[:, 1])
    following = np.where(ends < len(path), np.exp(logs[np.minimum(ends, len(path) - 1), tags + 1]), 0.0)
    stop = np.where(last_of_sentence, 0.0, np.log1p(-np.minimum(following, 1 - 1e-7)))
    total = logs[starts, tags] + within + stop + proclitic[starts, skips]
    return np.stack([starts, ends], axis=1), skips, labels[(tags - 1) // 2], logit(total)


def decode_entities(
    tag_logits: np.ndarray,
    proclitic_logits: np.ndarray,
    words: Words,
    schema: Schema,
    calibration: Calibration,
    threshold: float,
) -> Spans:
    """The entities of a text; what crosses, or nests where the schema forbids it, gives way to the more probable."""
    layers = [
        decode_layer(
            tag_logits[:, where], proclitic_logits, words, np.array([schema.entities.index(label) for label in layer])
        )
        for layer, where in zip(schema.tag_layers, schema.tag_slices, strict=True)
    ]
    spans, skips, labels, logits = (np.concatenate(parts) for parts in zip(*layers, strict=True))
    scores = calibrated(logits, calibration)
    keep = scores >= threshold
    found = Spans(spans[keep], skips[keep], labels[keep], scores[keep])
    if schema.containment:
        found = found.take(_lawful(found, words, schema))
    return found.take(np.lexsort((-found.spans[:, 1], found.skips, found.spans[:, 0])))


def _lawful(found: Spans, words: Words, schema: Schema) -> np.ndarray:
    kept: list[int] = []
    edges = [
        ((int(a), int(skip)), int(b)) for (a, b), skip in zip(found.spans.tolist(), found.skips.tolist(), strict=True)
    ]
    for i in np.argsort(-found.scores, kind="stable").tolist():
        (start, end), label = edges[i], schema.entities[found.labels[i]]
        for k in kept:
            (other_start, other_end), other = edges[k], schema.entities[found.labels[k]]
            if end <= other_start[0] or other_end <= start[0]:
                continue
            inside = other_start <= start and end <= other_end and schema.may_contain(other, label)
            around = start <= other_start and other_end <= end and schema.may_contain(label, other)
            if edges[i] == edges[k] or not (inside or around):
                break
        else:
            kept.append(i)
    return np.array(sorted(kept), dtype=np.int64)


def candidate_pairs(spans: np.ndarray, labels: np.ndarray, words: Words, schema: Schema) -> np.ndarray:
    """All ordered pairs of entities in one sentence that some relation allows: shape (pairs, 2).

    Pairs with more than LONGEST_GAP words between them are left out, so that time grows with the length of a text, not
    with its square, even where a text has no sentence ends.

    Args:
        spans: shape (entities, 2): words, in text order.
        labels: shape (entities,).
        words: the words.
        schema: what is allowed.
    """
    if not len(spans) or not schema.relations:
        return np.zeros((0, 2), dtype=np.int64)
    sentence_end = words.sentence_bounds[:, 1]
    ends = sentence_end[np.searchsorted(sentence_end, spans[:, 0], side="right")]  # of each entity's sentence
    reach = np.minimum(ends, spans[:, 1] + LONGEST_GAP + 1)
    counts = np.searchsorted(spans[:, 0], reach, side="left") - np.arange(len(spans)) - 1
    first = np.repeat(np.arange(len(spans)), counts)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    pairs = np.concatenate([np.stack([first, second], axis=1), np.stack([second, first], axis=1)])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    some = np.asarray(schema.allowed.any(axis=2))
    return pairs[some[labels[pairs[:, 0]], labels[pairs[:, 1]]]]


def _other_way_round(pairs: np.ndarray) -> np.ndarray:
    """Shape (pairs,): where tail and head stand as a pair; the pair itself where they do not."""
    size = int(pairs.max()) + 1
    keys = pairs[:, 0] * size + pairs[:, 1]
    order = np.argsort(keys)
    wanted = pairs[:, 1] * size + pairs[:, 0]
    found = order[np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)]
    return np.where(keys[found] == wanted, found, np.arange(len(pairs)))


def decode_relations(
    logits: np.ndarray,
    pairs: np.ndarray,
    spans: Spans,
    schema: Schema,
    calibration: Calibration,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Relations of a text.

    Args:
        logits: shape (pairs, relations), raw.
        pairs: shape (pairs, 2): head and tail.
        spans: the entities.
        threshold: least probability of a relation, given its two entities.

    Returns:
        shape (found, 3): head, tail, relation; shape (found,): probabilities that they are right with both entities. Of
        a symmetric relation the two orders are averaged, and it is given once, head first in the text.
    """
    if not len(pairs):
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0)
    raw = logits.astype(np.float64)
    symmetric = np.array([r.symmetric for r in schema.relations])
    if symmetric.any():
        back = _other_way_round(pairs)
        raw[:, symmetric] = (raw[:, symmetric] + raw[back][:, symmetric]) / 2
    given = calibrated(raw, calibration)
    lawful = schema.allowed[spans.labels[pairs[:, 0]], spans.labels[pairs[:, 1]]].copy()
    lawful[np.ix_(pairs[:, 0] > pairs[:, 1], symmetric)] = False  # entities are in text order
    row, relation = np.nonzero(lawful & (given >= threshold))
    scores: np.ndarray = given[row, relation] * spans.scores[pairs[row]].prod(axis=1)
    return np.column_stack([pairs[row], relation]), scores

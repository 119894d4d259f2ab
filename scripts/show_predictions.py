"""Print the sentences of a text in which a model found most, with what it found; offsets are those in the sentence.

python scripts/show_predictions.py MODEL FILE --count 3
"""

from __future__ import annotations

import argparse
from pathlib import Path

import wasl
from wasl.text import find_sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=3)
    options = parser.parse_args()

    document = wasl.load(options.model).predict(options.file.read_bytes().decode("utf-8"))
    sentences = [document.slice(*span) for span in find_sentences(document.text).tolist()]
    richest = sorted(sentences, key=lambda s: (len(s.relations), len(s.entities)), reverse=True)[: options.count]
    for sentence in sorted(richest, key=sentences.index):
        print(f"\n{sentence.text}")
        for entity in sentence.entities:
            print(f"  {entity.label:8} {entity.start:4d}-{entity.end:<4d} {entity.score:.2f}  {entity.text}")
        for relation in sentence.relations:
            print(f"  {relation.head.text} --{relation.label}--> {relation.tail.text}  {relation.score:.2f}")


if __name__ == "__main__":
    main()

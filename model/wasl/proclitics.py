"""Proclitics set apart from the word they are written with, before the tokenizer reads them.

A tokenizer cuts «وأوبو» into other pieces than «أوبو»: a name is one thing after a space and another after «و». Where
a word is rare with its proclitic, and what follows the proclitic is better known, the tokenizer is given both with a
space between them. Offsets stay those of the raw text: the space is in the copy only.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
from tokenizers import Tokenizer

from wasl.text import Normalised

_WORD = re.compile(r"(?<![^\W_])[\u0621-\u064a]{4,}")  # of plain Arabic letters; not after another letter or digit
_SHORTEST = 3  # letters that must be left of a word
_ALIF = "ا"


class ProcliticSplitter:
    """Sets proclitics of a normalised text apart.

    A word that the tokenizer knows as one piece stays as it is. Else a «و» at its beginning is set apart, and then one
    of ف ب ل ك where the rest is one piece. «لل» becomes «ل» and «ال», as in «للصين», under the same condition.

    Args:
        tokenizer: whose pieces decide.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._cuts = lru_cache(maxsize=2**16)(self._find_cuts)

    def __call__(self, text: Normalised) -> Normalised:
        """A copy with spaces after the proclitics.

        A space, like an alif that is put back, comes from the raw letter that follows it.
        """
        pieces: list[str] = []
        repeats = np.ones(len(text.text), dtype=np.int64)
        done = 0
        for match in _WORD.finditer(text.text):
            for letters, added in self._cuts(match[0]):
                at = match.start() + letters
                pieces += [text.text[done:at], added]
                repeats[at] += len(added)
                done = at
        if not pieces:
            return text
        pieces.append(text.text[done:])
        return Normalised("".join(pieces), np.repeat(text.origin, repeats))

    def _find_cuts(self, word: str) -> tuple[tuple[int, str], ...]:
        """(letters before it, what is put there) of each cut."""
        cuts: list[tuple[int, str]] = []
        rest = word
        if len(rest) > _SHORTEST and not self._is_piece(rest) and rest[0] == "و":
            cuts.append((1, " "))
            rest = rest[1:]
        if len(rest) > _SHORTEST and not self._is_piece(rest):
            at = len(word) - len(rest) + 1
            if rest.startswith("لل") and self._is_piece(_ALIF + rest[1:]):
                cuts.append((at, " " + _ALIF))
            elif rest[0] in "فبلك" and self._is_piece(rest[1:]):
                cuts.append((at, " "))
        return tuple(cuts)

    def _is_piece(self, word: str) -> bool:
        tokens = self.tokenizer.encode(word, add_special_tokens=False).tokens
        return len(tokens) == 1 and tokens[0].endswith(word)  # and not the unknown token

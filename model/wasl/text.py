"""Raw text: its normalised form with a map back, its words and its sentences.

Offsets are code points of the raw text, end exclusive, everywhere. Nothing here changes the raw text: what the encoder
should not see is left out of a *copy*, and the copy remembers where each of its characters came from.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import numpy as np

from wasl.errors import TextError

# Marks that Arabic writing may leave out: tashkeel, the small Quranic signs, superscript alef.
MARKS = "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u08d3-\u08e1\u08e3-\u08ff"
TATWEEL = "\u0640"
# Characters without a shape of their own: soft hyphen, zero-width, bidi controls, variation selectors, BOM.
INVISIBLE = "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff"
PRESENTATION = "\ufb50-\ufdff\ufe70-\ufefc"  # contextual and ligature forms of Arabic letters
ARABIC = f"\u0620-\u063f\u0641-\u064a\u066e\u066f\u0671-\u06d3\u06d5\u06e5\u06e6\u06ee\u06ef\u06fa-\u06fc\u06ff\u0750-\u077f\u08a0-\u08c9{PRESENTATION}"  # noqa: E501

DROPPED = re.compile(f"[{MARKS}{TATWEEL}{INVISIBLE}]")
PRESENTATION_FORM = re.compile(f"[{PRESENTATION}]")
_FOLDED = re.compile(f"[{MARKS}{TATWEEL}{INVISIBLE}{PRESENTATION}]")
_SURROGATE = re.compile("[\ud800-\udfff]")

_INSIDE = f"[{INVISIBLE}]*"
_OTHER = f"[^\\W_{ARABIC}{MARKS}{TATWEEL}]"  # letters and digits that are not Arabic letters
_WORD = re.compile(
    f"[{ARABIC}](?:{_INSIDE}[{ARABIC}{MARKS}{TATWEEL}])*"
    f"|{_OTHER}(?:{_INSIDE}(?:{_OTHER}|[\u0300-\u036f]|(?<=\\d)[.,٫٬](?=\\d)))*"
    f"|[^\\s{INVISIBLE}]"
)

# A sentence ends at a line break, or after . ! ? ؟ ؛ with any closing quote or bracket, where white space follows.
# A run of such marks is tried from its start only, and never given back in part: else time grows with its square.
_SENTENCE_END = re.compile(r"[\n\r\u2028\u2029]+|(?<![.!?؟؛…])[.!?؟؛…]++[\"'”’»)\]]*+(?=\s)")
_ABBREVIATION = re.compile(r"(?:^|[\s(.])(?:[A-Za-z]|[^\W\d_])\.$")  # an initial: «ج. ك. رولينغ», «U.S.»


@dataclass(frozen=True)
class Normalised:
    """A text as the encoder sees it.

    Attributes:
        text: the normalised text.
        origin: shape (len(text),): the raw offset each character came from, never falling.
    """

    text: str
    origin: np.ndarray


def check_text(text: str) -> str:
    """The text itself.

    Raises:
        TextError: it is not a string, or holds a lone surrogate (half of a character, which no encoding can store).
    """
    if not isinstance(text, str):
        raise TextError(f"expected a string, got {type(text).__name__}; decode bytes as UTF-8 first")
    broken = _SURROGATE.search(text)
    if broken:
        raise TextError(
            f"lone surrogate U+{ord(broken[0]):04X} at offset {broken.start()}: the text was decoded wrongly; "
            "read the file as UTF-8, or mend it: text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
        )
    return text


def normalise(text: str) -> Normalised:
    """Leave out marks, tatweel and invisible characters, and fold presentation forms to plain letters.

    >>> normalise("الصِّيــن").text
    'الصين'
    """
    pieces: list[str] = []
    origins: list[np.ndarray] = []
    done = 0
    for match in _FOLDED.finditer(text):
        at = match.start()
        pieces.append(text[done:at])
        origins.append(np.arange(done, at))
        done = at + 1
        if DROPPED.match(match[0]):
            continue
        folded = "".join(c for c in unicodedata.normalize("NFKC", match[0]) if not DROPPED.match(c))
        pieces.append(folded)
        origins.append(np.full(len(folded), at))
    pieces.append(text[done:])
    origins.append(np.arange(done, len(text)))
    return Normalised("".join(pieces), np.concatenate(origins))


def find_words(text: str) -> np.ndarray:
    """Words of the raw text: shape (words, 2), start and end offsets.

    A word is a run of Arabic letters with their marks, a run of other letters and digits (with decimal points), or one
    other visible character. A change of script is a word boundary: in `وMistral` a word starts at `M`.
    """
    return np.array([m.span() for m in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)


def find_sentences(text: str) -> np.ndarray:
    """Sentences of the raw text: shape (sentences, 2); white space at the edges is outside of them."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match[0][0] == "." and match[0] == "." and _ABBREVIATION.search(text[max(0, match.end() - 4) : match.end()]):
            continue
        spans.append((start, match.end()))
        start = match.end()
    spans.append((start, len(text)))
    trimmed = (_trim(text, start, end) for start, end in spans)
    return np.array([s for s in trimmed if s[0] < s[1]], dtype=np.int64).reshape(-1, 2)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))


def starts_inside_word(text: str, offset: int) -> bool:
    """Whether a letter, digit, mark or tatweel is glued before this offset, as و is in `وبايت دانس`."""
    return 0 < offset < len(text) and bool(re.match(f"[\\w{MARKS}]", text[offset - 1])) and text[offset - 1] != "_"


def letters_to_skip(text: str, start: int, offset: int) -> int:
    """How many letters of the word that starts at `start` lie before `offset`; marks and tatweel do not count."""
    return len(DROPPED.sub("", text[start:offset]))


def skip_letters(text: str, start: int, end: int, count: int) -> int:
    """The offset after the first `count` letters of the word at [start, end), past their marks and tatweel.

    >>> skip_letters("لـإنفيديا", 0, 9, 1)
    2
    """
    offset = start
    for _ in range(count):
        while offset < end and DROPPED.match(text[offset]):
            offset += 1
        offset += 1
    while count and offset < end and DROPPED.match(text[offset]):
        offset += 1
    return min(offset, end)

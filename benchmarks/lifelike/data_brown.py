"""The Brown corpus: windows of letters and of words, and sentences with their parts of speech."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tasks.data import Split

from .sources import Arrays, prepared

NEWS, FICTION, ROMANCE = "abc", "klmn", "p"  # the second letter of the texts' files is their category
ALL = "abcdefghjklmnpr"
LETTERS = 84  # of the alphabet, the blank among them
TAGS = 41  # the 40 most frequent, and one for all others
PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
NOT_COUNTED = -100  # what cross-entropy leaves out


def _make(folder: Path) -> Arrays:
    """Letters, words and tags one after another, and where each text and each sentence begins."""
    paths = sorted(path for path in (folder / "package").iterdir() if re.fullmatch(r"c[a-r]\d\d", path.name))
    texts: list[str] = []
    words: list[str] = []
    tags: list[str] = []
    first_words, sentences = [0], [0]
    for path in paths:
        lines = []
        for line in path.read_text("latin-1").splitlines():
            if not line.strip():
                continue
            pairs = [token.rsplit("/", 1) for token in line.split()]
            lines.append(" ".join(word for word, _ in pairs))
            words += [word.lower() for word, _ in pairs]
            tags += [_plain(tag) for _, tag in pairs]
            sentences.append(len(words))
        texts.append(re.sub(r" ([.,;:?!])(?= |$)", r"\1", " ".join(lines)))
        first_words.append(len(words))
    alphabet = {letter: number for number, letter in enumerate(sorted(set("".join(texts))))}
    return {
        "letters": np.array([alphabet[letter] for letter in "".join(texts)], np.uint8),
        "first_letters": np.cumsum([0, *map(len, texts)]),
        "words": _ranks(words),
        "tags": _ranks(tags),
        "first_words": np.array(first_words),
        "sentences": np.array(sentences),
        "categories": np.array([ord(path.name[1]) for path in paths], np.uint8),
    }


def _plain(tag: str) -> str:
    """The tag without what says that it is foreign, in a title, in a headline, quoted or negated; the first of several."""
    return re.sub(r"^fw-|-(tl|hl|nc)", "", tag.split("+")[0].rstrip("*") or tag)


def _ranks(found: list[str]) -> np.ndarray:
    """0 for the most frequent, 1 for the next, ..."""
    ranks = {each: rank for rank, (each, _) in enumerate(Counter(found).most_common())}
    return np.array([ranks[each] for each in found], np.uint16)


@cache
def _corpus() -> Arrays:
    return prepared("brown", "brown", _make)


def _texts(categories: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the texts of these categories, for training and for validation: every eighth."""
    chosen = np.flatnonzero(np.isin(_corpus()["categories"], [ord(category) for category in categories]))
    held_out = np.arange(len(chosen)) % 8 == 4
    return chosen[~held_out], chosen[held_out]


def _windows(stream: np.ndarray, first: np.ndarray, texts: np.ndarray, width: int, count: int) -> torch.Tensor:
    """Up to `count` windows (width,) drawn from those that these texts are cut into."""
    starts = np.concatenate([np.arange(first[text], first[text + 1] - width + 1, width) for text in texts])
    starts = np.random.default_rng(0).permutation(starts)[:count]
    return torch.as_tensor(stream[starts[:, None] + np.arange(width)].astype(np.int64))


@cache
def letters(*, categories: str = ALL, context: int = 32, train: int = 20000, valid: int = 640) -> Split:
    """Windows (context + 1,) of letters; upper and lower case, digits and signs."""
    stream, first = _corpus()["letters"], _corpus()["first_letters"]
    of_training, of_validation = _texts(categories)
    return Split(
        (_windows(stream, first, of_training, context + 1, train),),
        (_windows(stream, first, of_validation, context + 1, valid),),
    )


def _vocabulary(words: int) -> np.ndarray:
    """The corpus with numbers for the `words` most frequent words, and one for all others."""
    ranks = _corpus()["words"].astype(np.int64)
    return np.where(ranks < words, ranks + FIRST_WORD, UNKNOWN)


@cache
def words(*, vocabulary: int = 1000, context: int = 16, train: int = 20000, valid: int = 768) -> Split:
    """Windows (context + 1,) of words in lower case, signs among them; every number is below `vocabulary` + 2."""
    stream, first = _vocabulary(vocabulary), _corpus()["first_words"]
    of_training, of_validation = _texts(ALL)
    return Split(
        (_windows(stream, first, of_training, context + 1, train),),
        (_windows(stream, first, of_validation, context + 1, valid),),
    )


@cache
def tagged(*, vocabulary: int = 2000, longest: int = 24, train: int = 8000, valid: int = 600) -> Split:
    """Sentences (longest,) of at most that many words, padded, and the part of speech of each word."""
    corpus, stream = _corpus(), _vocabulary(vocabulary)
    starts, ends = corpus["sentences"][:-1], corpus["sentences"][1:]
    short = (ends - starts >= 4) & (ends - starts <= longest)
    text_of = np.searchsorted(corpus["first_words"], starts, side="right") - 1
    tags = np.minimum(corpus["tags"], TAGS - 1).astype(np.int64)
    parts = []
    for texts, count in zip(_texts(ALL), (train, valid), strict=True):
        chosen = np.random.default_rng(0).permutation(np.flatnonzero(short & np.isin(text_of, texts)))[:count]
        places = starts[chosen, None] + np.arange(longest)
        inside = places < ends[chosen, None]
        places = np.where(inside, places, 0)
        parts.append(
            (
                torch.as_tensor(np.where(inside, stream[places], PADDING)),
                torch.as_tensor(np.where(inside, tags[places], NOT_COUNTED)),
            )
        )
    return Split(*parts)


@cache
def word_windows(*, vocabulary: int = 2000, each_side: int = 2, train: int = 20000, valid: int = 1000) -> Split:
    """Words with those beside them (2 each_side + 1,), and the middle one's part of speech ()."""
    stream, first, tags = _vocabulary(vocabulary), _corpus()["first_words"], _corpus()["tags"]
    both = np.stack([stream, np.minimum(tags, TAGS - 1).astype(np.int64)], 1)
    width = 2 * each_side + 1
    parts = []
    for texts, count in zip(_texts(ALL), (train, valid), strict=True):
        found = _windows(both, first, texts, width, count)
        parts.append((found[:, :, 0].contiguous(), found[:, each_side, 1].contiguous()))
    return Split(*parts)

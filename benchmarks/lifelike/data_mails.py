"""Mails of SpamAssassin's corpus, read without their headers: what the body and the subject say, in words, pairs or bytes."""

from __future__ import annotations

import email
import html
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tasks.data import Split

from .sources import Arrays, prepared

FOLDERS = ("easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2")
WORDS, COUNTED, PAIRS = (
    3000,
    1000,
    4096,
)  # words with a number (0 is padding, 1 unknown), in the counts, places of pairs

_MARKUP = re.compile(r"<(style|script)\b.*?</\1>|<!--.*?-->|<[^>]*>", re.DOTALL | re.IGNORECASE)
_FOOTER = re.compile(r"\n_{30,}\s*\n|\n-{40,}\s*\nThis sf\.net|\n-{5,}[ -]*Yahoo! Groups|\n-- ?\n")  # names the list
_ANSWERED = re.compile(r"\b(re|fw|fwd|aw)\s*:|\[[^\]]*\]", re.IGNORECASE)


def subjects() -> list[str]:
    """Of every mail."""
    return _texts("subjects")


def bodies() -> list[str]:
    """The beginning of every mail's body, as one line without markup."""
    return _texts("bodies")


@cache
def folders() -> torch.Tensor:
    """Which of `FOLDERS` each mail is from, (mails,); the two of a kind were collected at different times."""
    return torch.as_tensor(_mails()["folders"])


@cache
def held_out() -> np.ndarray:
    """Whether a mail is for validation, (mails,): all mails of a subject are, or none."""
    return _mails()["held_out"]


def by_thread(*tensors: torch.Tensor) -> Split:
    """Tensors (mails, ...) split by `held_out`."""
    held = torch.as_tensor(held_out())
    return Split(tuple(each[~held] for each in tensors), tuple(each[held] for each in tensors))


def is_spam() -> torch.Tensor:
    """Whether it is spam, (mails,): 0 or 1."""
    return (folders() >= FOLDERS.index("spam-1")).long()


@cache
def words(length: int, *, classes: str = "folders") -> Split:
    """The numbers of the first words (length,), 0 after the end, and the folder or ("spam") whether it is spam."""
    numbers = torch.as_tensor(prepared("mail_words", "spam", _word_numbers)["numbers"][:, :length]).long()
    return by_thread(numbers, is_spam() if classes == "spam" else folders())


@cache
def counts() -> Split:
    """Tf-idf of the most frequent words (COUNTED,), of length 1, and whether it is spam."""
    return by_thread(torch.as_tensor(prepared("mail_counts", "spam", _tf_idf)["weights"]).float(), is_spam())


@cache
def pairs() -> Split:
    """Places from 1 to PAIRS of its words and pairs of neighbours by hashing (256,), 0 after the end; whether it is spam."""
    return by_thread(torch.as_tensor(prepared("mail_pairs", "spam", _hashed)["places"]).long(), is_spam())


@cache
def characters(length: int = 128) -> Split:
    """The first bytes of subject and body (length,), 0 after the end, and whether it is spam."""
    found = np.zeros((len(folders()), length), np.uint8)
    for row, text in zip(found, _whole(), strict=True):
        written = text.encode()[:length]
        row[: len(written)] = np.frombuffer(written, np.uint8)
    return by_thread(torch.as_tensor(found).long(), is_spam())


def _texts(which: str) -> list[str]:
    return [text.decode(errors="ignore") for text in _mails()[which].tolist()]


def _whole() -> list[str]:
    return [f"{subject}\n{body}" for subject, body in zip(subjects(), bodies(), strict=True)]


@cache
def _mails() -> Arrays:
    return prepared("mails", "spam", _read)


def _read(package: Path) -> Arrays:
    """The mails, each text once; no header but the subject, no list's name or footer, which would tell the folder."""
    kept: dict[bytes, tuple[bytes, bytes, int, bool]] = {}
    for folder, name in enumerate(FOLDERS):
        for path in sorted((package / "package" / "data" / name).glob("*.txt")):
            mail = email.message_from_bytes(path.read_bytes())
            subject = _line(re.sub(r"\[[^\]]*\]", " ", str(mail.get("Subject", ""))))
            body = _line(_FOOTER.split("\n" + _body(mail))[0])
            letters = re.sub("[^a-z]", "", f"{subject} {body}".lower())
            thread = re.sub("[^a-z]", "", _ANSWERED.sub("", subject).lower()) or letters[:40]
            held = zlib.crc32(thread.encode()) % 100 < 15
            if len(body) >= 20:
                kept.setdefault(letters[:200].encode(), (subject.encode()[:160], body.encode()[:1200], folder, held))
    columns = list(zip(*kept.values(), strict=True))
    return dict(zip(("subjects", "bodies", "folders", "held_out"), map(np.array, columns), strict=True))


def _body(mail: email.message.Message) -> str:
    """Its first part of text, without markup."""
    for kind in ("text/plain", "text/html"):
        for part in mail.walk():
            content = part.get_payload(decode=True) if part.get_content_type() == kind else None
            if isinstance(content, bytes) and content.strip():
                text = content.decode("latin-1")
                return html.unescape(_MARKUP.sub(" ", text)) if kind == "text/html" or "<html" in text.lower() else text
    return ""


def _line(text: str) -> str:
    return " ".join(text.replace("\0", " ").encode(errors="ignore").decode().split())


def _split_words() -> list[list[str]]:
    return [re.findall(r"[a-z']+|[0-9]+|[!?$%]", re.sub("[0-9]+", "0", text.lower())) for text in _whole()]


def _most_frequent(texts: Iterable[list[str]], number: int) -> list[str]:
    """Of those for training, counted once a mail."""
    seen = Counter(word for text, held in zip(texts, held_out(), strict=True) if not held for word in set(text))
    return sorted(seen, key=lambda word: (-seen[word], word))[:number]


def _padded(texts: list[list[str]], number: Callable[[str], int], length: int) -> np.ndarray:
    found = np.zeros((len(texts), length), np.int16)
    for row, text in zip(found, texts, strict=True):
        row[: min(len(text), length)] = [number(word) for word in text[:length]]
    return found


def _word_numbers(_: Path) -> Arrays:
    texts = _split_words()
    known = {word: number for number, word in enumerate(_most_frequent(texts, WORDS - 2), start=2)}
    return {"numbers": _padded(texts, lambda word: known.get(word, 1), 128)}


def _tf_idf(_: Path) -> Arrays:
    texts = _split_words()
    places = {word: place for place, word in enumerate(_most_frequent(texts, COUNTED))}
    counted = np.zeros((len(texts), COUNTED))
    for row, text in zip(counted, texts, strict=True):
        np.add.at(row, [places[word] for word in text if word in places], 1.0)
    rarity = np.log((1 + len(texts)) / (1 + (counted > 0).sum(0))) + 1
    weights = np.log1p(counted) * rarity
    return {"weights": (weights / np.linalg.norm(weights, axis=1, keepdims=True).clip(1e-9)).astype(np.float16)}


def _hashed(_: Path) -> Arrays:
    texts = [text[:128] for text in _split_words()]
    both = [text + [f"{one} {other}" for one, other in pairwise(text)] for text in texts]
    return {"places": _padded(both, lambda word: 1 + zlib.crc32(word.encode()) % PAIRS, 256)}

"""Bach's chorales as four rows of numbered notes, and windows of them."""

from __future__ import annotations

import zipfile
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from tasks.data import Split

from . import sources

LOWEST = 33  # the MIDI number of note 1; note 0 is a rest
NOTES = 53  # with the rest: A1 to C6, which leaves room for 3 semitones below and above what is sung
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_HELD_OUT = 7  # one piece in so many


def _read(path: Path) -> ElementTree.Element:
    """The score in a file, compressed or not."""
    if path.suffix == ".xml":
        return ElementTree.parse(path).getroot()
    with zipfile.ZipFile(path) as packed:
        name = next(name for name in packed.namelist() if name.endswith("xml") and not name.startswith("META-INF"))
        return ElementTree.fromstring(packed.read(name))


def _number(note: ElementTree.Element) -> int:
    """Its MIDI number, 0 for a rest."""
    if note.find("pitch") is None:
        return 0
    octave, alter = int(note.findtext("pitch/octave", "")), float(note.findtext("pitch/alter", "0"))
    return 12 * (octave + 1) + _STEPS[note.findtext("pitch/step", "")] + int(alter)


def _voice(part: ElementTree.Element) -> list[int] | None:
    """What sounds at every eighth, as MIDI numbers; None if it is more than one note at a time."""
    sounding: list[int] = []
    divisions, now = 1, Fraction(0)
    for element in part.iterfind("measure/*"):
        divisions = int(element.findtext("divisions", str(divisions)))
        if element.tag == "backup" or element.find("chord") is not None:
            return None
        if element.tag in ("note", "forward") and element.find("grace") is None:
            now += Fraction(2 * int(element.findtext("duration", "0")), divisions)
            sounding += [_number(element)] * (ceil(now) - len(sounding))
    return sounding


def _chorale(path: Path) -> np.ndarray | None:
    """Notes (eighths, 4), soprano first; None for a piece that is not of four voices of one length."""
    voices = [_voice(part) for part in _read(path).iterfind("part")]
    if len(voices) != 4 or any(voice is None or len(voice) != len(voices[0] or ()) for voice in voices):
        return None
    numbers = np.array(voices, dtype=np.int16).T
    notes = np.where(numbers > 0, numbers - LOWEST + 1, 0)
    free = (notes == 0) | ((notes > 3) & (notes < NOTES - 3))
    return notes.astype(np.int16) if free.all() and (notes > 0).mean() > 0.9 else None


def _make(folder: Path) -> sources.Arrays:
    paths = sorted(path for path in (folder / "music21/corpus/bach").glob("bwv*") if path.suffix in (".mxl", ".xml"))
    found = [piece for piece in map(_chorale, paths) if piece is not None]
    pieces = list({piece.tobytes(): piece for piece in found}.values())  # some stand there twice
    return {"notes": np.concatenate(pieces), "lengths": np.array([len(piece) for piece in pieces])}


@cache
def chorales() -> tuple[np.ndarray, ...]:
    """Every chorale's notes (eighths, 4), soprano first; a note is its MIDI number - LOWEST + 1, a rest is 0."""
    arrays = sources.prepared("chorales", "music", _make)
    return tuple(np.split(arrays["notes"], arrays["lengths"].cumsum()[:-1]))


@cache
def windows(time: int, *, hop: int, quarters: bool = False, transposed: int = 0, valid: int = 600) -> Split:
    """Notes (time, 4) in windows of the chorales; no piece is on both sides.

    Args:
        time: eighths, or quarters, in a window.
        hop: from one window of a piece to the next.
        quarters: hear only what sounds at each quarter.
        transposed: by up to so many semitones down and up, <= 3; for training only.
        valid: windows to keep for validation.
    """
    rng = np.random.default_rng(0)
    pieces = [chorales()[number][:: 2 if quarters else 1] for number in rng.permutation(len(chorales()))]
    cuts = [[piece[at : at + time] for at in range(0, len(piece) - time + 1, hop)] for piece in pieces]
    held = np.array([window for cut in cuts[::_HELD_OUT] for window in cut])
    learnt = np.array([window for number, cut in enumerate(cuts) if number % _HELD_OUT for window in cut])
    moved = [np.where(learnt > 0, learnt + by, 0) for by in range(-transposed, transposed + 1)]
    held = held[rng.permutation(len(held))[:valid]]
    return Split((torch.as_tensor(np.concatenate(moved)).long(),), (torch.as_tensor(held).long(),))

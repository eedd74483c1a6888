"""What a recipe may write in place of a number or a choice.

A law is written as a mapping with the law's name, ``{uniform: [0.1, 0.2]}``. Each law knows its support, both
ends of which are checked against the parameter's bounds when the recipe is loaded, and draws one plain value.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np

INFINITY: Final = float("inf")


class Law(Protocol):
    """A probability law over plain values."""

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        """The values to check: both ends of the support, or every value of a choice.

        `given` holds the ends of the other parameters, for laws that depend on one.
        """
        ...

    def truncated(self, low: float, high: float) -> Law:
        """The law within a parameter's bounds; only unbounded laws change."""
        ...

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> Any:
        """One value. `given` holds the values drawn already for the same sample."""
        ...

    @property
    def depends_on(self) -> str | None:
        """The parameter that must be drawn first."""
        ...

    def to_recipe(self) -> Any:
        """The law as a recipe writes it."""
        ...


class _Independent:
    depends_on: str | None = None

    def truncated(self, low: float, high: float) -> Any:
        return self


@dataclass(frozen=True)
class Constant(_Independent):
    """Always the same value."""

    value: Any

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return (self.value,)

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> Any:
        return self.value

    def to_recipe(self) -> Any:
        return {"constant": self.value}


@dataclass(frozen=True)
class Uniform(_Independent):
    """Uniform on [low, high]."""

    low: float
    high: float

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return (self.low, self.high)

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> float:
        return _within(self.low + (self.high - self.low) * float(rng.random()), self.low, self.high)

    def to_recipe(self) -> Any:
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True)
class LogUniform(_Independent):
    """Uniform in the logarithm on [low, high], low > 0."""

    low: float
    high: float

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return (self.low, self.high)

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> float:
        low, high = math.log(self.low), math.log(self.high)
        return _within(math.exp(low + (high - low) * float(rng.random())), self.low, self.high)

    def to_recipe(self) -> Any:
        return {"loguniform": [self.low, self.high]}


@dataclass(frozen=True)
class RandInt(_Independent):
    """Whole numbers from low to high, both included, equally likely."""

    low: int
    high: int

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return (self.low, self.high)

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> int:
        return int(rng.integers(self.low, self.high, endpoint=True))

    def to_recipe(self) -> Any:
        return {"randint": [self.low, self.high]}


@dataclass(frozen=True)
class Choice(_Independent):
    """One of the values, equally likely or by weight."""

    values: tuple[Any, ...]
    weights: tuple[float, ...] | None = None

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return self.values

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> Any:
        return self.values[pick(rng, self.weights or (1.0,) * len(self.values))]

    def to_recipe(self) -> Any:
        if self.weights is None:
            return {"choice": list(self.values)}
        return {"choice": {"values": list(self.values), "weights": list(self.weights)}}


@dataclass(frozen=True)
class Normal:
    """Normal with the given mean and standard deviation, cut off at low and high.

    Drawn by inverting the distribution function, so one uniform number decides one value.
    """

    mean: float
    sd: float
    low: float = -INFINITY
    high: float = INFINITY
    depends_on: str | None = None

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return tuple(end if math.isfinite(end) else self.mean for end in (self.low, self.high))

    def truncated(self, low: float, high: float) -> Normal:
        # a limit that the recipe names itself stays, and is checked
        return replace(
            self,
            low=self.low if math.isfinite(self.low) else low,
            high=self.high if math.isfinite(self.high) else high,
        )

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> float:
        return truncated_normal(rng, self.mean, self.sd, self.low, self.high)

    def to_recipe(self) -> Any:
        if not math.isfinite(self.low) and not math.isfinite(self.high):
            return {"normal": {"mean": self.mean, "sd": self.sd}}
        law = {"mean": self.mean, "sd": self.sd, "low": self.low, "high": self.high}
        return {"truncated_normal": {k: v for k, v in law.items() if math.isfinite(v)}}


@dataclass(frozen=True)
class Linear:
    """intercept + slope x + normal scatter, where x is another parameter of the same stage.

    With a `log_base` (2, 10 or e) the line is drawn between the logarithms, both to that base; the scatter `sd`
    is then in that logarithm too. The base has no default: the same constants with another base are another
    camera.
    """

    of: str
    slope: float
    intercept: float
    sd: float = 0.0
    log_base: float | None = None
    low: float = -INFINITY
    high: float = INFINITY

    @property
    def depends_on(self) -> str | None:
        return self.of

    def _mean(self, x: float) -> float:
        if self.log_base is not None:
            x = math.log(x) / math.log(self.log_base)
        return self.intercept + self.slope * x

    def _value(self, y: float) -> float:
        if self.log_base is None:
            return y
        try:
            return math.exp(y * math.log(self.log_base))
        except OverflowError:
            return INFINITY

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return tuple(self._value(self._mean(float(x))) for x in given[self.of])

    def truncated(self, low: float, high: float) -> Linear:
        return replace(self, low=max(self.low, low), high=min(self.high, high))

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> float:
        mean = self._mean(float(given[self.of]))
        low, high = self.low, self.high
        if self.log_base is not None:
            low = math.log(low) / math.log(self.log_base) if low > 0 else -INFINITY
            high = math.log(high) / math.log(self.log_base) if math.isfinite(high) else INFINITY
        y = truncated_normal(rng, mean, self.sd, low, high) if self.sd > 0 else mean
        return _within(self._value(y), self.low, self.high)

    def to_recipe(self) -> Any:
        law: dict[str, Any] = {"of": self.of, "slope": self.slope, "intercept": self.intercept, "sd": self.sd}
        law |= {k: v for k, v in (("low", self.low), ("high", self.high)) if math.isfinite(v)}
        if self.log_base is None:
            return {"linear": law}
        return {"log_linear": law | {"log_base": "e" if self.log_base == math.e else self.log_base}}


@dataclass(frozen=True)
class Lookup(_Independent):
    """The value beside that of another parameter of the same stage, in a table of both."""

    of: str
    keys: tuple[Any, ...]
    values: tuple[Any, ...]

    @property
    def depends_on(self) -> str | None:  # type: ignore[override]  # as in Linear, it follows from a field
        return self.of

    def _value(self, key: Any) -> Any:
        if key not in self.keys:
            raise ValueError(f"{key!r} is none of the keys {list(self.keys)}")
        return self.values[self.keys.index(key)]

    def ends(self, given: Mapping[str, tuple[Any, ...]]) -> tuple[Any, ...]:
        return tuple(self._value(key) for key in given[self.of])

    def draw(self, rng: np.random.Generator, given: Mapping[str, Any]) -> Any:
        return self._value(given[self.of])

    def to_recipe(self) -> Any:
        return {"lookup": {"of": self.of, "keys": list(self.keys), "values": list(self.values)}}


def pick(rng: np.random.Generator, weights: tuple[float, ...]) -> int:
    """The index of one of several branches, by weight: one uniform number decides."""
    total = np.cumsum(np.asarray(weights, dtype=np.float64))
    return min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), len(weights) - 1)


def truncated_normal(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """One draw of a normal law cut off at low and high."""
    from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

    if sd == 0:
        return _within(mean, low, high)
    a, b = (low - mean) / sd, (high - mean) / sd
    u = float(rng.random())
    if a > 0:  # work in the lower tail, where the distribution function keeps its digits
        return _within(mean - sd * _tail(-b, -a, 1 - u, log_ndtr, ndtri_exp), low, high)
    if b < 0:
        return _within(mean + sd * _tail(a, b, u, log_ndtr, ndtri_exp), low, high)
    u = min(max(float(ndtr(a) + u * (ndtr(b) - ndtr(a))), 1e-300), 1 - 1e-16)
    return _within(mean + sd * float(ndtri(u)), low, high)


def _tail(a: float, b: float, u: float, log_ndtr: Callable[..., Any], ndtri_exp: Callable[..., Any]) -> float:
    la, lb = float(log_ndtr(a)), float(log_ndtr(b))
    if not math.isfinite(lb):  # so far out that all of the law lies at its end
        return b
    return float(ndtri_exp(lb + math.log(max(u + (1 - u) * math.exp(la - lb), 1e-300))))


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


# -- reading laws from a recipe --------------------------------------------------------------------------------


def is_law(node: object) -> bool:
    """Whether a recipe's value is meant as a law rather than a plain value."""
    return isinstance(node, Mapping)


def parse_law(node: object) -> Law:
    """Read a law as a recipe writes it.

    Raises
    ------
    ValueError
        If the law or one of its arguments is unknown, missing or out of range.

    Examples
    --------
    >>> parse_law({"randint": [10, 30]})
    RandInt(low=10, high=30)
    """
    if not isinstance(node, Mapping) or len(node) != 1:
        raise ValueError(f"a distribution is a mapping with one name, such as {{uniform: [0, 1]}}; found {node!r}")
    ((name, arguments),) = node.items()
    if name not in _PARSERS:
        close = difflib.get_close_matches(str(name), _PARSERS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(_PARSERS))}"
        raise ValueError(f"unknown distribution {name!r}: {hint}")
    return _PARSERS[name](arguments)


def _numbers(name: str, arguments: object, names: tuple[str, ...], optional: tuple[str, ...] = ()) -> list[Any]:
    """Arguments by position or by name, each a finite number."""
    if isinstance(arguments, Mapping):
        unknown = [str(k) for k in arguments if k not in names + optional]
        missing = [k for k in names if k not in arguments]
        values = [arguments.get(k) for k in names + optional]
        if unknown or missing:
            what = f"no argument {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
            raise ValueError(f"{name} has {what}; it takes {', '.join(names + optional)}".replace("has needs", "needs"))
    elif isinstance(arguments, list | tuple) and len(names) <= len(arguments) <= len(names + optional):
        values = list(arguments) + [None] * (len(names + optional) - len(arguments))
    else:
        raise ValueError(f"{name} takes [{', '.join(names + optional)}]; found {arguments!r}")
    for key, value in zip(names + optional, values, strict=True):
        if value is None and key in optional:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise ValueError(f"{name}: {key} must be a finite number; found {value!r}")
    return values


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _ordered(name: str, low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"{name}: the lower end {low} lies above the upper end {high}")


def _uniform(arguments: object) -> Law:
    low, high = _numbers("uniform", arguments, ("low", "high"))
    _ordered("uniform", low, high)
    return Uniform(float(low), float(high))


def _loguniform(arguments: object) -> Law:
    low, high = _numbers("loguniform", arguments, ("low", "high"))
    _ordered("loguniform", low, high)
    if low <= 0:
        raise ValueError(f"loguniform: the lower end must be above 0; found {low}")
    return LogUniform(float(low), float(high))


def _randint(arguments: object) -> Law:
    low, high = _numbers("randint", arguments, ("low", "high"))
    if not (isinstance(low, int) and isinstance(high, int)):
        raise ValueError(f"randint takes whole numbers; found [{low}, {high}]")
    _ordered("randint", low, high)
    return RandInt(low, high)


def _scatter(name: str, sd: float) -> float:
    if sd < 0:
        raise ValueError(f"{name}: sd must not be negative; found {sd}")
    return float(sd)


def _normal(arguments: object) -> Law:
    mean, sd = _numbers("normal", arguments, ("mean", "sd"))
    return Normal(float(mean), _scatter("normal", sd))


def _truncated_normal(arguments: object) -> Law:
    mean, sd, low, high = _numbers("truncated_normal", arguments, ("mean", "sd"), ("low", "high"))
    low, high = (-INFINITY if low is None else float(low)), (INFINITY if high is None else float(high))
    _ordered("truncated_normal", low, high)
    return Normal(float(mean), _scatter("truncated_normal", sd), low, high)


def _choice(arguments: object) -> Law:
    weights = None
    values = arguments
    if isinstance(arguments, Mapping):
        if set(arguments) - {"values", "weights"} or "values" not in arguments:
            raise ValueError(f"choice takes a list, or values and weights; found {sorted(map(str, arguments))}")
        values, weights = arguments["values"], arguments.get("weights")
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"choice takes a list of at least one value; found {values!r}")
    if any(is_law(value) for value in values):
        raise ValueError("choice takes plain values; a distribution inside it is drawn by the stage `one_of`")
    if weights is not None:
        if not isinstance(weights, list | tuple):
            raise ValueError(f"choice: weights must be a list, one for each value; found {weights!r}")
        weights = tuple(_numbers("choice", list(weights), tuple(f"weights[{i}]" for i in range(len(values)))))
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"choice: weights must not be negative and must not all be 0; found {list(weights)}")
    return Choice(tuple(values), weights)


def _linear(arguments: object) -> Law:
    return _line("linear", arguments, None)


def _log_linear(arguments: object) -> Law:
    rest = dict(arguments) if isinstance(arguments, Mapping) else {}
    base = rest.pop("log_base", None)
    bases = {"e": math.e, 2: 2.0, 10: 10.0}
    if not isinstance(base, str | int | float) or base not in bases:
        raise ValueError(f"log_linear: name the log_base, one of e, 2 and 10; found {base!r}")
    return _line("log_linear", rest, bases[base])


def _line(name: str, arguments: object, log_base: float | None) -> Law:
    if not isinstance(arguments, Mapping) or not isinstance(arguments.get("of"), str):
        raise ValueError(f"{name} needs `of`, the name of another parameter of the same stage")
    rest = {k: v for k, v in arguments.items() if k != "of"}
    slope, intercept, sd, low, high = _numbers(name, rest, ("slope", "intercept"), ("sd", "low", "high"))
    return Linear(
        arguments["of"],
        float(slope),
        float(intercept),
        _scatter(name, sd or 0.0),
        log_base,
        -INFINITY if low is None else float(low),
        INFINITY if high is None else float(high),
    )


def _lookup(arguments: object) -> Law:
    if not isinstance(arguments, Mapping) or set(arguments) != {"of", "keys", "values"}:
        raise ValueError(f"lookup takes of, the name of another parameter, keys and values; found {arguments!r}")
    of, keys, values = arguments["of"], arguments["keys"], arguments["values"]
    if not isinstance(of, str):
        raise ValueError(f"lookup: of is the name of another parameter of the same stage; found {of!r}")
    if not all(isinstance(column, list | tuple) for column in (keys, values)) or len(keys) != len(values) or not keys:
        raise ValueError(f"lookup: keys and values are lists of one length; found {keys!r} and {values!r}")
    if any(is_law(item) for item in (*keys, *values)) or any(key in keys[:i] for i, key in enumerate(keys)):
        raise ValueError(f"lookup takes plain values, and each key once; found {keys!r} and {values!r}")
    return Lookup(of, tuple(keys), tuple(values))


_PARSERS: Final[dict[str, Callable[[object], Law]]] = {
    "constant": Constant,
    "uniform": _uniform,
    "loguniform": _loguniform,
    "normal": _normal,
    "truncated_normal": _truncated_normal,
    "randint": _randint,
    "choice": _choice,
    "linear": _linear,
    "log_linear": _log_linear,
    "lookup": _lookup,
}

LAW_NAMES: Final = tuple(_PARSERS)
"""The names a recipe may use."""

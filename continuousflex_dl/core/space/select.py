"""Which particles a drawn outline or a written condition picks; a million in well under a second."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError

Mask = NDArray[np.bool_]


def select_polygon(points: ArrayLike, polygon: ArrayLike) -> Mask:
    """Which points are inside a closed outline (even-odd rule, so that an outline may cross itself).

    Points are sorted into the bands between the corners' heights; in a band only the few edges that cross it count.

    Parameters
    ----------
    points
        (n, 2).
    polygon
        (k, 2) corners, at least three; the last is joined to the first.

    Returns
    -------
    (n,) bool.
    """
    data, corners = np.asarray(points, dtype=np.float64), np.asarray(polygon, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(f"an outline has at least three corners of two coordinates, found shape {corners.shape}")
    inside = np.zeros(len(data), dtype=bool)
    heights = np.unique(corners[:, 1])
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(
        (data[:, 0] >= low[0]) & (data[:, 0] <= high[0]) & (data[:, 1] >= low[1]) & (data[:, 1] < high[1])
    )
    band = np.searchsorted(heights, data[near, 1], side="right") - 1
    order = np.argsort(band, kind="stable")
    near, band = near[order], band[order]
    x, y = data[near].T
    starts = np.searchsorted(band, np.arange(len(heights)))
    ends = np.searchsorted(band, np.arange(len(heights)), side="right")
    x1, y1 = corners.T
    x2, y2 = np.roll(corners, -1, axis=0).T
    bottom, top = np.minimum(y1, y2), np.maximum(y1, y2)
    odd = np.zeros(len(near), dtype=bool)
    for number in range(len(heights) - 1):
        first, last = starts[number], ends[number]
        if first == last:
            continue
        for edge in np.flatnonzero((bottom <= heights[number]) & (top > heights[number])).tolist():
            slope = (x2[edge] - x1[edge]) / (y2[edge] - y1[edge])
            odd[first:last] ^= x[first:last] < x1[edge] + (y[first:last] - y1[edge]) * slope
    inside[near] = odd
    return inside


def select_ball(points: ArrayLike, centre: ArrayLike, radius: float) -> Mask:
    """Which points (n, d) are within a distance of a place (d,)."""
    return ((np.asarray(points, dtype=np.float64) - np.asarray(centre)) ** 2).sum(axis=1) <= radius**2


_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal, ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}  # fmt: skip
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.Mod: np.mod, ast.BitAnd: np.logical_and, ast.BitOr: np.logical_or,
}  # fmt: skip
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: np.negative, ast.UAdd: np.positive, ast.Not: np.logical_not, ast.Invert: np.logical_not,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs, "sqrt": np.sqrt, "min": np.minimum, "max": np.maximum, "log": np.log, "exp": np.exp,
}  # fmt: skip


def select_where(condition: str, columns: Mapping[str, ArrayLike] | Callable[[str], ArrayLike], count: int) -> Mask:
    """Which particles meet a condition such as ``cflexSpace1 > 10 and abs(cflexSpace2) < 5``.

    Comparisons, ``and``, ``or``, ``not``, arithmetic and the functions abs, sqrt, min, max, log, exp; nothing else is
    evaluated.

    Parameters
    ----------
    condition
        Text.
    columns
        (n,) values by name, or what gives them (raising KeyError for a name that is not there).
    count
        Number of particles n.

    Raises
    ------
    InputError
        If the text is no condition, or names what is not there.
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval")
    except SyntaxError as error:
        raise InputError(
            f"condition {condition!r}: cannot be read ({error.msg}); write it like x1 > 0 and x2 < 5"
        ) from None

    def value(node: ast.AST) -> Any:
        match node:
            case ast.Expression():
                return value(node.body)
            case ast.Constant(value=bool() | int() | float() as number):
                return number
            case ast.Name(id=name):
                try:
                    return np.asarray(columns(name) if callable(columns) else columns[name])
                except KeyError:
                    known = "" if callable(columns) else f"; there are {', '.join(columns)}"
                    raise InputError(f"condition {condition!r}: there is no {name}{known}") from None
            case ast.BoolOp(op=operator, values=parts):
                combine = np.logical_and if isinstance(operator, ast.And) else np.logical_or
                result = value(parts[0])
                for part in parts[1:]:
                    result = combine(result, value(part))
                return result
            case ast.Compare(left=left, ops=signs, comparators=others):
                result, before = np.True_, value(left)
                for sign, other in zip(signs, others, strict=True):
                    if type(sign) not in _COMPARE:
                        break
                    after = value(other)
                    result, before = np.logical_and(result, _COMPARE[type(sign)](before, after)), after
                else:
                    return result
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _BINARY:
                return _BINARY[type(operator)](value(left), value(right))
            case ast.UnaryOp(op=operator, operand=operand) if type(operator) in _UNARY:
                return _UNARY[type(operator)](value(operand))
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
                try:
                    return _FUNCTIONS[name](*(value(argument) for argument in arguments))
                except (TypeError, ValueError):
                    pass
        raise InputError(
            f"condition {condition!r}: {ast.unparse(node)!r} is not understood; use comparisons, and, or, not, "
            f"+ - * / and {', '.join(_FUNCTIONS)}"
        )

    with np.errstate(all="ignore"):
        found = np.asarray(value(tree))
    if found.dtype != bool or found.shape not in ((), (count,)):
        raise InputError(f"condition {condition!r}: is no comparison; write it like x1 > 0 and x2 < 5")
    return np.broadcast_to(found, (count,)).copy()

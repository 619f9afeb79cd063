"""Figures in nested dictionaries as Markdown tables."""

from __future__ import annotations

from typing import Any


def tables(report: dict[str, Any], title: str = "") -> list[str]:
    """Lines of a list of the plain values, then a table for each dictionary of dictionaries or list of them.

    Parameters
    ----------
    report
        As read from JSON.
    title
        What it is, for the line above it.
    """
    lines = ["", f"**{title}**"] if title else []
    plain = {key: value for key, value in report.items() if not _is_nested(value)}
    if plain:
        lines += ["", *(f"* {_words(key)}: {_value(value)}" for key, value in plain.items())]
    alike = {key: value for key, value in report.items() if isinstance(value, dict) and _is_row(value)}
    if alike:
        lines += ["", *_table({_words(key): value for key, value in alike.items()})]
    for key, value in report.items():
        if not _is_nested(value) or key in alike:
            continue
        name = f"{title}, {_words(key)}" if title else _words(key)
        if isinstance(value, list):
            lines += ["", f"**{name}**", "", *_table({str(number): row for number, row in enumerate(value, 1)})]
        else:
            lines += tables(value, name)
    return lines


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _is_row(value: dict[str, Any]) -> bool:
    """Whether a dictionary reads well as one line: plain values, and fewer groups of plain values than those."""
    inner = [one for one in value.values() if _is_nested(one)]
    flat = all(isinstance(one, dict) and not any(map(_is_nested, one.values())) for one in inner)
    return flat and len(inner) < len(value) - len(inner)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, dict):
            flat.update({f"{key} {inner}": deep for inner, deep in value.items()})
        else:
            flat[key] = value
    return flat


def _table(rows: dict[str, dict[str, Any]]) -> list[str]:
    flat = {name: _flat(row) for name, row in rows.items()}
    columns = list(dict.fromkeys(column for row in flat.values() for column in row))
    lines = ["| | " + " | ".join(map(_words, columns)) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in flat.items():
        lines.append(f"| {name} | " + " | ".join(_value(row.get(column)) for column in columns) + " |")
    return lines


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return str(value).replace("|", "\\|")

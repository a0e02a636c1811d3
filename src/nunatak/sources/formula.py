"""Arithmetic on the columns of a table, written in YAML and evaluated safely."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nunatak.errors import ConfigError

Array = NDArray[np.float64]

_OPERATORS: dict[type[ast.AST], Callable[..., Array]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass(frozen=True)
class Formula:
    """An arithmetic expression of columns: names, numbers, ``+ - * /`` and parentheses only.

    Parameters
    ----------
    text
        The expression, like ``ELEVATION - BOTTOM``.

    Raises
    ------
    ConfigError
        If it holds anything else; nothing of it is ever executed as Python.
    """

    text: str

    def __post_init__(self) -> None:
        for node in ast.walk(self._tree):
            number = isinstance(node, ast.Constant) and type(node.value) in (int, float)
            plain = ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, *_OPERATORS
            if not number and not isinstance(node, plain):
                raise self._error()

    @property
    def _tree(self) -> ast.expr:
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._error() from error

    def _error(self) -> ConfigError:
        return ConfigError(
            f"formula {self.text!r} cannot be used",
            "names of columns, numbers, + - * / and parentheses, like ELEVATION - BOTTOM",
        )

    @property
    def names(self) -> set[str]:
        """The columns that it needs."""
        return {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}

    def __call__(self, table: Mapping[str, Array]) -> Array:
        """Its value, for every row of a table of columns."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return _evaluate(self._tree, table)


def _evaluate(node: ast.expr, table: Mapping[str, Array]) -> Array:
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, table), _evaluate(node.right, table)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp):
        return _OPERATORS[type(node.op)](_evaluate(node.operand, table))
    if isinstance(node, ast.Name):
        return table[node.id]
    return np.asarray(ast.literal_eval(node), np.float64)

"""Sides that need not be powers of two: how often a network can halve them, and back (rows C4 and C5)."""

from __future__ import annotations

from collections.abc import Sequence

from synthct.errors import UserError

Sides = tuple[int, ...]

SMALLEST = 2
"""No side is halved to less: batch norm of one image has nothing to learn from a single voxel."""


def halvings(size: Sequence[int], blocks: int) -> list[Sides]:
    """Return the sides before the first block, between blocks, and after the last: ``blocks`` + 1 tuples.

    Each block halves every side of at least twice `SMALLEST`, odd ones rounded up. A side that can no longer be
    halved stays: the block has stride 1 there. 154 becomes 77, 39, 20, 10; 16 becomes 8, 4, 2, 2.

    Raises
    ------
    UserError
        A side of less than `SMALLEST`, or other than two or three sides.
    """
    if len(size) not in (2, 3) or min(size) < SMALLEST:
        raise UserError(
            f"Images of {'×'.join(map(str, size))} cannot be made by this network.",
            todo=f"Give two or three sides of {SMALLEST} or more.",
        )
    sides = [tuple(size)]
    for _ in range(blocks):
        sides.append(tuple((side + 1) // 2 if side >= 2 * SMALLEST else side for side in sides[-1]))
    return sides


def strides(before: Sides, after: Sides) -> Sides:
    """Return 2 where a block halves a side and 1 where it leaves it."""
    return tuple(1 if here == there else 2 for here, there in zip(before, after, strict=True))


def filter_numbers(what: str, given: list[int] | str) -> list[int]:
    """Return filters per block, given as a list or as ``64-128-256``.

    Raises
    ------
    UserError
        Something else than positive whole numbers.
    """
    try:
        numbers = [int(part) for part in given.split("-")] if isinstance(given, str) else given
    except ValueError:
        numbers = []
    if min(numbers, default=0) < 1:
        raise UserError(
            f"The filters of {what} cannot be {given!r}.", todo="Give positive numbers, one per block, as in 64-128."
        )
    return numbers

"""What is wrong with which file, and what to do: one line of the table that a check prints."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed. ``level`` is "error" (the case cannot be used) or "warning" (look at it)."""

    level: str
    file: str
    """The file, folder or case it is about."""
    what: str
    todo: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.file}: {self.what}{' ' + self.todo if self.todo else ''}"

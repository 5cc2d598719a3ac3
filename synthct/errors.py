"""The one exception for everything that a user can cause and can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something the user gave cannot be used: what, why, and what to do about it.

    Raised where the input enters (a file, a node, an option), so that the message can name it.
    The command line prints it as one paragraph and exits with 2; Slicer shows it in a dialog.

    Parameters
    ----------
    what
        What went wrong, naming the file, node or option: ``"mr.nii.gz has 4 dimensions"``.
    why
        What was expected or why that cannot work: ``"A single 3D volume is needed."``
    todo
        What the user can do: ``"Extract one time point and try again."``
    """

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        self.what = what
        self.why = why
        self.todo = todo
        super().__init__(" ".join(part for part in (what, why, todo) if part))


class Diverged(UserError):
    """A training's losses or weights are not numbers any more: its recipe is at fault, and another may do."""


class Cancelled(Exception):
    """The user ended the work: exit code 130, nothing half-written is left."""

"""Whether two files are of one patient, as far as they say."""

from __future__ import annotations

from synthct.errors import UserError


def require_one_patient(names: tuple[str, str], ids: tuple[str, str], other_patient: bool = False) -> list[str]:
    """Return notes for the reader: one where different ids were compared because it was asked.

    Parameters
    ----------
    names
        Of the files.
    ids
        PatientID of either; empty where a file says none.
    other_patient
        Go on although they differ: an id was replaced.

    Raises
    ------
    UserError
        Both say whose they are, and differ.
    """
    first, second = ids
    if not first or not second or first == second:
        return []
    if not other_patient:
        raise UserError(
            f"{names[0]} and {names[1]} belong to different patients.",
            f"{first} is not {second}.",
            "Give files of one patient, or add --other-patient where an id was replaced.",
        )
    return [f"{names[0]} and {names[1]} name different patients, {first} and {second}; compared because it was asked."]

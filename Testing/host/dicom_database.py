"""``slicer.dicomDatabase``, of which the modules ask one thing only."""

from collections.abc import Mapping


class DicomDatabase:
    """A ``ctkDICOMDatabase`` with the slices that a test has put into it.

    Parameters
    ----------
    files
        SOP instance UID to the path of its file.
    """

    def __init__(self, files: Mapping[str, str]):
        self._files = dict(files)

    def fileForInstance(self, sopInstanceUID: str) -> str:
        """Return the path of an instance's file, or an empty text where the database does not have it."""
        return self._files.get(sopInstanceUID, "")

"""Cases that cannot be used: refused by name before any work is done, or left out where the user allows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from synthct.data.cohort import Case, Cohort
from synthct.data.whole_folder import NotWritten
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.volumes.read import read_image

_NAMED = 5
_TODO = "Mend or restore the files, exclude the cases in the manifest, or leave them out with --skip-corrupt."


class LeftOut:
    """Judges what is wrong with a case.

    Parameters
    ----------
    skip
        Leave the case out with a warning; otherwise it is an error.
    events
        Hears the warnings.
    """

    def __init__(self, skip: bool = False, events: Events = SILENT) -> None:
        self._skip = skip
        self._events = events
        self.reasons: dict[str, str] = {}
        """Why, by case id."""

    def add(self, case: Case, error: UserError) -> None:
        """Leave ``case`` out for ``error``.

        Raises
        ------
        UserError
            Nothing may be left out; the message names the case. Or its place is at fault, which no other case would
            be spared: a full disk empties no cohort.
        """
        if isinstance(error, NotWritten):
            raise error
        self._judge({case.id: error})

    def unreadable(self, cases: Sequence[Case]) -> None:
        """Open every image of ``cases`` once and leave out those with one that cannot be read.

        Raises
        ------
        UserError
            Nothing may be left out; the message names all of them.
        """
        found: dict[str, UserError] = {}
        for number, case in enumerate(cases):
            self._events.progress(number, len(cases), "open", case.id)
            try:
                alone = case.kind == "image"
                if not alone:
                    read_image(case.input, case.mr_series)
                read_image(case.ct, case.ct_series, single_slice=alone)
                if case.mask is not None:
                    read_image(case.mask, single_slice=alone)
            except UserError as error:
                found[case.id] = error
        self._judge(found)

    def of(self, cohort: Cohort) -> Cohort:
        """Return the cohort with the cases that were left out excluded, the reason beside each."""
        cases = (
            dataclasses.replace(case, excluded=self.reasons[case.id]) if case.id in self.reasons else case
            for case in cohort
        )
        return dataclasses.replace(cohort, cases=tuple(cases))

    def _judge(self, found: dict[str, UserError]) -> None:
        if found and not self._skip:
            reasons = [f"{name}: {error}" for name, error in found.items()]
            names = f"The case {next(iter(found))}" if len(found) == 1 else f"{len(found)} cases"
            listed = " ".join([*reasons[:_NAMED], *(["…"] if len(reasons) > _NAMED else [])])
            raise UserError(f"{names} cannot be used.", listed, _TODO)
        for name, error in found.items():
            self.reasons[name] = f"{error.what} {error.why}".strip()
            self._events.warning(f"The case {name} is left out.", self.reasons[name])

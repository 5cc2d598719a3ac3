"""The classes that a cohort's cases have, named in the recipe of a training that tells them apart."""

from __future__ import annotations

import dataclasses

from synthct.data.cohort import Cohort
from synthct.errors import UserError
from synthct.recipe import CLASS_TASK, Recipe


def with_classes(recipe: Recipe, cohort: Cohort) -> Recipe:
    """Return ``recipe`` with ``data.classes``, of the task ct-to-class; any other recipe as it is.

    Where it names none they are all that the cohort's used cases have, in alphabetical order.

    Raises
    ------
    UserError
        A case without a class, a class that the recipe does not name, or fewer than two classes.
    """
    if recipe.task != CLASS_TASK:
        return recipe
    key = recipe.data.class_of
    of_case = {case.id: getattr(case, key) for case in cohort.used}
    without = [case for case, name in of_case.items() if not name]
    if without:
        raise UserError(
            f"The case {without[0]} of the cohort {cohort.root} has no {key}.",
            f"{len(without)} of {len(of_case)} cases have none, and it is the class to be told (`data.class_of`).",
            f"Add `{key}` to the manifest (`synthct cohort --table`), or exclude these cases.",
        )
    found = sorted(set(of_case.values()))
    strange = sorted(set(found) - set(recipe.data.classes)) if recipe.data.classes else []
    if strange:
        raise UserError(
            f"The cohort {cohort.root} has cases of the {key} {strange[0]}.",
            f"`data.classes` names {', '.join(recipe.data.classes)}.",
            "Name it there, exclude these cases, or leave `data.classes` empty: then all are taken.",
        )
    if len(found) < 2:
        raise UserError(
            f"All cases of the cohort {cohort.root} have the {key} {found[0] if found else 'none'}.",
            "There is nothing to tell apart.",
            f"Set `data.class_of` to {'centre' if key == 'diagnosis' else 'diagnosis'}, or add cases of another class.",
        )
    classes = recipe.data.classes or tuple(found)
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, classes=classes))

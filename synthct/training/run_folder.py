"""The folder of a run: what was asked for, what was drawn, what came out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml

from synthct.data.cohort import Cohort, read_cohort, write_cohort
from synthct.data.split import Split, write_split
from synthct.errors import UserError
from synthct.events import Events
from synthct.recipe import Recipe, load_recipe
from synthct.synthesis.model_file import load_model, save_model
from synthct.whole_file import write_whole


class RunFolder:
    """Paths inside ``RUN``, and what is read from and written to them.

    ``recipe.yaml`` (complete), ``cohort.json``, ``split.json``, ``initial/`` (the model that it starts from, if any),
    ``pretrained/ROLE/`` (networks that take part as they are, if any),
    ``prepared/`` (volumes, and in ``.cache`` what is read while training; not made for a cohort that came prepared),
    ``events.jsonl``, ``tensorboard/``, ``samples/``, ``checkpoints/last/``,
    ``model/`` (the best one) and, while a process works in it, ``lock``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.yaml"
        self.cohort_file = self.path / "cohort.json"
        self.split_file = self.path / "split.json"
        self.events_file = self.path / "events.jsonl"
        self.initial = self.path / "initial"
        self.pretrained = self.path / "pretrained"
        self.prepared = self.path / "prepared"
        self.cache = self.path / "cache"
        self.tensorboard = self.path / "tensorboard"
        self.samples = self.path / "samples"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"

    def require_free(self, recipe: Recipe, cohort: Cohort) -> None:
        """Refuse a folder in which a training has begun, or which holds a file that a new run would replace.

        The same run may be started anew where it ended before its first step (while volumes were prepared).

        Raises
        ------
        UserError
            The message says how to go on.
        """
        if self.checkpoints.exists():
            raise UserError(
                f"The folder {self.path} already holds a run.",
                "A run is never overwritten.",
                f"Go on with it by --resume {self.path}, or choose another folder.",
            )
        same_recipe = self.recipe_file.is_file() and self.recipe_file.read_text(encoding="utf-8") == _text(recipe)
        same_cohort = self.cohort_file.is_file() and _same_cases(read_cohort(self.cohort_file), cohort)
        taken = [
            file
            for file, ours in (
                (self.recipe_file, same_recipe),
                (self.cohort_file, same_recipe and same_cohort),
                (self.initial, same_recipe),
                (self.pretrained, same_recipe),
                (self.split_file, same_recipe),
                (self.model, False),
            )
            if file.exists() and not ours
        ]
        if taken:
            raise UserError(
                f"The folder {self.path} holds {taken[0].name}.",
                "The run would replace it.",
                "Choose an empty or new folder for the run, or remove that first.",
            )

    def write(
        self,
        recipe: Recipe,
        cohort: Cohort,
        split: Split | None,
        initial_model: Path | str | None,
        pretrained: Mapping[str, str],
    ) -> None:
        """Store what the run is made of; the cohort comes last and makes it a run.

        Models that it starts from, and those that take part as they are (role → folder), are copied.
        """
        try:
            write_whole(self.recipe_file, _text(recipe))
            self.split_file.unlink(missing_ok=True)
            shutil.rmtree(self.initial, ignore_errors=True)
            shutil.rmtree(self.pretrained, ignore_errors=True)
        except OSError as error:
            raise UserError(
                f"The run cannot be written to {self.path}.", f"{error.strerror}.", "Choose another folder."
            ) from error
        if split is not None:
            write_split(split, self.split_file)
        if initial_model is not None:
            model = load_model(initial_model)
            save_model(self.initial, model.network, model.card)
        for role, path in pretrained.items():
            model = load_model(path)
            save_model(self.pretrained / role, model.network, model.card)
        write_cohort(cohort, self.cohort_file, overwrite=True)

    def read(self) -> tuple[Recipe, Cohort]:
        """Return recipe and cohort of the run.

        Raises
        ------
        UserError
            The folder holds no run.
        """
        if not (self.recipe_file.is_file() and self.cohort_file.is_file()):
            raise UserError(
                f"There is nothing to resume in {self.path}.",
                "A run has a recipe.yaml and a cohort.json.",
                "Give the folder of a run, or start one with --preset, --cohort and --run.",
            )
        return load_recipe(self.recipe_file), read_cohort(self.cohort_file)

    def events(self, events: Events) -> Events:
        """Return events that go to ``events.jsonl`` and from there on to ``events``."""
        if events.path is not None and events.path.resolve() == self.events_file.resolve():
            return events
        return Events(
            self.events_file,
            lambda event: events.emit(**{key: value for key, value in event.items() if key != "time"}),
        )

    def events_size(self) -> int:
        """Bytes of ``events.jsonl``."""
        return self.events_file.stat().st_size if self.events_file.exists() else 0

    def cut_events(self, size: int) -> None:
        """Take away the events after byte ``size``: they tell of steps that will be taken again."""
        if self.events_size() > size:
            os.truncate(self.events_file, size)


def _same_cases(ours: Cohort, other: Cohort) -> bool:
    """Whether two cohorts hold the same cases, no matter which of them are left out."""
    return [dataclasses.replace(case, excluded=None) for case in ours] == [
        dataclasses.replace(case, excluded=None) for case in other
    ]


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of every value in the recipe."""
    return hashlib.sha256(json.dumps(recipe.to_dict(), sort_keys=True).encode()).hexdigest()


def _text(recipe: Recipe) -> str:
    return yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True)

"""A segmentation experiment as Slicer sees it: a folder that processes work in, whoever started them, and may again.

How far each arm is, is read from the folder. A process that was started here keeps its job in the folder's ``.job``, so
that it is found again after a restart; it outlives Slicer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthct.errors import UserError
from synthct.scene.jobs import Job

RunState = Literal["empty", "starting", "running", "ending", "elsewhere", "checked", "paused", "done", "failed"]
"""elsewhere: a process that was not started here works in the folder; checked: looked at and nothing trained yet."""
ACTIVE = ("starting", "running", "ending")
JOB, RECIPE, CASES, TABLE, REPORT = ".job", "recipe.yaml", "cases.json", "table.json", "report.html"
"""In the folder. An experiment begins in one that holds nothing but what starts with a dot."""


@dataclass(frozen=True)
class ArmState:
    """How far one arm is."""

    name: str
    networks: int
    trained: int
    at_work: bool
    tested: bool


class ExperimentRun:
    """What is known of the experiment in ``folder``; call :meth:`poll` to see how it goes on.

    Attributes
    ----------
    state
        See `RunState`.
    arms
        In the recipe's order; nothing before the cases were looked at.
    checked
        What was looked at for leaks, in sentences.
    progress
        The newest such event of the process that was started here, or None.
    warnings
        Of that process.
    error
        Why it ended, where it failed.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.state: RunState = "empty"
        self.arms: list[ArmState] = []
        self.checked: list[str] = []
        self.error: UserError | None = None
        self._plan: dict[str, int] = {}
        self._read_at: float | None = None
        self._ending = self._asked = False
        found = Job.find(self.folder / JOB)
        self._job = found if found is not None and found.verb == "experiment" else None
        self.poll()

    @property
    def active(self) -> bool:
        """Whether a process that was started here works in the folder."""
        return self.state in ACTIVE

    @property
    def begun(self) -> bool:
        """Whether there is an experiment to go on with."""
        return (self.folder / RECIPE).is_file()

    @property
    def table(self) -> Path | None:
        """The numbers of all arms, once they are there."""
        path = self.folder / TABLE
        return path if path.is_file() else None

    @property
    def progress(self) -> dict[str, Any] | None:
        return self._job.progress if self._job is not None else None

    @property
    def warnings(self) -> list[str]:
        return list(dict.fromkeys(self._job.warnings)) if self._job is not None else []

    @property
    def options(self) -> dict[str, Any]:
        """With what it was started here the last time; empty where it was not."""
        return dict(self._job.options) if self._job is not None else {}

    def start(self, options: Mapping[str, Any]) -> None:
        """Begin or go on, in a process that outlives Slicer.

        Parameters
        ----------
        options
            Of ``synthct experiment``, without the run folder: ``recipe``, ``device``, ``dry_run``, keys of the recipe.

        Raises
        ------
        UserError
            A process started here works there already, or none can be started.
        """
        if self.active:
            raise UserError(f"The experiment in {self.folder} is under way.", todo="Wait, or pause it.")
        here = (self.folder / JOB).absolute()
        try:
            (here / "events.jsonl").unlink(missing_ok=True)  # an earlier life's last word
            wanted = {**options, "run": self.folder.absolute()}
            self._job = Job.start("experiment", wanted, here)
        except OSError as error:
            raise UserError(
                f"The experiment cannot be written to {self.folder}.", f"{error.strerror}.", "Choose another folder."
            ) from error
        self._ending = self._asked = False
        self.error = None
        self.state = "starting"

    def pause(self) -> None:
        """Ask the processes of this machine to end, each training with a checkpoint; asked again: end them at once.

        Raises
        ------
        UserError
            Only processes on other machines work there.
        """
        import psutil

        from synthct.processes import ask_to_end, family

        pids = self._working_here()
        if not pids:
            hosts = sorted(self._hosts())
            if hosts:
                raise UserError(
                    f"The experiment in {self.folder} runs on {', '.join(hosts)}.",
                    "It can be followed from here, but not ended.",
                    "End it there; whoever starts it again goes on.",
                )
            return
        for pid, started in pids.items():
            members = family(pid, started)
            chosen = members if self._ending else [each for each in members if each.pid == pid]
            try:
                ask_to_end(chosen, kill=self._ending)
            except psutil.Error:
                continue
        self._ending = self._asked = True

    def poll(self) -> None:
        """Read how far everything is, without waiting."""
        job = self._job
        if job is not None:
            job.poll()
        self._read_plan()
        locks = self._locks()
        self.arms = [
            ArmState(
                name,
                networks,
                sum((self._fold(name, number) / "finished.json").is_file() for number in range(networks)),
                locks.get(name, False),
                (self.folder / "scores" / f"{name}.csv").is_file(),
            )
            for name, networks in self._plan.items()
        ]
        self.state = self._standing(job, any(locks.values()))
        if self.state not in ACTIVE and self.state != "elsewhere":
            self._ending = False

    def _standing(self, job: Job | None, at_work: bool) -> RunState:
        if job is not None and not job.finished:
            return "ending" if self._ending else "running" if job.progress is not None else "starting"
        if at_work:
            return "ending" if self._ending else "elsewhere"
        if self.arms and all(arm.tested for arm in self.arms) and self.table is not None:
            return "done"
        self.error = None
        if job is not None and job.state in ("failed", "lost") and job.error is not None and not self._asked:
            self.error = UserError(*(str(job.error.get(key) or "") for key in ("what", "why", "todo")))
            return "failed"
        if not self.begun:
            return "empty"
        return "paused" if any(arm.trained for arm in self.arms) or (self.folder / "arms").is_dir() else "checked"

    def _read_plan(self) -> None:
        """Read the arms and what was checked where the file has changed; it may be large."""
        path = self.folder / CASES
        try:
            written = path.stat().st_mtime
            if written == self._read_at:
                return
            content = json.loads(path.read_text(encoding="utf-8"))
            self._plan = {str(name): len(folds) for name, folds in content["arms"].items()}
            self.checked = [str(line) for line in content["checked"]]
            self._read_at = written
        except FileNotFoundError:
            self._plan, self.checked, self._read_at = {}, [], None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # a network drive that is away for a moment

    def _fold(self, arm: str, number: int) -> Path:
        return self.folder / "arms" / arm / f"fold{number + 1}"

    def _held(self, arm: str) -> list[Path]:
        """Folders whose lock says that an arm is worked on."""
        folds = [self._fold(arm, number) for number in range(self._plan[arm])]
        return [*folds, self.folder / "scores" / f".{arm}"]

    def _locks(self) -> dict[str, bool]:
        from synthct.locks import held_on, lock_holder

        return {
            arm: any(lock_holder(folder) or held_on(folder) for folder in self._held(arm) if folder.is_dir())
            for arm in self._plan
        }

    def _working_here(self) -> dict[int, float]:
        """Start times by process id, of all on this machine that work in the folder."""
        from synthct.locks import lock_holder

        found = {}
        if self._job is not None and not self._job.finished:
            found[self._job.pid] = self._job.started
        for arm in self._plan:
            found |= dict(filter(None, (lock_holder(folder) for folder in self._held(arm))))
        return found

    def _hosts(self) -> set[str]:
        from synthct.locks import held_on

        folders = [folder for arm in self._plan for folder in self._held(arm) if folder.is_dir()]
        return set(filter(None, (held_on(folder) for folder in folders)))

"""The warm worker: a process that keeps the last model loaded and takes requests as files.

In its folder::

    lock                    PID and start time, so that a client finds it again
    state.json              {"state": "ready" | "busy", "model": path or null, "time": seconds since 1970, ...}
    requests/NAME.json      {"verb": "synthesize", "options": {...}, "events": path of the request's own events.jsonl}

A client writes a request aside and renames it. ``synthesize`` translates a file (`synthct.synthesis.files`),
``generate`` makes one pair between two seeds (`synthct.synthesis.generation.between_seeds`). The verbs ``release``
(give the model's memory back, before a training starts) and ``stop`` need no options.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from synthct.errors import Cancelled, UserError
from synthct.events import Events
from synthct.locks import FolderLock
from synthct.processes import start_time
from synthct.synthesis.card import CARD, model_folder
from synthct.synthesis.files import synthesize_file
from synthct.synthesis.generation.between_seeds import generate_between
from synthct.synthesis.model_file import Model, load_model
from synthct.whole_file import write_whole

POLL_S = 0.03
IDLE_S = 120.0
EXIT_S = 1800.0
_HEARTBEAT_S = 1.0
_TAKEN = ".taken"
_NEEDED = {"synthesize": ("model", "input", "output"), "generate": ("model", "image")}
"""Options that a verb cannot do without."""


class ModelCache:
    """Holds the last model that was asked for, until it is released or its file changes."""

    def __init__(self) -> None:
        self.model: Model | None = None
        self._key: tuple[Path, int] | None = None

    def load(self, path: Path | str) -> Model:
        """Return the model at ``path``, from memory where it is the last one."""
        folder = model_folder(path)
        key = (folder.resolve(), (folder / CARD).stat().st_mtime_ns)
        if self.model is None or key != self._key:
            self.release()
            self.model = load_model(folder)
            self._key = key
        return self.model

    def release(self) -> None:
        """Forget the model and give its memory on the device back."""
        if self.model is None:
            return
        self.model = self._key = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def run_request(verb: str, options: Mapping[str, Any], events: Events, models: ModelCache) -> None:
    """Run one request; its result, or the error that ended it, goes to ``events``.

    An error ends the request and not the worker; `Cancelled` and an interruption go on to the caller.
    """
    try:
        if verb not in _NEEDED:
            raise UserError(f"The worker has no verb {verb}.", f"It knows {', '.join(_NEEDED)}, release and stop.")
        task: Callable[..., Path] = synthesize_file if verb == "synthesize" else generate_between
        known = set(inspect.signature(task).parameters) - {"events", "loader"}
        for key in options:
            if key not in known:
                raise UserError(f"The verb {verb} has no option {key}.", f"Known: {', '.join(sorted(known))}.")
        for key in _NEEDED[verb]:
            if not options.get(key):
                raise UserError(f"The request lacks the option {key}.")
        task(**{"compress": False, **options}, events=events, loader=models.load)
    except UserError as error:
        events.error(error)
    except (Cancelled, KeyboardInterrupt):
        events.emit("cancelled")
        raise
    except Exception as error:
        traceback.print_exc()
        events.error(error)
        models.release()


def serve(folder: Path | str, idle_s: float = IDLE_S, exit_s: float = EXIT_S) -> None:
    """Take requests until ``stop`` is asked for, nothing came for ``exit_s`` seconds, or the folder vanishes.

    Parameters
    ----------
    folder
        Made if needed; one worker per folder.
    idle_s
        Seconds without a request after which the model is released.
    exit_s
        Seconds without a request after which the process ends.

    Raises
    ------
    UserError
        Another worker holds the folder.
    """
    folder = Path(folder).absolute()
    requests = folder / "requests"
    with FolderLock(folder) as lock:
        requests.mkdir(parents=True, exist_ok=True)
        for left in requests.glob(f"*{_TAKEN}"):  # of a worker that was ended in the middle
            left.unlink(missing_ok=True)
        models = ModelCache()
        last, beat = time.monotonic(), 0.0
        while requests.is_dir() and lock.path.exists() and time.monotonic() - last < exit_s:
            taken = _take(requests)
            if taken is None:
                if time.monotonic() - last > idle_s:
                    models.release()
                if time.monotonic() - beat > _HEARTBEAT_S:
                    beat = time.monotonic()
                    _write_state(folder, "ready", models)
                time.sleep(POLL_S)
                continue
            path, content = taken
            verb = content.get("verb")
            _write_state(folder, "busy", models)
            if verb == "release":
                models.release()
            elif verb != "stop":
                _run(content, models)
            path.unlink(missing_ok=True)
            if verb == "stop":
                return
            last, beat = time.monotonic(), 0.0


def _run(content: Mapping[str, Any], models: ModelCache) -> None:
    options, target = content.get("options"), content.get("events")
    try:
        events = Events(target if isinstance(target, str) else None)
        events.emit("started", pid=os.getpid())
    except OSError as error:
        print(f"The events file {target} cannot be written: {error}", file=sys.stderr)
        return
    run_request(str(content.get("verb")), options if isinstance(options, Mapping) else {}, events, models)


def _take(requests: Path) -> tuple[Path, dict[str, Any]] | None:
    """Claim the oldest request by renaming it, and read it; one that cannot be read is dropped with a message."""
    try:
        waiting = sorted(requests.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    except OSError:  # withdrawn by the client in between
        return None
    for path in waiting:
        try:
            taken = path.rename(path.with_suffix(_TAKEN))
            content = json.loads(taken.read_text(encoding="utf-8"))
        except OSError:
            continue
        except ValueError as error:
            print(f"The request {path} cannot be read: {error}", file=sys.stderr)
            taken.unlink(missing_ok=True)
            continue
        if isinstance(content, dict):
            return taken, content
        taken.unlink(missing_ok=True)
    return None


def _write_state(folder: Path, state: str, models: ModelCache) -> None:
    model = models.model.folder if models.model is not None else None
    content = {
        "state": state,
        "pid": os.getpid(),
        "started": start_time(os.getpid()),
        "model": str(model) if model is not None else None,
        "time": round(time.time(), 3),
    }
    try:
        write_whole(folder / "state.json", json.dumps(content))
    except OSError as error:
        print(f"The worker's state cannot be written: {error}", file=sys.stderr)

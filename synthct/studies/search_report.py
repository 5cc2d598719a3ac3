"""What a search leaves to be read: a table of its trials, a picture, and the best recipe."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from synthct.recipe import load_recipe
from synthct.studies.space import Choice, Space, Values
from synthct.whole_file import write_whole


@dataclass(frozen=True)
class Outcome:
    """One trial as it stands."""

    number: int
    state: str
    """complete, pruned, running, waiting or fail."""
    value: float | None
    """Best value of the metric; None unless the trial is complete."""
    parameters: dict[str, Choice]
    seconds: float | None
    why: str
    """Why it ended early."""
    run: Path


def best_of(outcomes: Sequence[Outcome], direction: str) -> Outcome | None:
    """Return the complete trial with the best value, the earliest of equals."""
    done = [outcome for outcome in outcomes if outcome.value is not None]
    sign = 1 if direction == "minimize" else -1
    return min(done, key=lambda outcome: sign * (outcome.value or 0.0), default=None)


def write_results(
    outcomes: Sequence[Outcome], space: Space, metric: str, direction: str, name: str, folder: Path
) -> None:
    """Write ``trials.csv``, ``table.md`` (best first), ``search.png`` and ``best.yaml`` into ``folder``."""
    best = best_of(outcomes, direction)
    write_whole(folder / "trials.csv", _csv(outcomes, space, metric))
    write_whole(folder / "table.md", _table(outcomes, space, metric, direction, name))
    if best is None:
        return
    write_whole(folder / "search.png", _picture(outcomes, space, metric, direction, name))
    recipe = load_recipe(best.run / "recipe.yaml").to_dict()
    text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    head = (
        f"# Best of {len(outcomes)} trials: {metric} {best.value:.6g} in {best.run.name}; model: {best.run / 'model'}\n"
    )
    write_whole(folder / "best.yaml", head + text)


def _csv(outcomes: Sequence[Outcome], space: Space, metric: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", metric, *space, "seconds", "why", "run"])
    for outcome in outcomes:
        values = [outcome.parameters.get(key, "") for key in space]
        value = "" if outcome.value is None else repr(outcome.value)
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.1f}"
        writer.writerow([outcome.number, outcome.state, value, *values, seconds, outcome.why, outcome.run.name])
    return file.getvalue()


def _table(outcomes: Sequence[Outcome], space: Space, metric: str, direction: str, name: str) -> str:
    sign = 1 if direction == "minimize" else -1
    order = sorted(outcomes, key=lambda o: (o.value is None, sign * (o.value or 0.0), o.number))
    lines = [
        f"Search over {name}: {metric}, {direction}, best first.",
        "",
        "| trial | " + " | ".join(f"`{key}`" for key in space) + f" | {metric} | state |",
        "|---|" + "---|" * (len(space) + 2),
    ]
    for outcome in order:
        cells = [_shown(outcome.parameters.get(key)) for key in space]
        value = "–" if outcome.value is None else f"{outcome.value:.5g}"
        state = outcome.why or outcome.state
        lines.append("| " + " | ".join([str(outcome.number), *cells, value, state.replace("|", "/")]) + " |")
    return "\n".join(lines) + "\n"


def _picture(outcomes: Sequence[Outcome], space: Space, metric: str, direction: str, name: str) -> bytes:
    """Values over trials with the best so far, and over each parameter, as PNG."""
    done = [outcome for outcome in outcomes if outcome.value is not None]
    values = np.array([outcome.value for outcome in done], float)
    figure = Figure(figsize=(4 * (1 + len(space)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(space), sharey=True, squeeze=False)[0]
    best = np.minimum.accumulate(values) if direction == "minimize" else np.maximum.accumulate(values)
    axes[0].step([outcome.number for outcome in done], best, where="post", color="0.6", label="best so far")
    axes[0].scatter([outcome.number for outcome in done], values, label="trial", zorder=3)
    early = [outcome for outcome in outcomes if outcome.state in ("pruned", "fail")]
    _crosses(axes[0], [outcome.number for outcome in early])
    axes[0].set(xlabel="trial", ylabel=metric)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize="small")
    for axis, (key, domain) in zip(axes[1:], space.items(), strict=True):
        choices = domain.choices if isinstance(domain, Values) else ()
        drawn = [outcome.parameters[key] for outcome in done]
        places = _placed(axis, key, choices, [*drawn, *(outcome.parameters[key] for outcome in early)])
        axis.scatter(places[: len(done)], values)
        _crosses(axis, places[len(done) :])
    chosen = done[int(np.argmin(values) if direction == "minimize" else np.argmax(values))]
    for axis, key in zip(axes[1:], space, strict=True):
        axis.axhline(chosen.value, color="0.85", zorder=0)
        axis.set_title(f"best: {_shown(chosen.parameters[key])}", fontsize="medium")
    figure.suptitle(f"{name}: {len(done)} of {len(outcomes)} trials complete")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _crosses(axis: Axes, places: Sequence[float]) -> None:
    """Mark trials without a value at the foot of the picture."""
    if places:
        foot = axis.get_xaxis_transform()
        axis.plot(places, [0.02] * len(places), "x", color="tab:red", transform=foot, label="ended early")


def _placed(axis: Axes, key: str, choices: Sequence[Choice], drawn: Sequence[Choice]) -> list[float]:
    """Prepare the axis of one parameter and return where its values lie: numbers as such, others side by side."""
    axis.set_xlabel(key)
    numbers = [value for value in (*choices, *drawn) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(choices) + len(drawn):
        names = [_shown(choice) for choice in choices]
        axis.set_xticks(range(len(names)), names)
        axis.set_xlim(-0.5, len(names) - 0.5)
        return [float(names.index(_shown(value))) for value in drawn]
    low, high = min(numbers), max(numbers)
    spread = low > 0 and math.log10(high / low) >= 0.5
    if spread:
        axis.set_xscale("log")
    if 0 < len(choices) <= 6:
        axis.set_xticks(numbers[: len(choices)], [_shown(choice) for choice in choices])
        axis.minorticks_off()
    room = (high / low) ** 0.1 if spread else (high - low) * 0.1 or 0.5
    axis.set_xlim(*((low / room, high * room) if spread else (low - room, high + room)))
    return numbers[len(choices) :]


def _shown(value: Choice) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)

"""The table of a comparison: means over patients, ratios to the look-up, paired tests; as Markdown and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from synthct.evaluation.images.scores import Scores
from synthct.studies.comparison import VolumeTime

COLUMNS = {
    "mae_hu": "MAE (HU)",
    "psnr_synthrad2023_db": "PSNR (dB)",
    "ssim_synthrad2023": "SSIM",
    "mae_bone_hu": "bone MAE (HU)",
    "dice_bone": "bone Dice",
    "slice_jump": "slice jump",
}


def summary(scores: Mapping[str, Mapping[str, Scores]], baseline: str) -> dict[str, dict[str, Any]]:
    """Return, per method and score: mean and sample SD over cases, difference and ratio to ``baseline``, and p.

    The SD of a single case is None. ``p`` is of Wilcoxon's signed-rank test over the cases that both have
    (two-sided); None below six cases, where the test cannot reach 5 %. Cases in which a score is not defined are left
    out and counted in ``cases``.
    """
    return {
        method: {name: _cell(scores, method, name, baseline) for name in COLUMNS} for method in scores if scores[method]
    }


def markdown(
    content: Mapping[str, Mapping[str, Any]], baseline: str, volume_times: Mapping[str, VolumeTime] | None = None
) -> str:
    """Return the summary as a Markdown table; MAE carries its ratio to the baseline.

    With ``volume_times`` (by method) a last column tells the time per volume, and a line below of how many voxels it
    is and where it was measured.
    """
    titles = [*COLUMNS.values(), *(["time per volume (s)"] if volume_times else [])]
    lines = ["| method | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for method, cells in content.items():
        row = [method]
        for name in COLUMNS:
            cell = cells[name]
            digits = 1 if name.endswith(("_hu", "_db")) else 3
            text = "–" if cell["mean"] is None else f"{cell['mean']:.{digits}f}"
            if cell["sd"] is not None:
                text += f" ± {cell['sd']:.{digits}f}"
            if name.startswith("mae") and method != baseline and cell["ratio"] is not None:
                text += f" (×{cell['ratio']:.2f})"
            row.append(text)
        if volume_times:
            row.append(f"{volume_times[method].seconds:.2g}" if method in volume_times else "–")
        lines.append("| " + " | ".join(row) + " |")
    if volume_times:
        some = next(iter(volume_times.values()))
        lines += [
            "",
            f"Time per volume: mean over the test cases of {some.voxels:.3g} voxels on average, {some.device}.",
        ]
    return "\n".join(lines) + "\n"


def _cell(scores: Mapping[str, Mapping[str, Scores]], method: str, name: str, baseline: str) -> dict[str, Any]:
    every = {case: score.values.get(name, math.nan) for case, score in scores[method].items()}
    own = {case: value for case, value in every.items() if math.isfinite(value)}
    reference = {case: score.values.get(name, math.nan) for case, score in scores[baseline].items()}
    shared = [case for case in own if math.isfinite(reference.get(case, math.nan))]
    differences = np.array([own[case] - reference[case] for case in shared])
    base = float(np.mean([reference[case] for case in shared])) if shared else 0.0
    tested = method != baseline and len(shared) >= 6 and bool(np.any(differences))
    return {
        "mean": float(np.mean(list(own.values()))) if own else None,
        "sd": float(np.std(list(own.values()), ddof=1)) if len(own) > 1 else None,
        "cases": len(own),
        "difference": float(differences.mean()) if shared else None,
        "ratio": float(np.mean([own[case] for case in shared])) / base if base else None,
        "p_wilcoxon": float(wilcoxon(differences).pvalue) if tested else None,
    }

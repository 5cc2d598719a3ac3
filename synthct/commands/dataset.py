"""``synthct dataset``: volumes with planted nodules and their CTs, to train segmentation networks on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from synthct.errors import UserError
from synthct.events import Events

if TYPE_CHECKING:
    from synthct.data.split import Split
    from synthct.labels.dataset_cubes import Plan

NONE = "none"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cohort", required=True, type=Path, metavar="JSON", help="cases with label maps")
    parser.add_argument("--library", required=True, type=Path, metavar="DIR", help="the templates")
    parser.add_argument(
        "--model", required=True, type=Path, help="a run or model folder, for a CT from a label map, or a model's name"
    )
    parser.add_argument("--count", required=True, type=int, metavar="N", help="how many volumes")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="the data set; finished volumes in it are kept, and a larger --count adds to them",
    )
    parser.add_argument("--size", default="128", metavar="VOXELS", help="of each volume, I,J,K or one number (128)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same volumes")
    parser.add_argument(
        "--split",
        metavar="JSON",
        help="validation and test cases of this split give no cubes; default: the model's run's, `none`: only those "
        "that the cohort marks by `part`",
    )
    nodules = parser.add_argument_group("nodules")
    nodules.add_argument(
        "--with-nodule", type=float, default=0.8, metavar="SHARE", help="of the volumes; the others have none (0.8)"
    )
    nodules.add_argument("--templates-per-volume", default="1", metavar="N", help="planted; LOW,HIGH: draw it (1)")
    nodules.add_argument("--rotate", type=float, default=0.0, metavar="DEG", help="draw angles up to it (0)")
    nodules.add_argument("--scale", default="1", metavar="FACTOR", help="of every length; LOW,HIGH: draw it (1)")
    nodules.add_argument("--elastic", type=float, default=0.0, metavar="MM", help="bend by about so much (0)")
    constraints = parser.add_argument_group("constraints")
    constraints.add_argument(
        "--lung",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="of the voxels at least, other tissue in the body (0.1)",
    )
    constraints.add_argument(
        "--draws", type=int, default=200, metavar="N", help="cubes of a case before another is drawn (200)"
    )
    constraints.add_argument(
        "--on", action="append", metavar="CLASS", help="plant on this class; default: other tissue"
    )
    constraints.add_argument("--share", type=float, default=0.8, help="so much of a nodule must lie on them (0.8)")
    constraints.add_argument(
        "--surface",
        default="10",
        metavar="MM",
        help="nodules' least distance to the body's surface; none: as published",
    )
    constraints.add_argument(
        "--regions", type=float, default=0.1, metavar="SHARE", help="smaller regions of the classes do not count (0.1)"
    )
    constraints.add_argument(
        "--classes", metavar="TABLE", help="six, seven, eight or a YAML file; default: as the label maps' logs say"
    )
    work = parser.add_argument_group("work")
    work.add_argument("--planes", help="axial, coronal, sagittal, or several joined by commas; default: the model's")
    work.add_argument(
        "--context",
        type=float,
        default=24.0,
        metavar="MM",
        help="of the source that the network sees around a cube; without it the CT has a rim (24)",
    )
    work.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    work.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes here; default: 1 on a GPU, else by the cores; those of torchrun or srun share the volumes",
    )


def run(options: argparse.Namespace, events: Events) -> None:
    plan = _plan(options)

    from synthct.data.cohort import read_cohort
    from synthct.labels.classes import read_class_table
    from synthct.labels.dataset_sources import training_sources
    from synthct.labels.library import load_all
    from synthct.synthesis.card import card_of
    from synthct.synthesis.dataset.making import make_dataset
    from synthct.synthesis.rank import own_rank

    if options.count < 1:
        raise UserError(f"--count {options.count} makes no volumes.", todo="Give 1 or more.")
    card_of(options.model)
    cohort = read_cohort(options.cohort)
    templates = load_all(options.library) if plan.with_nodule > 0 else []
    split, name = _split(options, {case.id for case in cohort})
    sources = training_sources(cohort, templates, split, name, events)
    rank = own_rank()
    manifest = make_dataset(
        options.model,
        sources,
        options.output,
        options.count,
        plan,
        table=read_class_table(options.classes) if options.classes else None,
        planes=options.planes.split(",") if options.planes else None,
        device=options.device,
        workers=options.workers,
        events=events,
        rank=rank,
    )
    listed = f"{manifest} lists them." if manifest.exists() else "Other processes are still at work."
    share = "" if rank.world == 1 else f" Process {rank.number} of {rank.world} has done its share."
    print(f"The volumes are in {options.output}.{share} {listed}")
    print("Research use only: not for diagnosis or treatment.")


def _plan(options: argparse.Namespace) -> Plan:
    from synthct.labels.dataset_cubes import Plan
    from synthct.labels.ground import Rule

    size = _numbers(options.size, "--size", (1, 3), int)
    templates = _numbers(options.templates_per_volume, "--templates-per-volume", (1, 2), int)
    scale = _numbers(options.scale, "--scale", (1, 2), float)
    surface = None if options.surface == NONE else _numbers(options.surface, "--surface", (1,), float)[0]
    return Plan(
        size=(int(size[0]), int(size[len(size) // 2]), int(size[-1])),
        seed=options.seed,
        with_nodule=options.with_nodule,
        templates=(int(templates[0]), int(templates[-1])),
        lung=options.lung,
        draws=options.draws,
        rule=Rule(tuple(options.on or ()), options.share, surface, options.regions),
        rotation=options.rotate,
        scale=(scale[0], scale[-1]),
        elastic_mm=options.elastic,
        context_mm=options.context,
    )


def _split(options: argparse.Namespace, cases: set[str]) -> tuple[Split | None, str]:
    """Return the split whose held-out cases give no cubes, and what it is called."""
    from synthct.data.split import PARTS, read_split
    from synthct.synthesis.card import model_folder

    if options.split == NONE:
        return None, ""
    if options.split is not None:
        split = read_split(options.split)
        name = Path(options.split).name
        if not cases & {case for part in PARTS for case in split.part(part)}:
            raise UserError(
                f"The split {options.split} names no case of the cohort.",
                "It belongs to another one.",
                "Give the split of these cases, or --split none.",
            )
        return split, name
    beside = model_folder(options.model).parent / "split.json"
    return (read_split(beside), "the split of the model's run") if beside.is_file() else (None, "")


def _numbers(words: str, option: str, counts: tuple[int, ...], kind: type[int] | type[float]) -> list[float]:
    try:
        values = [kind(word) for word in words.split(",")]
    except ValueError:
        values = []
    if len(values) not in counts or not all(abs(value) < 1e6 for value in values):
        wanted = " or ".join(str(count) for count in counts)
        whole = "whole " if kind is int else ""
        raise UserError(
            f"{option} {words} cannot be used.", f"{wanted} {whole}number(s) with commas between are needed."
        )
    return values  # type: ignore[return-value]

"""``synthct generate``: make images, or pairs of image and mask, from noise with a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="a run folder, a model folder or an installed model")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="images/, masks/, manifest.json and cohort.json"
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="how many pairs; those that are there are kept, fewer are refused"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="pair n follows from it and n alone (default 0)")
    parser.add_argument(
        "--interpolate",
        type=int,
        nargs=2,
        metavar=("SEED_A", "SEED_B"),
        help="a sequence from the first pair of one seed to that of another, in place of --count and --seed",
    )
    parser.add_argument("--steps", type=int, metavar="K", help="pairs of that sequence, both ends counted (default 9)")
    parser.add_argument("--class", metavar="NAME", dest="class_name", help="of this class; default: all in turn")
    parser.add_argument(
        "--truncation",
        type=float,
        metavar="PSI",
        help="StyleGAN2: 1 is as drawn, less is nearer to the mean image and less varied (default: the recipe's)",
    )
    parser.add_argument("--threshold", type=float, metavar="VALUE", help="mask values above it are 1 (default 0.5)")
    parser.add_argument(
        "--minimum-volume", type=float, default=0.0, metavar="MM3", help="remove smaller parts of a mask (default 0)"
    )
    parser.add_argument("--largest-only", action="store_true", help="keep the largest connected part of a mask alone")
    parser.add_argument(
        "--check-against",
        type=Path,
        metavar="COHORT",
        help="the manifest of the training cases: flag images that repeat one, and draw the closest pairs",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default auto)")
    parser.add_argument("--overwrite", action="store_true", help="make all anew and replace what is there")
    parser.epilog = "Processes started by torchrun or srun share the pairs."


def run(options: argparse.Namespace, events: Events) -> None:
    if options.interpolate is None:
        if options.count is None:
            raise UserError("--count is missing.", todo="Say how many pairs shall be made, or give --interpolate.")
        if options.steps is not None:
            raise UserError("--steps belongs to --interpolate.", todo="Leave it out, or give two seeds.")
        count, seed, between = options.count, options.seed or 0, None
    else:
        if options.count is not None or options.seed is not None:
            raise UserError("--interpolate has two seeds and --steps.", todo="Leave --count and --seed out.")
        count, (seed, between) = 9 if options.steps is None else options.steps, options.interpolate
    from synthct.data.cohort import read_cohort
    from synthct.synthesis.generation.generate import generate
    from synthct.synthesis.generation.pair import MaskOptions
    from synthct.synthesis.rank import own_rank

    cohort = None if options.check_against is None else read_cohort(options.check_against)
    manifest = generate(
        options.model,
        options.output,
        count,
        seed,
        between,
        options.class_name,
        MaskOptions(options.threshold, options.minimum_volume, options.largest_only),
        options.device,
        options.overwrite,
        events,
        own_rank(),
        options.truncation,
    )
    listed = f"{manifest} lists them." if manifest.exists() else "Other processes are still at work."
    print(f"The pairs are in {options.output}. {listed}")
    if cohort is not None and manifest.exists():
        from synthct.synthesis.generation.generated_leaks import PICTURE, check_generated
        from synthct.synthesis.model_file import load_model

        flagged = check_generated(manifest, load_model(options.model).card, cohort, events)
        print(f"{len(flagged)} come too close to a case of {options.check_against}; {PICTURE} shows the closest.")
    print("Made up, and for research only: they show no patient.")

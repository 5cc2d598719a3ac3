"""``synthct presets``: list the published recipes, or print one."""

from __future__ import annotations

import argparse

from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="print this preset, to be copied and edited")


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.recipe import PRESETS, load_recipe, preset_names

    if options.name:
        load_recipe(options.name)
        print((PRESETS / f"{options.name}.yaml").read_text(encoding="utf-8"), end="")
        return
    width = max(len(name) for name in preset_names())
    for name in preset_names():
        print(f"{name:{width}s}  {load_recipe(name).source}")

"""``synthct models``: the library of installed models, and models packed or exported for others."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.events import Events

ACTIONS = ("list", "install", "card", "check", "remove", "export")
_MIB = 2**20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default="list",
        help="list (default); install a model folder, run folder or .zip; show a card; check hashes; remove; export",
    )
    parser.add_argument(
        "subject", nargs="?", metavar="MODEL", help="install: folder or .zip; else an installed model's name or a path"
    )
    parser.add_argument("--name", help="install: what the model will be called (default: as its card says)")
    parser.add_argument("--yes", action="store_true", help="remove: without asking")
    parser.add_argument("--output", type=Path, metavar="ZIP", help="export: a .zip that `install` takes")
    parser.add_argument(
        "--bundle", type=Path, metavar="FOLDER", help="export: a MONAI bundle, which runs without SyntheticCT"
    )


def run(options: argparse.Namespace, events: Events) -> None:
    from synthct.errors import UserError

    if options.subject is None and options.action not in ("list", "check"):
        raise UserError(f"`synthct models {options.action}` needs a model.", todo="Name it after the word.")
    {
        "list": _list,
        "install": _install,
        "card": _card,
        "check": _check,
        "remove": _remove,
        "export": _export,
    }[options.action](options, events)


def _list(options: argparse.Namespace, events: Events) -> None:
    from synthct.synthesis.library import list_models
    from synthct.synthesis.models_folder import models_folder

    models = list_models()
    for model in models:
        card = model.card or {}
        scores = card.get("training", {}).get("scores", {})
        facts = [card.get("task"), card.get("anatomy")] + [f"{key} {value:g}" for key, value in scores.items()]
        state = f"DAMAGED: {model.problem}" if model.problem else "hash ok"
        print("  ".join([model.name, *filter(None, facts), f"{model.size_bytes / _MIB:.1f} MB", state]))
    if not models:
        print(f"No model is installed in {models_folder()}. `synthct models install FOLDER` copies one there.")
    events.result(
        models=[{"name": m.name, "folder": str(m.folder), "bytes": m.size_bytes, "problem": m.problem} for m in models],
        folder=str(models_folder()),
    )


def _install(options: argparse.Namespace, events: Events) -> None:
    from synthct.synthesis.library import install

    model = install(options.subject, options.name)
    events.result(name=model.name, output=str(model.folder))
    print(f"{model.name} is installed. Use it as --model {model.name!r}.")


def _card(options: argparse.Namespace, events: Events) -> None:
    import json

    from synthct.synthesis.card import card_of

    card = card_of(options.subject)
    events.result(card=card)
    print(json.dumps({key: value for key, value in card.items() if key != "statistics"}, indent=2, ensure_ascii=False))


def _check(options: argparse.Namespace, events: Events) -> None:
    from synthct.errors import UserError
    from synthct.synthesis.library import list_models, require_installed

    if options.subject is not None:
        require_installed(options.subject)
    models = [model for model in list_models() if options.subject in (None, model.name)]
    for model in models:
        print(f"{model.name}: {model.problem or 'the weights are those of the card'}")
    damaged = [model for model in models if model.problem]
    if damaged:
        raise UserError(
            f"{len(damaged)} of {len(models)} models cannot be used: {', '.join(model.name for model in damaged)}.",
            damaged[0].problem,
            "Remove and install them again.",
        )
    events.result(checked=[model.name for model in models])


def _remove(options: argparse.Namespace, events: Events) -> None:
    from synthct.errors import Cancelled, UserError
    from synthct.synthesis.library import remove, require_installed

    folder = require_installed(options.subject)
    if not options.yes:
        try:
            answer = input(f"Remove {folder}? [y/N] ")
        except EOFError:
            raise UserError(
                "Nobody is there to ask.", "A model is removed only if that is confirmed.", "Add --yes."
            ) from None
        if answer.strip().lower() not in ("y", "yes"):
            raise Cancelled("Nothing was removed.")
    events.result(removed=str(remove(options.subject)))
    print(f"{options.subject} was removed.")


def _export(options: argparse.Namespace, events: Events) -> None:
    from synthct.errors import UserError

    if (options.output is None) == (options.bundle is None):
        raise UserError("An export needs either --output FILE.zip or --bundle FOLDER.")
    if options.output is not None:
        from synthct.synthesis.library import pack

        path = pack(options.subject, options.output)
    else:
        from synthct.synthesis.bundle import export_bundle

        path = export_bundle(options.subject, options.bundle, events)
    events.result(output=str(path))
    print(f"{path} is written.")

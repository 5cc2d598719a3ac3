"""``synthct templates``: a library of nodule templates; cut from masks or generated volumes, list, export, remove."""

from __future__ import annotations

import argparse
from pathlib import Path

from synthct.errors import UserError
from synthct.events import Events


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--library", type=Path, metavar="DIR", help="the library; alone: list it")
    parser.add_argument("--ct", type=Path, help="the CT that the nodules are in, in HU")
    parser.add_argument("--series", metavar="UID", help="which series of a DICOM folder that holds several")
    parser.add_argument(
        "--uneven",
        choices=("refuse", "interpolate"),
        default="refuse",
        help="DICOM slices at uneven distances or missing ones (default refuse)",
    )
    parser.add_argument("--nodules", type=Path, metavar="MASK", help="add every nodule of this mask")
    parser.add_argument("--table", type=Path, metavar="CSV", help="columns id, malignancy, as `synthct lidc` writes it")
    parser.add_argument("--case", help="the templates are called CASE-01, ...; default: as the CT's file")
    parser.add_argument(
        "--by",
        choices=("auto", "labels", "components"),
        default="auto",
        help="a nodule is a value of the mask, or what hangs together; default: labels where there are several",
    )
    parser.add_argument("--remove", metavar="NAME", help="remove this template")
    parser.add_argument("--export", type=Path, metavar="ZIP", help="write all templates into one file")
    parser.add_argument("--import", type=Path, metavar="ZIP", dest="source", help="add the templates of such a file")
    parser.add_argument(
        "--from-generated", type=Path, metavar="DIR", help="add the nodules of pairs that `synthct generate` made"
    )
    parser.add_argument(
        "--patches",
        type=Path,
        metavar="DIR",
        help="in place of --library: cut a patch around every nodule, for a training from noise; adds to DIR",
    )
    parser.add_argument("--size", default="56,56", help="of a patch: rows,columns, or slices before (default 56,56)")
    parser.add_argument("--spacing", metavar="X,Y,Z", help="of a patch, in mm (default: the CT's own)")
    parser.add_argument(
        "--classed", action="store_true", help="no patches of nodules whose malignancy is 3 or not known"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace templates or patches of the same name")


def run(options: argparse.Namespace, events: Events) -> None:
    tasks = [options.nodules, options.remove, options.export, options.source, options.from_generated]
    if sum(task is not None for task in tasks) > 1:
        listed = "--nodules, --remove, --export, --import and --from-generated"
        raise UserError("One thing at a time.", f"{listed} exclude each other.")
    if (options.ct is None) != (options.nodules is None):
        raise UserError("--ct and --nodules belong together.", "Templates are cut from a mask and its CT.")
    if (options.library is None) == (options.patches is None):
        raise UserError(
            "Either --library or --patches is needed.", "Templates go into a library, patches into a cohort."
        )
    if options.patches is not None:
        _patches(options, events)
        return

    from synthct.labels.library import (
        export_library,
        import_templates,
        list_templates,
        remove_template,
    )

    if options.nodules is not None:
        _add(options, events)
    elif options.from_generated is not None:
        _add_generated(options, events)
    elif options.source is not None:
        names = import_templates(options.library, options.source, options.overwrite)
        events.result(library=str(options.library), added=names)
        print(f"{len(names)} templates were added to {options.library}: {', '.join(names)}.")
    elif options.export is not None:
        path = export_library(options.library, options.export)
        events.result(output=str(path))
        print(f"{path} is written.")
    elif options.remove is not None:
        remove_template(options.library, options.remove)
        events.result(library=str(options.library), removed=options.remove)
        print(f"{options.remove} was removed.")
    else:
        templates = list_templates(options.library)
        for facts in templates:
            print(_line(facts))
        if not templates:
            print(f"The library {options.library} is empty.")
        events.result(library=str(options.library), templates=templates)


def _add(options: argparse.Namespace, events: Events) -> None:
    from synthct.data.fingerprint import fingerprint
    from synthct.labels.library import add_templates
    from synthct.labels.templates import cut_templates, read_malignancy
    from synthct.volumes.read import read_image

    malignancy = read_malignancy(options.table) if options.table else None
    ct = read_image(options.ct, options.series, options.uneven, events)
    nodules = read_image(options.nodules)
    case = options.case or options.ct.name.removesuffix(".gz").rsplit(".", 1)[0]
    names = (str(options.ct), str(options.nodules))
    templates = cut_templates(ct, nodules, case, options.by, malignancy, events, names)
    origin = {"ct": options.ct.name, "ct_fingerprint": fingerprint([options.ct])}  # a data set asks for it
    for template in templates:
        template.facts["source"] |= origin
    added = add_templates(options.library, templates, options.overwrite)
    for template in templates:
        print(_line({"name": template.name, **template.facts}))
    events.result(library=str(options.library), added=added)
    print(f"{len(added)} templates were added to {options.library}.")


def _add_generated(options: argparse.Namespace, events: Events) -> None:
    from synthct.labels.generated_templates import templates_of_generated
    from synthct.labels.library import add_templates

    templates = templates_of_generated(options.from_generated, events)
    added = add_templates(options.library, templates, options.overwrite)
    events.result(library=str(options.library), added=added)
    print(f"{len(added)} templates were added to {options.library}.")


def _patches(options: argparse.Namespace, events: Events) -> None:
    if options.nodules is None:
        raise UserError(
            "--patches needs --ct and --nodules.", "Patches are cut from a CT around the nodules of a mask."
        )
    from synthct.labels.nodule_patches import add_patches, cut_patches
    from synthct.labels.templates import read_malignancy
    from synthct.volumes.read import read_image

    size, spacing = _numbers("--size", options.size, int), _numbers("--spacing", options.spacing, float)
    malignancy = read_malignancy(options.table) if options.table else None
    ct = read_image(options.ct, options.series, options.uneven, events)
    nodules = read_image(options.nodules)
    case = options.case or options.ct.name.removesuffix(".gz").rsplit(".", 1)[0]
    names = (str(options.ct), str(options.nodules))
    patches = cut_patches(ct, nodules, case, size or (), spacing, options.by, malignancy, names)
    kept = [patch for patch in patches if patch.nodule_class is not None or not options.classed]
    if not kept:
        raise UserError(
            f"No nodule of {options.nodules} has a class.", "Malignancy is 3 or not known.", "Give --table."
        )
    added = add_patches(options.patches, kept, case, options.overwrite, events)
    manifest = options.patches / "cohort.json"
    events.result(output=str(manifest), added=added)
    print(f"{len(added)} of {len(patches)} nodules became patches; train with --cohort {manifest}")


def _numbers(option: str, text: str | None, kind: type) -> list | None:  # type: ignore[type-arg]
    try:
        return None if text is None else [kind(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} cannot be {text}.", todo="Give numbers joined by commas.") from None


def _line(facts: dict) -> str:  # type: ignore[type-arg]
    malignancy = "" if facts.get("malignancy") is None else f"  malignancy {facts['malignancy']:g}"
    return (
        f"{facts['name']:24s} {facts['longest_diameter_mm']:6.1f} mm  {facts['volume_mm3']:9.1f} mm³  "
        f"{facts['hu']['mean']:6.0f} HU{malignancy}"
    )

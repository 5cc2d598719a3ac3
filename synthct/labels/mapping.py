"""Which class each value of another segmentation becomes: a small YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synthct.errors import UserError
from synthct.options import close_match


def read_mapping(path: Path | str, names: Mapping[int, str] | None = None) -> dict[int, str]:
    """Read lines ``number: class`` or ``segment name: class``; return value → class.

    Parameters
    ----------
    path
        YAML file.
    names
        What the segmentation's values are called, where it knows (`synthct.volumes.bulk.segment_names`).

    Raises
    ------
    UserError
        Unreadable, not such lines, a segment that the segmentation does not have, or a value mapped twice.
    """
    import yaml  # not in every Slicer, which loads this file

    path = Path(path).expanduser()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"The mapping {path} does not exist.", todo="Check the path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"The mapping {path} cannot be read.", f"{error}.", "It is YAML: lines like `4: bone`."
        ) from error
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"The mapping {path} is empty or no mapping.", "It has lines like `4: bone` or `lung: fat`.")
    values = {name.casefold(): value for value, name in (names or {}).items()}
    mapping: dict[int, str] = {}
    for key, name in content.items():
        if isinstance(key, bool) or not isinstance(name, str) or not isinstance(key, int | str):
            raise UserError(f"`{key}: {name}` in {path} is no mapping.", "It has lines like `4: bone`.")
        value = key if isinstance(key, int) else values.get(key.strip().casefold())
        if value is None:
            known = ", ".join((names or {}).values()) or "none"
            raise UserError(
                f"The segmentation has no segment {key!r} ({path}).", close_match(str(key), values), f"It has: {known}."
            )
        if value in mapping:
            raise UserError(f"The value {value} stands twice in {path}.", "By number and by name, perhaps.")
        mapping[value] = name
    return mapping

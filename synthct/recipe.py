"""A recipe: every number of one training, read from YAML, typed, and stored with the run.

A preset is a published recipe (``synthct/presets/*.yaml``); a user's own is a copy of that file.
A recipe names networks, methods and scalings of this package and never a class to import.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from synthct.errors import UserError
from synthct.options import Options, close_match, typed
from synthct.overrides import override


@dataclass(frozen=True)
class Preparation:
    """What is done to a case's volumes before any network sees them (row A1)."""

    registration: Literal["none", "rigid", "affine", "bspline"] = "none"
    """CT onto MR: none, rigid, affine or bspline. Identity is kept where the result is no better."""
    bias_correction: bool = False
    """N4 on the MR."""
    remove_couch: bool = False
    """Set everything outside the body in the CT to air."""
    spacing: tuple[float, float, float] | None = None
    """x, y, z in mm of the grid that is trained on; None keeps the MR's own."""
    crop: tuple[float, float, float] | None = None
    """From noise and for classes only: x, y, z in mm that are kept around the middle of the mask, or of the image
    without one (row C2); what lies beyond the image's end is left away. None: everything."""

    def __post_init__(self) -> None:
        _at_least("preparation.spacing", self.spacing, 0.01)
        _at_least("preparation.crop", self.crop, 1)


LABEL_TASK = "label-to-ct"
"""The task of a recipe whose network's input is a label map."""
NOISE_TASK = "noise-to-ct"
"""The task of a recipe whose generator is fed noise and gives images, alone or with the mask that belongs to each."""
CLASS_TASK = "ct-to-class"
"""The task of a recipe whose network tells the classes of images: its features compare sets of images."""
IMAGE_TASKS = (NOISE_TASK, CLASS_TASK)
"""The tasks whose cases are images alone, or with the mask of what is outlined in them."""
PerAxis = float | tuple[float, float, float]
"""A range for each of x (left-right), y (front-back) and z (along the body), or one number; each key says what for."""


@dataclass(frozen=True)
class Elastic:
    """Smooth random displacement with an affine move of its own (row C3); off where its probability is 0.

    Where the affine move of `Augmentation` is drawn too, angles and shifts add up and zooms multiply.
    """

    probability: float = 0.0
    sigma: tuple[float, float] = (5.0, 8.0)
    """Range of the Gaussian, in voxels, that smooths white noise."""
    magnitude: tuple[float, float] = (100.0, 200.0)
    """Range of what the smoothed noise (even between -1 and 1 before) is multiplied by, in voxels, as in MONAI."""
    rotation_degrees: PerAxis = 0.0
    scale: PerAxis = 0.0
    translation_voxels: PerAxis = 0.0

    def __post_init__(self) -> None:
        _affine_ranges("data.augmentation.elastic", self)
        _probability("data.augmentation.elastic.probability", self.probability)
        _at_least("data.augmentation.elastic.sigma", self.sigma, 0.5)
        _at_least("data.augmentation.elastic.magnitude", self.magnitude, 0)
        for name in ("sigma", "magnitude"):
            low, high = getattr(self, name)
            if low > high:
                raise UserError(
                    f"The recipe's `data.augmentation.elastic.{name}` runs from {low:g} to {high:g}.",
                    todo="Give the lower end first.",
                )


@dataclass(frozen=True)
class Resampling:
    """The input as larger voxels would show it (row C3); off where its probability is 0."""

    probability: float = 0.0
    spacings: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5, 3.0)
    """In mm; one is drawn. An axis whose voxels are as large already stays as it is."""

    def __post_init__(self) -> None:
        _probability("data.augmentation.resampling.probability", self.probability)
        _at_least("data.augmentation.resampling.spacings", self.spacings, 0.01)
        if not self.spacings:
            raise UserError(
                "The recipe's `data.augmentation.resampling.spacings` is empty.", todo="Give lengths in mm."
            )


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training sample, input and target alike (intensity: input only). All off by default.

    Ranges along x, y and z are those of the patient whichever plane a slice lies in; rotations keep distances in mm.
    """

    flip: bool = False
    """Left-right mirror image with probability 1/2."""
    affine_probability: float = 1.0
    """Of rotation, zoom and shift together."""
    rotation_degrees: PerAxis = 0.0
    """Drawn from ±this: about x, y and z. One number: in the slice, or about z in a volume."""
    scale: PerAxis = 0.0
    """Zoom drawn from 1 ± this along x, y and z, each by itself. One number: the same zoom along all axes."""
    translation_voxels: PerAxis = 0.0
    """Shift drawn from ±this along x, y and z, in voxels. One number: in the slice, or along x and y in a volume."""
    elastic: Elastic = field(default_factory=Elastic)
    gamma: float = 0.0
    """Input intensity to the power exp(±this)."""
    gamma_probability: float = 1.0
    bias_field: float = 0.0
    """Amplitude of a smooth multiplicative field on the input."""
    bias_field_probability: float = 1.0
    resampling: Resampling = field(default_factory=Resampling)

    def __post_init__(self) -> None:
        _affine_ranges("data.augmentation", self)
        for name in ("affine_probability", "gamma_probability", "bias_field_probability"):
            _probability(f"data.augmentation.{name}", getattr(self, name))
        for name in ("gamma", "bias_field"):
            _at_least(f"data.augmentation.{name}", getattr(self, name), 0)


@dataclass(frozen=True)
class Data:
    """Which samples are drawn from the prepared volumes."""

    planes: tuple[Literal["axial", "coronal", "sagittal"], ...] = ("axial",)
    """Planes that slices are taken from: axial, coronal, sagittal."""
    size: tuple[int, ...] = (256, 256)
    """Rows and columns of a sample; smaller slices are padded, larger ones cropped at random. Three entries: slices,
    rows and columns of a patch, for a 3D network."""
    neighbours: int = 0
    """Slices on either side given to the network as further input channels (2.5D)."""
    paired: bool = True
    """False: input and target slices are drawn independently of each other."""
    body_only: bool = True
    """Leave out slices in which the body covers less than 1 % of the pixels; a patch's centre lies in the body."""
    input_scaling: Options = field(default_factory=lambda: {"name": "umea-mr"})
    target_scaling: Options = field(default_factory=lambda: {"name": "umea-ct"})
    augmentation: Augmentation = field(default_factory=Augmentation)
    fit: Literal["crop", "centre", "resize", "montage"] = "crop"
    """From noise and for classes only: how an image comes to `size`. ``crop``: windows at random places; ``centre``:
    the middle, what is smaller is padded; ``resize``: the whole image, image linear and mask nearest (row C2);
    ``montage``, from noise: all slices side by side on one picture (row C8)."""
    montage_slice: tuple[int, int] = (256, 256)
    """From noise only: rows and columns that a slice has on a montage; it is cut or padded about its middle."""
    masks: Literal["none", "channel", "joined"] = "none"
    """From noise only: the case's mask as a second channel (``channel``), or its slices after the image's along z in
    one channel (``joined``, row C2: the first entry of `size` then counts both)."""
    mask_scaling: Options = field(default_factory=lambda: {"name": "hagan-mask-binary"})
    """From noise (for classes: of masks that are compared later): ``hagan-mask-binary`` takes masks of 0 and 1,
    ``hagan-mask`` those of 0, 1 and 2 (row C2)."""
    classes: tuple[str, ...] = ()
    """From noise: values of the cases' `class_of` that the generator is told; none: it is told nothing. For classes:
    those that are told apart; none: all that the cohort has, which the run's recipe then names."""
    class_of: Literal["diagnosis", "centre"] = "diagnosis"
    """From noise and for classes only: what the manifest says of a case that is its class."""

    def __post_init__(self) -> None:
        _at_least("data.size", self.size, 1)
        _at_least("data.neighbours", self.neighbours, 0)
        if not self.planes:
            raise UserError("The recipe's `data.planes` is empty.", todo="Name axial, coronal or sagittal.")
        if len(self.size) not in (2, 3):
            raise UserError(
                f"The recipe's `data.size` has {len(self.size)} entries.",
                todo="It must have 2 entries (rows, columns) or, for a 3D network, 3 (slices, rows, columns).",
            )
        if len(self.size) == 3 and self.neighbours:
            raise UserError(
                f"The recipe's `data.neighbours` cannot be {self.neighbours} with three entries in `data.size`.",
                "A 3D patch has its neighbouring slices in it.",
                "Set it to 0.",
            )
        if len(self.size) == 3 and self.planes != ("axial",):
            raise UserError(
                f"The recipe's `data.planes` cannot be {', '.join(self.planes)} with three entries in `data.size`.",
                "A 3D patch has no plane; its slices are counted along the body.",
                "Set it to [axial].",
            )


FROM_NOISE_ONLY = ("fit", "montage_slice", "masks", "mask_scaling", "classes", "class_of")
"""Keys of `Data` that mean something for `IMAGE_TASKS` alone."""


@dataclass(frozen=True)
class Training:
    """How long, how much at once, and what is kept."""

    batch: int = 8
    epochs: int = 100
    """Passes over the training slices; ``steps`` overrides it."""
    steps: int | None = None
    """Training steps in all; None: as many as ``epochs`` gives."""
    steps_per_epoch: int | None = None
    """Steps after which validation, sample grid and checkpoint come; None: one pass over the slices."""
    seed: int = 0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = "auto"
    """``auto``: 16-bit mixed where the device has it."""
    ema: float | None = None
    """Decay of the running mean of the weights that is validated and kept; None: the weights themselves."""
    validate_every: int = 1
    """Epochs between validations on whole volumes."""
    patience: int | None = None
    """Stop after this many validations without a better one; None: never."""
    validation_volumes: int | None = None
    """Validate on the first this many cases of the validation part; None: all."""
    workers: int = 0
    """Processes that prepare batches ahead; 0: the training process itself."""

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "steps", "steps_per_epoch", "validate_every", "patience", "validation_volumes"):
            _at_least(f"training.{name}", getattr(self, name), 1)
        _at_least("training.workers", self.workers, 0)
        _at_least("training.seed", self.seed, 0)
        if self.ema is not None and not 0 < self.ema < 1:
            raise UserError(
                f"The recipe's `training.ema` cannot be {self.ema}.", todo="Give a number between 0 and 1, or null."
            )


@dataclass(frozen=True)
class Recipe:
    """One training in full.

    ``networks`` and ``optimisers`` map a role of the method (``generator``, ``discriminator``, ...) to an entry
    ``{"name": ..., options}``; ``method`` is such an entry too. Their options are checked when they are built.
    """

    name: str
    source: str
    """Where the numbers come from."""
    method: Options
    networks: dict[str, Options]
    optimisers: dict[str, Options]
    task: str = "mr-to-ct"
    preparation: Preparation = field(default_factory=Preparation)
    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON/YAML values, every default written out but for keys that are for another task."""
        plain = typing.cast(dict[str, Any], _plain(dataclasses.asdict(self)))
        if self.task not in IMAGE_TASKS:
            for name in FROM_NOISE_ONLY:
                if getattr(self.data, name) == getattr(Data(), name):
                    del plain["data"][name]
            if self.preparation.crop is None:
                del plain["preparation"]["crop"]
        return plain


PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Names of the presets that come with the package, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a preset by name or a recipe by path, then apply ``overrides`` (dotted key → YAML text or plain value).

    A key may leave out leading parts where that is unambiguous: ``batch`` for ``training.batch``,
    ``generator.width`` for ``networks.generator.width``. An option of a network, method, optimiser or scaling need
    not stand in the file: ``networks.generator.dropout``. A value may be a whole entry: ``{name: unet, width: 16}``.

    Raises
    ------
    UserError
        Unknown preset, unreadable file, unknown key or a value of the wrong type; the message names it.
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(
                f"The recipe {path} does not exist.", todo="Give the path of a YAML file or a preset's name."
            )
    else:
        path = PRESETS / f"{name_or_path}.yaml"
        if not path.is_file():
            raise UserError(
                f"There is no preset named {name_or_path}.",
                close_match(str(name_or_path), preset_names()),
                "`synthct presets` lists them.",
            )
    try:
        content = plain_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"The recipe {path} cannot be read.", f"{error}.", "Correct the file.") from error
    if not isinstance(content, dict):
        raise UserError(f"The recipe {path} is not a list of keys and values.", todo="Copy a preset and edit that.")
    for key, text in (overrides or {}).items():
        override(content, Recipe, key, _override_value(key, text))
    return recipe_from_dict(content, str(path))


def recipe_from_dict(content: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """Build a typed recipe from plain values; ``origin`` is named in errors."""
    return typing.cast(Recipe, typed(Recipe, content, origin))


def _at_least(key: str, value: float | tuple[float, ...] | None, least: float) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if any(number is not None and not number >= least for number in values):
        raise UserError(f"The recipe's `{key}` cannot be {value}.", todo=f"Give {least:g} or more.")


def _probability(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"The recipe's `{key}` cannot be {value:g}.", todo="Give a number between 0 and 1.")


def _affine_ranges(key: str, owner: Elastic | Augmentation) -> None:
    for name in ("rotation_degrees", "scale", "translation_voxels"):
        _at_least(f"{key}.{name}", getattr(owner, name), 0)
    scale = owner.scale if isinstance(owner.scale, tuple) else (owner.scale,)
    if not max(scale) < 1:
        raise UserError(
            f"The recipe's `{key}.scale` cannot be {owner.scale}.",
            "It is how far the zoom may lie from 1: 0.15 stands for 0.85 to 1.15.",
            "Give less than 1.",
        )


class _Loader(yaml.SafeLoader):
    """YAML 1.2's floats: PyYAML's own take 2e-5 for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _override_value(key: str, text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return plain_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"The value of --{key} cannot be read: {text}", f"{error}.") from error


def plain_yaml(text: str) -> Any:
    """Return the plain values that ``text`` holds; 2e-5 is a number, as in YAML 1.2."""
    return yaml.load(text, Loader=_Loader)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

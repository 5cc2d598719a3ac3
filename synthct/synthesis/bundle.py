"""A model as a MONAI bundle, which MONAI alone runs to the same voxels.

The network is written as TorchScript (``models/model.ts``): it needs no class of ours, and unlike a pickled state it is
loaded by `torch.jit.load`, which runs the network and nothing else. It holds padding, tiles and windows too
(`synthct.synthesis.tiled_slices`), which MONAI's inferers blend otherwise. All around it is
``configs/inference.json`` in MONAI's transforms and inferers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from synthct.data.whole_folder import whole_folder
from synthct.errors import UserError
from synthct.events import SILENT, Events
from synthct.networks.one_hot import OneHotInput
from synthct.synthesis.card import PLANES
from synthct.synthesis.model_file import Model, load_model
from synthct.synthesis.tiled_slices import ClassChannels, TiledSlices, WindowedVolume
from synthct.volumes.hu import AIR_HU
from synthct.volumes.label_numbers import OUTSIDE_BODY, label_beyond
from synthct.volumes.scaling import Scaling, make_scaling

_FIT_SAMPLE = 2_000_000
"""As many voxels as `synthct.volumes.scaling` takes percentiles from."""
_TRACE_SIDE = 64


def export_bundle(model: Model | Path | str, folder: Path | str, events: Events = SILENT) -> Path:
    """Write a MONAI bundle of a model and return its folder.

    What ``monai.bundle run`` makes of a NIfTI with it equals what `synthct.synthesis.files.synthesize_file` makes, for
    the first of the model's planes, within the rounding of one HU. Steps before the network that MONAI does not have
    (bias field, the model's spacing, the body) are named in ``configs/metadata.json`` and in a warning event.

    Parameters
    ----------
    model
        In memory, or as for `load_model`.
    folder
        New folder; an existing one is not replaced.
    events
        Hears of the steps that remain the user's.

    Raises
    ------
    UserError
        No model, one that does not translate, or a folder that exists or cannot be written.
    """
    folder = Path(folder).expanduser()
    if folder.exists():
        raise UserError(f"{folder} exists already.", "A bundle is a new folder.", "Choose another name.")
    model = model if isinstance(model, Model) else load_model(model)
    if model.card["out_channels"] != 1:
        raise UserError(f"The model {model.card['name']} gives no HU.", "Models that translate are exported alone.")
    steps = required_steps(model.card)
    network = _scripted(model)
    with whole_folder(folder) as aside:
        for name in ("configs", "models", "docs"):
            (aside / name).mkdir()
        network.save(str(aside / "models/model.ts"))
        _write_json(aside / "configs/inference.json", inference_config(model.card))
        _write_json(aside / "configs/metadata.json", _metadata(model.card, steps))
        (aside / "docs/README.md").write_text(_readme(model.card, steps), encoding="utf-8")
        (aside / "LICENSE").write_text(_LICENSE.format(name=model.card["name"]), encoding="utf-8")
    for step in steps:
        events.warning("The bundle cannot do one step by itself.", step, "It is written into its metadata.")
    return folder


def required_steps(card: Mapping[str, Any]) -> list[str]:
    """Return, in sentences, what has to be done to an MR or label map before it is what the network takes."""
    steps = []
    classes = make_scaling(card["input_scaling"]).classes
    image = "MR" if classes is None else "label map"
    if card.get("bias_correction"):
        steps.append(
            "Correct the MR's bias field first (N4, as `synthct preprocess` does): MONAI has no such transform."
        )
    if any(card.get("spacing") or ()):
        lengths = " x ".join("own" if not length else f"{length:g}" for length in card["spacing"])
        steps.append(
            f"Resample the {image} to {lengths} mm first (left-right, front-back, head-foot"
            f"{'' if classes is None else '; by nearest neighbour'}); the result is on that grid."
        )
    if _is_fitted(make_scaling(card["input_scaling"])):
        steps.append(
            "Give a mask of the body on the MR's grid as `body`: the intensities are scaled by percentiles inside it, "
            "and outside it the result is air."
        )
    elif classes is not None:
        steps.append(f"Give whole numbers from 0 to {classes - 1} alone: others are not refused, and mean no class.")
        if card.get("body_only"):
            steps.append(
                f"Where no voxel has the class {OUTSIDE_BODY}, outside the body, give a mask of the body as `body`: "
                "the network learned inside it alone; outside is made air."
            )
    elif card.get("body_only"):
        steps.append("Give a mask of the body as `body`: the network learned inside it alone; outside is made air.")
    return steps


def inference_config(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``configs/inference.json``: everything around the network, in MONAI's words."""
    scaling, target = make_scaling(card["input_scaling"]), make_scaling(card["target_scaling"]).range
    fitted = _is_fitted(scaling)
    three_dimensional = len(card["size"]) == 3
    axis = PLANES.index(card["planes"][0])
    neighbours = int(card.get("neighbours", 0))
    around = [0] * 6
    around[2 * (2 - axis)] = around[2 * (2 - axis) + 1] = neighbours
    step = f"max(1, round((@volume.numel() / {_FIT_SAMPLE}) ** (1 / 3)))"
    lattice = f"0, ::{step}, ::{step}, ::{step}"
    inside = f"@volume[{lattice}][@body_volume[{lattice}] > 0].numpy().astype('float64')"
    labels = scaling.classes is not None
    around_it = "$@scaled.min()"
    if scaling.classes is not None:
        beyond = scaling.apply(np.array([label_beyond(scaling.classes)], np.float32))
        around_it = f"$torch.tensor({float(beyond[0])})"
    found = f"@volume != {OUTSIDE_BODY}" if labels else "None"
    low, high = card["hu_range"]
    air = max(AIR_HU, math.ceil(low))
    config: dict[str, Any] = {
        "imports": ["$import functools", "$import numpy as np", "$import torch", "$import monai"],
        "bundle_root": ".",
        "input": "$@bundle_root + '/input.nii.gz'",
        "body": "$@bundle_root + '/body.nii.gz'" if fitted else None,
        "output_dir": "$@bundle_root + '/output'",
        "output_postfix": "sCT",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device).eval()",
        "load": {"_target_": "LoadImage", "image_only": True, "ensure_channel_first": True},
        "orientation": {"_target_": "Orientation", "axcodes": "LPS"},
        "image": "$@orientation(@load(@input))",
        "volume": "$@image.as_tensor().permute(0, 3, 2, 1)",
        "body_volume": f"${found} if @body is None else @orientation(@load(@body)).as_tensor().permute(0, 3, 2, 1)",
        "limits": f"$np.percentile({inside}, {list(scaling.percentiles or ())})" if fitted else list(scaling.range),
        "scaling": {
            "_target_": "ScaleIntensityRange",
            "a_min": "$float(@limits[0])",
            "a_max": "$float(@limits[1])",
            "b_min": -1.0,
            "b_max": 1.0,
            "clip": scaling.clip,
        },
        "scaled": "$@scaling(@volume)",
        "lowest": around_it,
        "channels": "$@scaled[None]",
        "predictor": "$functools.partial(@network, lowest=@lowest)",
    }
    if three_dimensional:
        config["inferer"] = {"_target_": "SimpleInferer"}
    else:
        config["inferer"] = {
            "_target_": "SliceInferer",
            "spatial_dim": axis,
            "roi_size": [-1, -1],
            "sw_batch_size": 1,
            "sw_device": "@device",
            "device": "$torch.device('cpu')",
        }
    if neighbours:
        config["channels"] = (
            f"$torch.nn.functional.pad(@scaled[None], {around}, mode='replicate')"
            f".unfold({axis + 2}, {2 * neighbours + 1}, 1)[:, 0].movedim(-1, 1).contiguous()"
        )
    return {
        **config,
        "inverse_scaling": {
            "_target_": "ScaleIntensityRange",
            "a_min": -1.0,
            "a_max": 1.0,
            "b_min": target[0],
            "b_max": target[1],
        },
        "prediction": "$torch.inference_mode()(@inferer)(inputs=@channels, network=@predictor)[0]",
        "hu": f"$torch.round(torch.clamp(@inverse_scaling(@prediction), {math.ceil(low)}, {math.floor(high)}))",
        "masked": f"$@hu if @body_volume is None else torch.where(@body_volume > 0, @hu, {float(air)})",
        "placed": "$monai.data.MetaTensor(@masked.permute(0, 3, 2, 1), meta=@image.meta, "
        "applied_operations=@image.applied_operations)",
        "restored": "$@orientation.inverse(@placed)",
        "save": {
            "_target_": "SaveImage",
            "output_dir": "@output_dir",
            "output_postfix": "@output_postfix",
            "output_dtype": "$np.int16",
            "resample": False,
            "separate_folder": False,
        },
        "run": ["$@save(@restored)"],
    }


def _scripted(model: Model) -> torch.jit.ScriptModule:
    card, network = model.card, model.network.cpu().eval()
    size = [int(side) for side in card["size"]]
    classes = network.labels.classes if isinstance(network, OneHotInput) else 0
    network = network.network if isinstance(network, OneHotInput) else network

    def traced(sides: Sequence[int]) -> nn.Module:
        example = torch.zeros(1, card["in_channels"], *sides)
        plain: nn.Module = torch.jit.trace(network, example, check_trace=False)
        return ClassChannels(plain, classes, len(sides)) if classes else plain

    if len(size) == 3:
        windowed = WindowedVolume(traced(size), (size[0], size[1], size[2]))
        whole: torch.jit.ScriptModule = torch.jit.script(windowed.eval())
        return whole
    side = max(model.divisor, _TRACE_SIDE // model.divisor * model.divisor)
    tiled = TiledSlices(traced((side, side)), (size[0], size[1]), model.divisor)
    scripted: torch.jit.ScriptModule = torch.jit.script(tiled.eval())
    return scripted


def _is_fitted(scaling: Scaling) -> bool:
    """Whether the scaling is taken from each volume's body."""
    return scaling.percentiles is not None and scaling.low is None


def _metadata(card: Mapping[str, Any], steps: list[str]) -> dict[str, Any]:
    import monai

    kind = "magnitude" if make_scaling(card["input_scaling"]).classes is None else "segmentation"
    image = {"type": "image", "format": kind, "num_channels": 1, "dtype": "float32", "is_patch_data": False}
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": "1.0.0",
        "changelog": {"1.0.0": "Exported from SyntheticCT."},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": "5.2"},
        "name": card["name"],
        "task": f"{card['input']} to synthetic {card['target']}",
        "description": f"{card['input']} to synthetic {card['target']} in HU, exported from SyntheticCT.",
        "authors": "see the model's card",
        "copyright": "see LICENSE",
        "intended_use": card.get("intended_use") or "Research only; not a medical device.",
        "network_data_format": {
            "inputs": {"image": {**image, "modality": card["input"], "channel_def": {"0": card["input"]}}},
            "outputs": {
                "pred": {
                    **image,
                    "format": "hounsfield",
                    "modality": "CT",
                    "dtype": "int16",
                    "value_range": card["hu_range"],
                    "channel_def": {"0": "HU"},
                }
            },
        },
        "required_preparation": steps,
        "model_card": {key: value for key, value in card.items() if key != "statistics"},
    }


def _readme(card: Mapping[str, Any], steps: list[str]) -> str:
    image = card["input"]
    body = " --body BODY.nii.gz" if any("`body`" in step for step in steps) else ""
    before = "".join(f"- {step}\n" for step in steps) or f"Nothing: the {image} is taken as it is.\n"
    use = card.get("intended_use") or "Research only."
    return _README.format(name=card["name"], image=image, use=use, before=before, body=body)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_README = """# {name}

{image} to synthetic CT. {use}

## Before

{before}
## Run

```
python -m monai.bundle run --config_file BUNDLE/configs/inference.json --bundle_root BUNDLE \\
    --input INPUT.nii.gz{body} --output_dir FOLDER
```

`FOLDER` then holds the synthetic CT, int16 HU on the grid of the {image}. It needs MONAI with nibabel and fire, not
SyntheticCT. `models/model.ts` is TorchScript: load it with `torch.jit.load`. What the model was trained on stands in
`configs/metadata.json` under `model_card`.
"""

_LICENSE = """The configuration files of this bundle were written by SyntheticCT and are under the Apache License 2.0.

The weights of the model {name} belong to whoever trained it. Exporting them grants no licence: ask that person, and
mind what the consent of the patients in its training data allows.
"""

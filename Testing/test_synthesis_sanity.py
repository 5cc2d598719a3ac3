"""What is refused and what is warned of before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from synthesis_models import centre_model

from synthct.errors import UserError
from synthct.events import Events
from synthct.synthesis.likeness.watch import Watch
from synthct.synthesis.translate import translate


def array(kind=np.float32):
    return np.random.default_rng(0).uniform(0, 1500, (8, 20, 24)).astype(kind)


def warnings_of(image, **card):
    events = []
    translate(image, centre_model(**card), device="cpu", events=Events(listener=events.append), name="leg.nii.gz")
    return [event["what"] for event in events if event["kind"] == "warning"]


def reasons_of(image, **card):
    model = centre_model(**card)
    with Watch(model) as watch:
        translate(image, model, device="cpu", watch=watch)
    return watch.likeness.reasons


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a * 0 + 7, "constant: every voxel is 7"),
        (lambda a: np.where(a > 1490, np.nan, a), "NaN"),
        (lambda a: np.where(a > 1490, np.inf, a), "NaN or infinite"),
        (lambda a: np.where(a > 1490, -np.inf, a), "NaN or infinite"),
    ],
)
def test_unusable_values_are_refused_by_name(change, word):
    image = sitk.GetImageFromArray(change(array()).astype(np.float32))
    with pytest.raises(UserError, match=word) as caught:
        translate(image, centre_model(), device="cpu", name="leg.nii.gz")
    assert "leg.nii.gz" in caught.value.what and caught.value.todo


@pytest.mark.parametrize("size", [(20, 20), (20, 20, 1), (4, 4, 4, 4)])
def test_what_is_no_volume_is_refused(size):
    with pytest.raises(UserError):
        translate(sitk.Image(size, sitk.sitkInt16), centre_model(), device="cpu")


def test_colours_are_refused():
    with pytest.raises(UserError, match="one value per voxel"):
        translate(sitk.Image((8, 8, 8), sitk.sitkVectorUInt8, 3), centre_model(), device="cpu")


def test_a_ct_is_warned_of_and_translated():
    image = sitk.GetImageFromArray((array() - 1000).astype(np.int16))
    assert warnings_of(image) == ["leg.nii.gz looks like a CT."]
    assert warnings_of(image, input="CT") == []
    assert warnings_of(sitk.GetImageFromArray(array(np.int16))) == []


def test_an_input_unlike_the_training_inputs_is_warned_of():
    statistics = {
        "spacing_mm": [[1.0, 1.2], [1.0, 1.2], [3.0, 3.0]],
        "extent_mm": [[24.0, 28.8], [18.0, 24.0], [24.0, 24.0]],
        "intensity_p99": [1485.0, 1485.0],
    }
    image = sitk.GetImageFromArray(array())
    image.SetSpacing((1.1, 1.1, 3.0))
    assert reasons_of(image, statistics=statistics) == ()
    image.SetSpacing((1.1, 1.1, 6.5))
    assert len(reasons_of(image, statistics=statistics)) == 2  # spacing and extent
    assert len(reasons_of(image, statistics=statistics, spacing=[0, 0, 3.0])) == 1  # resampled: the extent only
    bright = sitk.GetImageFromArray(array() * 20)
    bright.SetSpacing((1.1, 1.1, 3.0))
    assert "another scale" in reasons_of(bright, statistics=statistics)[0]
    fitted = {"name": "mr-percentile", "low": 1, "high": 99}
    assert not any("scale" in text for text in reasons_of(bright, statistics=statistics, input_scaling=fitted))


@pytest.mark.parametrize("statistics", [None, [], {"spacing_mm": 3}, {"intensity_p99": ["a", "b"]}])
def test_a_card_without_usable_statistics_compares_nothing(statistics):
    assert reasons_of(sitk.GetImageFromArray(array()), statistics=statistics) == ()


def test_planes_that_were_not_trained_are_warned_of():
    events = []
    translate(
        sitk.GetImageFromArray(array()),
        centre_model(planes=["axial"]),
        ("axial", "coronal"),
        device="cpu",
        events=Events(listener=events.append),
    )
    assert any("not trained on coronal" in event.get("what", "") for event in events)

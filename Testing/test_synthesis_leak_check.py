"""Copies of training cases are found among generated images; new patients, mean ones and noise are left in peace."""

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import phantom_pair

from synthct.errors import UserError
from synthct.synthesis.generation.leak_check import LeakCheck, coarse_features
from synthct.volumes.scaling import make_scaling

SCALING = make_scaling({"name": "hagan-ct"})


def phantom(seed, shape=(16, 24, 24)):
    return SCALING.apply(sitk.GetArrayFromImage(phantom_pair(shape, seed)[1]))


@pytest.fixture(scope="module")
def training():
    return [phantom(seed) for seed in range(20)]


@pytest.fixture(scope="module")
def check(training):
    names = [f"case_{number}" for number in range(len(training))]
    return LeakCheck(training, names, names)


@pytest.mark.parametrize("number", [0, 7, 19])
def test_a_planted_copy_is_found_with_its_name(check, training, number):
    noise = np.random.default_rng(number).normal(0, 0.05, training[0].shape).astype(np.float32)
    mirrored = training[number][..., ::-1]
    for copy in (training[number], training[number] + noise, 0.97 * training[number] + 0.01, mirrored):
        found = check.nearest(copy.astype(np.float32))
        assert found.flagged
        assert found.case == found.similar_case == f"case_{number}"
        assert f"case_{number}" in found.reasons[0]
        assert found.to_dict()["too_close"] is True
        assert np.abs(check.picture(found.place) - training[number]).max() < 1e-6


def test_fresh_patients_pass(check):
    found = [check.nearest(phantom(seed)) for seed in range(100, 130)]
    assert not any(one.flagged for one in found)
    assert {one.to_dict()["too_close"] for one in found} == {False}


def test_a_mean_patient_and_noise_pass(check, training):
    """What a generator makes before it has learned, and one that knows the mean patient alone."""
    assert not check.nearest(np.mean(training, axis=0)).flagged
    rng = np.random.default_rng(0)
    assert not check.nearest(rng.uniform(-1, 1, training[0].shape).astype(np.float32)).flagged
    assert not check.nearest(np.full(training[0].shape, -1.0, np.float32)).flagged


def test_two_scans_of_a_patient_do_not_make_everything_near(training):
    """A second scan of the first five patients, nearly the same, would say that copies are how near patients come."""
    second = [image + np.float32(0.002) for image in training[:5]]
    patients = [f"p{number}" for number in range(20)] + [f"p{number}" for number in range(5)]
    both = LeakCheck([*training, *second], patients, patients)
    for number in (0, 12):
        assert both.nearest(training[number] + np.float32(0.01)).flagged
    strangers = LeakCheck([*training, *second], patients, [f"q{number}" for number in range(25)])
    near, found = (check.nearest(training[0] + np.float32(0.01)) for check in (strangers, both))
    assert not near.flagged
    assert near.distance_limit < 0.1 * found.distance_limit


def test_what_several_patients_share_is_nobodys():
    """A slice of air is in every patient; one with the body in it is one patient's."""
    slices = [image for seed in range(6) for image in (np.full((24, 24), -1, np.float32), phantom(seed)[8])]
    cases = [f"case_{number // 2}" for number in range(12)]
    check = LeakCheck(slices, cases, cases)
    assert not check.nearest(slices[0]).flagged
    assert check.nearest(slices[3]).flagged


def test_slices_are_checked_too():
    slices = [phantom(seed)[8] for seed in range(12)]
    names = [f"case_{number}" for number in range(12)]
    check = LeakCheck(slices, names, names)
    assert check.nearest(slices[3]).case == "case_3"
    assert check.nearest(slices[3]).flagged
    assert not check.nearest(phantom(200)[8]).flagged


def test_features_are_means_of_blocks():
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert coarse_features(image).tolist() == list(range(12))
    long = np.arange(32, dtype=np.float32).reshape(1, 32)
    assert coarse_features(long).tolist() == [1.5 + 4 * number for number in range(8)]


def test_what_cannot_be_measured_is_refused(training):
    with pytest.raises(UserError, match="one patient"):
        LeakCheck(training[:3], ["a", "b", "c"], ["p", "p", "p"])
    with pytest.raises(UserError, match="same image"):
        LeakCheck([training[0]] * 3, ["a", "b", "c"], ["p", "q", "r"])

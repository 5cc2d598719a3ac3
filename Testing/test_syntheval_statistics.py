"""Statistics in SynthEval: the columns of a table are offered, a real job tests it; kept with the scene; bad input."""

import csv

import numpy as np
import pytest
from syntheval_scene import finish, open_window

from synthct.errors import UserError
from synthct.scene.evaluation.key_values import key_values


@pytest.fixture
def window(slicer_host):
    widget = open_window(slicer_host)
    widget.ui.statisticsButton.collapsed = False
    yield widget
    widget.statistics.close()


@pytest.fixture
def scores(tmp_path):
    """Twelve patients, three training sets; the second is better by 2 on average, the third equal but for noise."""
    random = np.random.default_rng(0)
    base = random.uniform(30, 70, 12)
    path = tmp_path / "Werte ä.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["training_set", "patient", "lesion_present", "dice_percent"])
        for name, shift in (("real", 0.0), ("mixed", 2.0), ("other", 0.0)):
            for number, value in enumerate(base + shift + random.normal(0, 0.5, 12) * (name != "real")):
                writer.writerow([name, f"p{number:02d}", "yes" if number < 9 else "no", value])
    return path


def test_a_table_of_scores_is_tested(slicer_host, window, scores, tmp_path):
    import slicer
    from scipy import stats

    from synthct.scene.evaluation.tables import rows_of

    ui, node = window.statistics.ui, window.parameters()
    assert not ui.testButton.enabled and "table" in ui.testButton.toolTip and not ui.resultsTabs.visible
    assert not ui.takeCohortButton.enabled and not ui.takeExperimentButton.enabled
    ui.scoresPathEdit.currentPath = str(scores)
    assert (ui.groupComboBox.currentText, ui.unitComboBox.currentText) == ("training_set", "patient")
    assert [ui.baselineComboBox.itemText(place) for place in range(3)] == ["real", "mixed", "other"]
    assert ui.testButton.enabled
    ui.whereEdit.text = "lesion_present=yes"
    ui.marginSpinBox.value = 1.0
    ui.testButton.click()
    assert ui.testButton.text == "Cancel" and ui.progressBar.visible
    finish(slicer_host, window.statistics)
    with open(scores, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["lesion_present"] == "yes"]
    values = {
        name: [float(row["dice_percent"]) for row in rows if row["training_set"] == name]
        for name in ("real", "mixed", "other")
    }
    tests = {row["group"]: row for row in rows_of(node.statisticsTests)}
    assert set(tests) == {"mixed", "other"}
    for name, row in tests.items():
        assert float(row["n"]) == 9
        assert float(row["p_t"]) == pytest.approx(stats.ttest_rel(values[name], values["real"]).pvalue)
        assert float(row["p_t_holm"]) >= float(row["p_t"])
    assert float(tests["other"]["p_tost"]) < 0.05 < float(tests["mixed"]["p_tost"])
    groups = {row["group"]: row for row in rows_of(node.statisticsGroups)}
    assert float(groups["real"]["mean"]) == pytest.approx(np.mean(values["real"]))
    assert ui.testsTable.rowCount == 2 and "Holm" in ui.testsTable.horizontalHeaderItem(4).toolTip()
    assert ui.testsTable.horizontalHeaderItem(7).text() == "p (equal)"
    assert "Against <b>real</b>" in ui.statusLabel.text

    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    assert not ui.resultsTabs.visible and not ui.testButton.enabled
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    slicer_host.wait_until(lambda: window.parameters() is not None and ui.resultsTabs.visible)
    assert ui.testsTable.rowCount == 2 and ui.whereEdit.text == "lesion_present=yes"
    assert "Holm" in ui.testsTable.horizontalHeaderItem(4).toolTip()
    assert not slicer_host.errors


def test_the_group_and_baseline_follow_the_choice(slicer_host, window, scores):
    ui, node = window.statistics.ui, window.parameters()
    ui.scoresPathEdit.currentPath = str(scores)
    ui.baselineComboBox.setCurrentText("mixed")
    window.statistics._on_columns()
    assert node.statisticsBaseline == "mixed"
    ui.groupComboBox.setCurrentText("lesion_present")
    window.statistics._on_columns()
    assert node.statisticsBaseline == "yes" and ui.baselineComboBox.count == 2
    ui.unitComboBox.setCurrentText("lesion_present")
    window.statistics._on_columns()
    assert not ui.testButton.enabled  # the groups cannot pair themselves


@pytest.mark.parametrize(
    ("where", "said"), [("lesion_present", "KEY=VALUE"), ("lesion_present=perhaps", "lesion_present=perhaps")]
)
def test_a_condition_that_cannot_be_is_named(slicer_host, window, scores, where, said):
    ui, node = window.statistics.ui, window.parameters()
    ui.scoresPathEdit.currentPath = str(scores)
    ui.whereEdit.text = where
    ui.testButton.click()
    finish(slicer_host, window.statistics)
    assert said in ui.statusLabel.text and node.statisticsTests is None
    assert slicer_host.dialogs and not [error for error in slicer_host.errors if "answer" not in error]


def test_one_group_alone_and_a_table_that_is_gone(slicer_host, window, scores):
    ui, node = window.statistics.ui, window.parameters()
    lines = scores.read_text(encoding="utf-8").splitlines()
    scores.write_text("\n".join(lines[:13]) + "\n", encoding="utf-8")
    ui.scoresPathEdit.currentPath = str(scores)
    ui.testButton.click()
    finish(slicer_host, window.statistics)
    assert "Nothing could be compared" in ui.statusLabel.text and node.statisticsTests is None
    assert ui.groupsTable.rowCount == 1  # what the one group has is shown all the same
    scores.unlink()
    window.statistics.update()
    assert not ui.testButton.enabled and "cannot be read" in ui.testButton.toolTip


def test_conditions_and_keys_in_one_line():
    assert key_values(" a=b ;; c.d = [1, 2];", "x") == {"a": "b", "c.d": "[1, 2]"}
    assert key_values("", "x") == {}
    with pytest.raises(UserError, match="has “=b”"):
        key_values("a=1; =b", "x")

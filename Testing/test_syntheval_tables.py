"""Tables and charts of SynthEval as a saved scene brings them back, whatever stands in their cells."""

import math

import pytest


def test_a_table_comes_back_as_it_was(slicer_host, tmp_path):
    import slicer

    from synthct.scene.evaluation.charts import RED, Line, draw
    from synthct.scene.evaluation.tables import fill_table, rows_of

    columns = {
        "case": ["", " Anna  Ä ", 'a "b"\tc', "d, e; f"],
        'the "best"': [1.0, math.nan, math.inf, -2.5],
        "notes": ["", "x", "", '"'],
    }
    table = fill_table(None, "Tabelle", columns)
    before = rows_of(table)
    assert [row["case"] for row in before] == ["–", "Anna  Ä", "a 'b' c", "d, e; f"]
    chart = draw(
        None, "Kurve", {"x": [0.0, 1.0], 'PTV "1"': [2.0, math.nan]}, [Line('PTV "1"', RED, "PTV")], ("x", "y")
    )
    slicer.util.saveScene(str(tmp_path / "Szene.mrb"))
    slicer_host.close_scene()
    slicer.util.loadScene(str(tmp_path / "Szene.mrb"))
    after = rows_of(slicer.util.getNode("Tabelle"))
    assert [row["case"] for row in after] == [row["case"] for row in before]
    assert [row["notes"] for row in after] == ["", "x", "", "'"]
    values = [float(row["the 'best'"]) for row in after]
    assert values[0] == 1 and math.isnan(values[1]) and values[2:] == [math.inf, -2.5]
    series = slicer.util.getNode("Kurve").GetNthPlotSeriesNode(0)
    drawn = series.GetTableNode().GetTable().GetColumnByName(series.GetYColumnName())
    assert drawn.GetValue(0) == pytest.approx(2) and math.isnan(drawn.GetValue(1))
    assert chart is not None and not slicer_host.errors

"""Distances between the splits of scenes: of the regions that are held out, and of days."""

from __future__ import annotations

import datetime as dt
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tests import days, scenes

from nunatak.apart import apart, between
from nunatak.errors import DataError
from nunatak.ops.split import TEST, TRAIN, VALIDATION

NUMBERS = {"training": TRAIN, "validation": VALIDATION, "test": TEST}


def index(*places: str) -> pd.DataFrame:
    """A tile of each place, whose name begins with its split."""
    kinds = [NUMBERS[place.partition("_")[0]] for place in places]
    return pd.DataFrame({"place": list(places), "row": 0, "col": 0, "split": kinds})


# Regions


def square(group: str, left: float, bottom: float = 0, **change: Any) -> dict[str, Any]:
    """A region of ten degrees in cells of one."""
    box = (left, bottom, left + 10, bottom + 10)
    given = {"crs": "EPSG:4326", "shape": (10, 10), "bounds": box, **change}
    return scenes.scene("2010-01-01", group, **given)


def told(buffer: float = 0, **found: dict[str, Any]) -> dict[str, Any]:
    """What is told of the regions of training, validation and test."""
    recipe = scenes.recipe(found, split={"buffer": buffer})
    regions: dict[str, Any] = apart(recipe, index(*found))["regions"]
    return regions


def test_the_least_distance_of_regions_is_told_in_coarse_cells() -> None:
    found = told(
        training_a=square("a", 0),
        training_b=square("b", -60, 40),
        validation=square("c", 14),
        test=square("d", 25, 12),
    )
    assert found == {
        "required": 1,
        "training-validation": 4,
        "training-test": 15,
        "validation-test": 2,
    }


def test_a_coarse_cell_is_that_of_the_recipe() -> None:
    found = {"training": square("a", 0), "test": square("b", 15)}
    recipe = days.recipe(found, grid={"scale": 5})
    assert apart(recipe, index(*found))["regions"]["training-test"] == 1


@pytest.mark.parametrize("left", [-180, 180, 540])
def test_regions_are_near_across_the_date_line(left: float) -> None:
    found = told(training=square("a", left), validation=square("b", 0), test=square("c", 167))
    assert found["training-test"] == 3
    assert found["training-validation"] == 170


@pytest.mark.parametrize(
    ("left", "bottom", "distance"),
    [(10, 0, "0"), (350, 5, "0"), (10, -10, "0"), (9, 9, "-1"), (0, 0, "-10"), (10.5, 0, "0.5")],
)
def test_regions_of_two_splits_that_touch_are_refused(
    left: float, bottom: float, distance: str
) -> None:
    near = {"training": square("learnt", 0), "test": square("held", left, bottom)}
    said = rf"learnt \(training\) and held \(test\) lie {distance} coarse cells apart"
    with pytest.raises(DataError, match=said) as caught:
        told(**near)
    assert "regions of different splits 1 coarse cells apart" in str(caught.value)
    assert "move or shrink one of them" in str(caught.value)


def test_validation_too_keeps_from_training_and_from_test() -> None:
    for one, other in combinations(NUMBERS, 2):
        with pytest.raises(DataError, match=rf"a \({one}\) and b \({other}\)"):
            told(**{one: square("a", 0), other: square("b", 10)})


def test_regions_keep_the_buffer_in_units_of_the_crs() -> None:
    near = {"training": square("a", 0), "test": square("b", 13)}
    assert told(3, **near)["required"] == 3
    with pytest.raises(DataError, match="lie 3 coarse cells apart"):
        told(3.5, **near)


def test_regions_that_lie_nowhere_or_in_two_systems_are_not_measured() -> None:
    found = told(
        training=scenes.lost("2010-01-01", group="a"),
        validation=square("b", 0, crs="EPSG:3857"),
        test=square("c", 0),
    )
    assert found.pop("required") == 1
    assert set(found.values()) == {None}


def test_many_scenes_of_a_group_may_overlap_and_train_and_validate() -> None:
    found = told(
        training_a=square("a", 0),
        training_b=square("a", 2),
        validation=square("a", 0),
        test_a=square("b", 14),
        test_b=square("b", 16),
    )
    assert found == {
        "required": 1,
        "training-validation": None,
        "training-test": 2,
        "validation-test": None,
    }


# The boxes of the catalogue that a recipe holds out: where its split is, and its scale.
HELD: dict[str, tuple[str, int | None, int]] = {
    "duacs_days": ("recipes/ssh.yaml", None, 9),
    "roms_arctic": ("ssh.yaml", 2, 3),
    "mur25_korea": ("sst.yaml", 0, 5),
    "ostia_peninsula": ("sst.yaml", 1, 5),
}


@pytest.mark.parametrize("name", HELD)
def test_regions_held_out_lie_two_coarse_cells_from_all_others(root: Path, name: str) -> None:
    file, run, scale = HELD[name]
    given = yaml.safe_load((root / "config" / file).read_text(encoding="utf-8"))
    split = given["split"] if run is None else given["runs"][run]["set"]["split"]
    source = yaml.safe_load((root / "config" / "sources.yaml").read_text(encoding="utf-8"))[name]
    args, boxes = split["by"]["args"], source["reader"]["args"]["regions"]
    labels = dict.fromkeys(args["test"], "test")
    labels |= dict.fromkeys(args["validation"], "validation")
    assert set(labels) < set(boxes)
    side, turns = source["resolution"] * scale, source["crs"] == "EPSG:4326"
    for one, other in combinations(boxes, 2):
        if labels.get(one) != labels.get(other):
            far = between(boxes[one], boxes[other], geographic=turns)
            assert far >= 2 * side - 1e-6, (one, other)
    cells = np.array([np.subtract(box[2:], box[:2]) / side for box in boxes.values()])
    assert abs(cells - cells[0].round()).max() < 1e-6, "of one size, a whole number of coarse cells"


# Days


PERIODS = {"test": [["2018-01-01", "2018-01-02"]], "validation": [["2018-01-03", "2018-01-04"]]}


def told_of_days(within: int | None, later: int) -> dict[str, Any]:
    """What is told of days some days apart, with stations whose measurements may be off."""
    start = dt.date(2018, 1, 1)
    found = {
        split: days.scene("north", str(start + dt.timedelta(later * number)))
        for number, split in enumerate(NUMBERS)
    }
    reader = {"op": "argo", "args": {} if within is None else {"within": within}}
    album = days.BASE["sources"]["album"]
    floats = {**album, "files": [{"url": "file:floats.nc"}], "reader": reader}
    change = {
        "sources": {"floats": floats},
        "roles": {"stations": {"source": "floats", "variables": ["at"]}},
        "insitu": "stations",
        "split": {"by": {"op": "days", "args": PERIODS}},
    }
    recipe = days.recipe(found, **change)
    told: dict[str, Any] = apart(recipe, index(*found))["days"]
    return told


def test_days_keep_apart_what_measurements_are_off_on_both_sides() -> None:
    found = told_of_days(5, 11)
    assert found["required"] == found["training-validation"] == 11
    with pytest.raises(DataError, match="come within 10 days") as caught:
        told_of_days(5, 10)
    assert "11 days at least" in str(caught.value)
    assert "measurements count up to 5 days off" in str(caught.value)


def test_measurements_of_the_day_itself_ask_for_no_gap() -> None:
    assert told_of_days(None, 1)["required"] == 1

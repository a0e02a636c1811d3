"""The profile of a cluster: its names are checked, and all that Snakemake reads is in it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from nunatak.commands.profile import TEMPLATE, Site, check, home, offers, write
from nunatak.errors import ConfigError
from nunatak.resources import memory, training

OFFERED = {"main": {"(null)"}, "gpu": {"gpu:a100:4", "gpu:v100:2"}}


@pytest.fixture
def sinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program ahead of any other of that name; its text is for a test to write."""
    path = tmp_path / "bin" / "sinfo"
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def test_what_sinfo_says_is_understood(sinfo: Path) -> None:
    lines = "main|(null)\ngpu|gpu:a100:4(S:0-1),fast:1\ngpu|gpu:v100:2(S:0)\n"
    sinfo.write_text(f"#!/bin/sh\nprintf '{lines}'\n", encoding="utf-8")
    assert offers() == {"main": set(), "gpu": {"gpu:a100:4", "fast:1", "gpu:v100:2"}}


def test_a_cluster_that_does_not_answer(sinfo: Path) -> None:
    sinfo.write_text("#!/bin/sh\necho 'no contact' >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no contact"):
        offers()


def test_without_sinfo_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert offers() is None


@pytest.mark.parametrize(
    "site",
    [
        Site(),
        Site("main", "lab", "gpu"),
        Site("main", None, "gpu", "gpu:a100:4"),
        Site("gpu", gres="gpu:v100"),
        Site(gres="gpu:4", gpu_infer=True),
    ],
)
def test_names_that_are_there(site: Site) -> None:
    check(site, {"main": set(), "gpu": OFFERED["gpu"]})


@pytest.mark.parametrize(
    ("site", "told"),
    [
        (Site("none"), "--partition none.*\n.*gpu, main"),
        (Site("main", None, "none"), "--gpu-partition none.*\n.*gpu, main"),
        (Site("main", None, "main"), "--gres gpu:1: partition main has no such\n.*none: it has"),
        (Site(gres="gpu:v100:3"), "the cluster has no such\n.*gpu:a100:4, gpu:v100:2"),
        (Site("main", None, "gpu", "gpu:h100:1"), "partition gpu has no such\n.*gpu:a100:4"),
        (Site("main", gpu_infer=True), "--gpu-infer without a GPU"),
    ],
)
def test_names_that_are_not_there(site: Site, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        check(site, {"main": set(), "gpu": OFFERED["gpu"]})


def test_what_is_written(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = write(Site("all", "lab", "gpu"), home() / "slurm")
    assert path == tmp_path / "snakemake" / "slurm" / "config.yaml"
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    general = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    assert found == {
        **general,
        "default-resources": {"slurm_partition": "'all'", "slurm_account": "'lab'"},
        "set-resources": {
            rule: {
                "slurm_partition": "'gpu'",
                "gres": "'gpu:1'",
                "slurm_extra": "'--signal=TERM@120'",
            }
            for rule in ("train", "trial")
        },
    }
    assert found["executor"] == "slurm"
    assert found["slurm-status-command"] == "squeue"
    assert "slurm-array-jobs" not in found


def test_steps_of_one_submission_go_to_one_partition() -> None:
    rules = Site("main", None, "gpu", "gpu:2", gpu_infer=True).settings()["set-resources"]
    assert rules["infer"] == {"slurm_partition": "'gpu'", "gres": "'gpu:2'"}
    assert rules["mosaic"] == {"slurm_partition": "'gpu'"}


@pytest.mark.parametrize(
    ("gres", "asked"),
    [
        ("gpu:4", {"processes": 4, "mem_mb": "10400 * attempt"}),
        ("gpu:a100:2", {"processes": 2, "mem_mb": "5400 * attempt"}),
        ("gpu:1", {}),
        ("gpu:a100", {}),
        ("fast:2", {}),
    ],
)
def test_a_training_gets_a_process_for_each_gpu_and_its_memory(
    gres: str, asked: dict[str, object]
) -> None:
    train = Site("main", None, "gpu", gres, gpu_infer=True).settings()["set-resources"]["train"]
    assert {key: train.get(key) for key in ("processes", "mem_mb") if key in train} == asked
    assert training(1) == memory("train", None)


def test_a_trial_gets_one_gpu() -> None:
    rules = Site("main", None, "gpu", "gpu:a100:4").settings()["set-resources"]
    assert rules["trial"] == {**rules["trial"], "gres": "'gpu:a100:1'"}
    assert "processes" not in rules["trial"]


def test_a_profile_of_ones_own_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (tmp_path / "config.yaml").write_text("jobs: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="is there and differs"):
        write(Site("main"), tmp_path)
    write(Site("main"), tmp_path, replace=True)
    write(Site("main"), tmp_path)
    assert "slurm_partition" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_it_is_written_in_the_folder_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the folder of the project"):
        write(Site(), tmp_path)


def test_a_person_is_asked_for_what_is_not_given(root: Path, tmp_path: Path) -> None:
    person, terminal = pty.openpty()
    os.write(person, b"lab\n\n\n")
    command = [sys.executable, "-m", "nunatak", "profile", "slurm"]
    run = subprocess.run(
        [*command, "--partition", "main", "--folder", str(tmp_path)],
        stdin=terminal,
        cwd=root,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "no sinfo here" in run.stderr
    found = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))
    assert found["default-resources"] == {
        "slurm_partition": "'main'",
        "slurm_account": "'lab'",
    }
    assert "gres" not in found["set-resources"]["train"]

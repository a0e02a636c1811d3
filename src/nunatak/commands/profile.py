"""profile: what Snakemake must know of a cluster, written to where `snakemake --profile` looks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nunatak.errors import ConfigError
from nunatak.provenance import write_text
from nunatak.resources import training

# Two minutes before the limit, so that a training saves what it has.
_SIGNAL = "--signal=TERM@120"
TEMPLATE = Path("workflow/profiles/slurm/config.yaml")


@dataclass(frozen=True)
class Site:
    """What a cluster calls what jobs need; None leaves it to the cluster.

    Parameters
    ----------
    partition, account
        Of every job.
    gpu_partition, gres
        Of jobs that train; gres as SLURM writes it, ``gpu:1`` or ``gpu:a100:2``. A training runs
        one process on each GPU, a trial of a search on one.
    gpu_infer
        Whether jobs that infer use a GPU too.
    """

    partition: str | None = None
    account: str | None = None
    gpu_partition: str | None = None
    gres: str | None = None
    gpu_infer: bool = False

    def settings(self) -> dict[str, Any]:
        """The keys that a profile gets of it."""
        usual = {"slurm_partition": self.partition, "slurm_account": self.account}
        gres = self.gres or ("gpu:1" if self.gpu_partition else None)
        gpu = {"slurm_partition": self.gpu_partition, "gres": gres}
        rules = {"train": {**gpu, "slurm_extra": _SIGNAL}}
        rules["trial"] = {**rules["train"], "gres": _single(gres)}
        if self.gpu_infer:
            # All steps of a group are one submission: to one partition.
            rules |= {
                "infer": gpu,
                "rescale": gpu,
                "mosaic": {"slurm_partition": self.gpu_partition},
            }
        found: dict[str, dict[str, Any]] = {r: _literal(asked) for r, asked in rules.items()}
        found["train"] |= _processes(gres or "")
        made = {"default-resources": _literal(usual), "set-resources": found}
        return {key: value for key, value in made.items() if value}


def _processes(gres: str) -> dict[str, Any]:
    """What a training asks for besides several GPUs: a process for each, and its memory."""
    name, _, count = _parsed(gres)
    if name != "gpu" or count == 1:
        return {}
    return {"processes": count, "mem_mb": f"{training(count)} * attempt"}


def _single(gres: str | None) -> str | None:
    """One of a generic resource that is asked for."""
    if not gres:
        return None
    name, kind, _ = _parsed(gres)
    return ":".join(filter(None, (name, kind, "1")))


def _literal(values: Mapping[str, str | None]) -> dict[str, str]:
    """Values in quotes of their own: Snakemake would take a partition `all` for the function."""
    return {key: repr(value) for key, value in values.items() if value}


def home() -> Path:
    """The folder in which Snakemake looks for profiles by name, beside the working directory."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "snakemake"


def offers() -> dict[str, set[str]] | None:
    """What generic resources each partition has, by `sinfo`; None where there is none.

    Raises
    ------
    ConfigError
        If `sinfo` fails.
    """
    if shutil.which("sinfo") is None:
        return None
    command = ["sinfo", "--noheader", "--format=%R|%G"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise ConfigError(
            f"{' '.join(command)} failed: {run.stderr.strip()}",
            "a cluster that answers",
            "try again on a login node of the cluster",
        )
    found: dict[str, set[str]] = {}
    for line in run.stdout.splitlines():
        partition, _, gres = line.strip().partition("|")
        named = re.sub(r"\([^)]*\)", "", gres).split(",")
        found.setdefault(partition, set()).update(name for name in named if name)
    return found


def check(site: Site, offered: Mapping[str, set[str]]) -> None:
    """Refuse a partition that is not there, and a GPU that its partition does not have.

    Raises
    ------
    ConfigError
        If so; it lists what there is.
    """
    for option, name in (("partition", site.partition), ("gpu-partition", site.gpu_partition)):
        if name and name not in offered:
            raise ConfigError(
                f"--{option} {name}: there is no such partition",
                f"one of {', '.join(sorted(offered))}",
                "name one of these",
            )
    if site.gpu_infer and not (site.gpu_partition or site.gres):
        raise ConfigError(
            "--gpu-infer without a GPU", "a partition with GPUs", "give --gpu-partition and --gres"
        )
    if site.gres or site.gpu_partition:
        where = site.gpu_partition or site.partition
        there = offered[where] if where else set().union(*offered.values())
        _refuse_gres(site.gres or "gpu:1", there, where)


def _refuse_gres(wanted: str, there: Iterable[str], partition: str | None) -> None:
    name, kind, count = _parsed(wanted)
    for each in there:
        has, of, many = _parsed(each)
        if has == name and kind in ("", of) and count <= many:
            return
    raise ConfigError(
        f"--gres {wanted}: {f'partition {partition}' if partition else 'the cluster'} has no such",
        f"{', '.join(sorted(there)) or 'none: it has no generic resources'} on one node",
        "name what a node of the partition has, as gpu:1, or another --gpu-partition",
    )


def _parsed(gres: str) -> tuple[str, str, int]:
    """Name, type (empty if any will do) and number of a generic resource."""
    name, *rest = gres.split(":")
    count = int(rest.pop()) if rest and rest[-1].isdigit() else 1
    return name, rest[0] if rest else "", count


def write(site: Site, folder: Path, *, replace: bool = False) -> Path:
    """Write the profile: the project's own, and the names of a cluster.

    Parameters
    ----------
    site
        The names.
    folder
        The folder of the profile.
    replace
        Whether a profile that is there and differs is written over.

    Raises
    ------
    ConfigError
        If the project's profile is not in this folder, or another one is there.
    """
    if not TEMPLATE.is_file():
        raise ConfigError(f"no {TEMPLATE} here", "the folder of the project", "call it there")
    text = TEMPLATE.read_text(encoding="utf-8")
    if settings := site.settings():
        text += f"# Names of this cluster.\n{yaml.safe_dump(settings, sort_keys=False)}"
    path = folder / "config.yaml"
    if path.exists() and path.read_text(encoding="utf-8") != text and not replace:
        raise ConfigError(
            f"{path} is there and differs",
            "no profile, or the same",
            "give --replace to write over it",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path

"""Solve environments and write their pins: `python envs/pin.py [FAMILY ...]`, or `make pins`.

Beside `FAMILY.yaml` comes `FAMILY.linux-64.pin.txt`, the exact packages that Snakemake installs
instead of solving. What this machine has (glibc, a GPU) plays no part: pins are the same wherever
they are made.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import yaml
from rattler import BuildString, GenericVirtualPackage, PackageName, RepoDataRecord, Version, solve

HERE = Path(__file__).resolve().parent
# What conda-forge asks of Linux: packages are built for a glibc of at least this.
SYSTEM = {"__unix": "0", "__linux": "5.10", "__glibc": "2.28", "__archspec": "1"}


async def solved(
    file: Path, channels: Sequence[str] = (), platform: str = "linux-64", cuda: str | None = None
) -> list[RepoDataRecord]:
    """Solve an environment file.

    Parameters
    ----------
    file
        The environment: channels and specifications of packages.
    channels
        Names, URLs or folders that stand in for the file's own channels.
    platform
        As conda names it.
    cuda
        Version that the driver of the GPUs supports; without it, builds for CPUs are taken.

    Returns
    -------
    list of RepoDataRecord
        The packages, by name.
    """
    wanted = yaml.safe_load(file.read_text(encoding="utf-8"))
    names = channels or [name for name in wanted["channels"] if name != "nodefaults"]
    system = {**SYSTEM, **({"__cuda": cuda} if cuda else {})}
    virtual = [
        GenericVirtualPackage(PackageName(name), Version(version), BuildString("0"))
        for name, version in system.items()
    ]
    specs, platforms = wanted["dependencies"], [platform, "noarch"]
    found = await solve(names, specs, platforms=platforms, virtual_packages=virtual)
    return sorted(found, key=lambda record: record.name.normalized)


def pins(records: Sequence[RepoDataRecord], platform: str) -> str:
    """The packages as Snakemake and conda read them: a URL with its MD5 each."""
    lines = [f"{record.url}#{(record.md5 or b'').hex()}" for record in records]
    return "\n".join([f"# platform: {platform}", "@EXPLICIT", *lines, ""])


def main() -> None:
    """Write the pins of all families, or of some."""
    families = sorted(path.stem for path in HERE.glob("*.yaml"))
    parser = argparse.ArgumentParser(description="Write the pins of environments.")
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(families))
    parser.add_argument("--channel", action="append", default=[], help="instead of the file's")
    parser.add_argument("--platform", default="linux-64")
    parser.add_argument("--cuda", help="version that the driver supports, as 12.6; else for CPUs")
    parser.add_argument("--envs", type=Path, default=HERE, help="folder of the files")
    given = parser.parse_args()
    for family in given.families or families:
        file = given.envs / f"{family}.yaml"
        records = asyncio.run(solved(file, given.channel, given.platform, given.cuda))
        path = given.envs / f"{family}.{given.platform}.pin.txt"
        path.write_text(pins(records, given.platform), encoding="utf-8")
        print(f"{path}: {len(records)} packages")


if __name__ == "__main__":
    main()

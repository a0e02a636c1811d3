"""A real SLURM cluster on one machine: three nodes, each a slurmd with its own port, accounting.

``python -m tests.slurm.cluster up`` starts it, ``down`` stops it and removes all it left. The
configuration lies at its default path, because jobs of Snakemake drop every ``SLURM_*`` variable;
everything else is below `ROOT`. The last node has GPUs that are links to /dev/null.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

ROOT = Path("/tmp/nunatak-cluster")
ETC = Path("/etc/slurm")
NODES = ("n1", "n2", "n3")
GPU_NODE, GPUS = NODES[-1], 2
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
MARK = "# Written by the tests of nunatak.\n"

SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=26817
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={root}/munge.socket,cred_expire=15
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=2,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=10
MinJobAge=600
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=26819
AccountingStoragePass={root}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES DefaultTime=10 MaxTime=1-00:00:00
PartitionName=gpu Nodes=n3 DefaultTime=10 MaxTime=1-00:00:00
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 CoresPerSocket=2"
    " RealMemory=6000{gres} State=UNKNOWN"
)
GRES = "NodeName={node} Name=gpu Type=fake File={root}/gpu[0-{last}] Flags=nvidia_gpu_env\n"
CGROUP = "CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n"
DATABASE = """
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort=26819
SlurmUser=root
AuthInfo=socket={root}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=23306
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
PidFile={root}/run/slurmdbd.pid
LogFile={root}/log/slurmdbd.log
CommitDelay=1
"""
GRANTS = """
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct.* TO 'slurm'@'localhost';
"""


def missing() -> str:
    """Why there can be no cluster here; empty if there can."""
    if os.getuid() != 0:
        return "SLURM's daemons are started by root"
    absent = [name for name in DAEMONS if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurm-wlm munge slurmdbd mariadb-server"
    conf = ETC / "slurm.conf"
    if conf.exists() and not conf.read_text(encoding="utf-8").startswith(MARK):
        return f"{conf} is of another cluster"
    return ""


def call(*command: str) -> str:
    """The output of a command.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; its message holds what it said.
    """
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, f"{command}: {run.stdout}")
    return run.stdout


def accounts(*options: str, fields: str) -> list[list[str]]:
    """What the accounting knows of jobs since yesterday, by job and field.

    Without a day, ``sacct`` begins at midnight: tests that run across it would miss their jobs.
    """
    command = ("sacct", "--allocations", "--noheader", "--parsable2", "--starttime=now-1days")
    return [line.split("|") for line in call(*command, *options, f"--format={fields}").splitlines()]


def until(done: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait for something.

    Raises
    ------
    TimeoutError
        If it does not come.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(subprocess.CalledProcessError):
            if done():
                return
        time.sleep(0.1)
    raise TimeoutError(f"{what} within {seconds} s; logs are in {ROOT / 'log'}")


def up() -> None:
    """Start what does not run yet."""
    for name in ("run", "log", "state", "spool"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    ROOT.chmod(0o755)
    _configure()
    _authentication()
    _accounting()
    if not running("slurmctld"):
        call("slurmctld")
    until(lambda: "UP" in call("scontrol", "ping"), "slurmctld")
    for name in NODES:
        start(name)
    until(lambda: idle() == set(NODES), "idle nodes")


def down() -> None:
    """Stop the daemons and remove their files."""
    for name in ("slurmctld", *NODES, "slurmdbd", "mariadbd", "munged"):
        stop(name)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf", "slurmdbd.conf"):
        path = ETC / name
        if path.exists() and path.read_text(encoding="utf-8").startswith(MARK):
            path.unlink()
    shutil.rmtree(ROOT, ignore_errors=True)


def start(node: str) -> None:
    """Start the slurmd of a node."""
    if not running(node):
        (ROOT / "spool" / node).mkdir(parents=True, exist_ok=True)
        call("slurmd", "-N", node)


def crash(node: str) -> None:
    """End a node as a loss of power would: slurmd and every process of its jobs, at once."""
    jobs = call("squeue", "--noheader", "--nodelist", node, "--format", "%A").split()
    ended = [process for job in jobs for process in steps(job)]
    found = running(node)
    for process in [*([found] if found else []), *ended]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def steps(job: str) -> Iterator[psutil.Process]:
    """The processes of a job: the daemons of its steps, and what they started."""
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or []).startswith(f"slurmstepd: [{job}."):
            yield process
            with contextlib.suppress(psutil.NoSuchProcess):
                yield from process.children(recursive=True)


def idle() -> set[str]:
    """The nodes that could take a job and have none."""
    return set(call("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N").split())


def running(name: str) -> psutil.Process | None:
    """A daemon by the name of its pid file, if it runs."""
    try:
        process = psutil.Process(int((ROOT / "run" / f"{name}.pid").read_text(encoding="utf-8")))
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None
    named = process.name() == ("slurmd" if name in NODES else name)
    return process if named and process.status() != psutil.STATUS_ZOMBIE else None


def stop(name: str) -> None:
    """End a daemon, and wait for its end."""
    process = running(name)
    if process is None:
        return
    process.terminate()
    try:
        process.wait(timeout=15)
    except psutil.TimeoutExpired:
        process.kill()


def _configure() -> None:
    """Write SLURM's configuration, and name this host where nothing else does."""
    host = socket.gethostname().partition(".")[0]
    nodes = "\n".join(
        NODE.format(
            name=name,
            host=host,
            port=27000 + number,
            gres=f" Gres=gpu:fake:{GPUS}" if name == GPU_NODE else "",
        )
        for number, name in enumerate(NODES, start=1)
    )
    for number in range(GPUS):
        with contextlib.suppress(FileExistsError):
            (ROOT / f"gpu{number}").symlink_to("/dev/null")
    files = {
        "slurm.conf": SLURM.format(host=host, root=ROOT, nodes=nodes),
        "gres.conf": GRES.format(node=GPU_NODE, root=ROOT, last=GPUS - 1),
        "cgroup.conf": CGROUP,
        "slurmdbd.conf": DATABASE.format(host=host, root=ROOT),
    }
    ETC.mkdir(exist_ok=True)
    for name, text in files.items():
        path = ETC / name
        path.write_text(f"{MARK}{text}", encoding="utf-8")
        path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
    try:
        socket.gethostbyname(host)
    except socket.gaierror:
        with Path("/etc/hosts").open("a", encoding="utf-8") as hosts:
            hosts.write(f"127.0.0.1 {host}\n")


def _authentication() -> None:
    if running("munged"):
        return
    key = ROOT / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    files = {"key-file": key, "socket": ROOT / "munge.socket", "seed-file": ROOT / "munge.seed"}
    files |= {"pid-file": ROOT / "run" / "munged.pid", "log-file": ROOT / "log" / "munged.log"}
    call("munged", "--force", *(f"--{option}={path}" for option, path in files.items()))


def _accounting() -> None:
    """Start the database and slurmdbd, with a cluster, an account and a user."""
    data, line = ROOT / "mysql", ROOT / "mysql.socket"
    own = ("--no-defaults", "--user=root", f"--datadir={data}")
    if not data.exists():
        call("mariadb-install-db", *own, "--auth-root-authentication-method=normal")
    if not running("mariadbd"):
        with (ROOT / "log" / "mariadbd.log").open("w", encoding="utf-8") as log:
            subprocess.Popen(
                [
                    *("mariadbd", *own, f"--socket={line}", "--port=23306"),
                    *("--bind-address=127.0.0.1", f"--pid-file={ROOT}/run/mariadbd.pid"),
                    *("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    client = ("mariadb", "--no-defaults", f"--socket={line}", "--user=root")
    until(lambda: call(*client, "--execute", GRANTS) == "", "mariadbd")
    if not running("slurmdbd"):
        call("slurmdbd")
    until(lambda: call("sacctmgr", "list", "cluster") != "", "slurmdbd")
    if "tests" not in call("sacctmgr", "--noheader", "list", "cluster", "format=cluster"):
        call("sacctmgr", "--immediate", "add", "cluster", "tests")
        call("sacctmgr", "--immediate", "add", "account", "lab", "cluster=tests")
        call("sacctmgr", "--immediate", "add", "user", "root", "account=lab", "cluster=tests")


if __name__ == "__main__":
    if reason := missing():
        sys.exit(reason)
    {"up": up, "down": down}[sys.argv[1]]()

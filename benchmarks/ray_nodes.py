"""A Ray cluster of two nodes: are the bytes those of one machine, and does the job outlive a node that is killed?

python benchmarks/ray_nodes.py --json FILE [--pictures N]

Two node processes on this machine, each of one CPU. N pictures of 256x256 go through recipes/phone_night.yaml, as files
and as shards: by a local pool of two; by both nodes; and by both, of which the second is killed (SIGKILL, with all it
started) while it works, after a third of the pictures. All folders must hold the same bytes. Linux only, because
processes are read from /proc.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from report import ROOT, Target, arguments, at_least, at_most, publish
from soak import SIDE, differences, make_pictures, tree

from isp_sim.render.manifest import read_run
from isp_sim.render.shards import shards_in
from isp_sim.render.verify import verify

SAMPLES = 8
"""Pictures in a shard."""
STORE = 80 << 20
"""Memory of a node's object store, which no picture passes through [B]."""
POLL = 0.02
"""How often processes and folders are looked at [s]."""
LONGEST = 900
"""Seconds that a run may take."""
STARTS = 6
"""How often a node is started, which on a busy machine takes longer than Ray waits for it."""
WORKS = b"ray::_make"
"""What Ray calls a process that makes a part."""
JOINED = b"Ray runtime started"
"""What a node says when it has joined."""
TOKEN = secrets.token_hex(16)
"""Without it nobody gets into this cluster, which other machines may reach."""
WRITERS = {"files": "{writer: files}", "shards": f"{{writer: shards, samples: {SAMPLES}}}"}


def environment(**more: str) -> dict[str, str]:
    ray = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    ray |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_worker_register_timeout_seconds": "300"}
    return os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"} | ray | more


@dataclass
class Node:
    """One machine of the cluster, which is a process and what it started."""

    process: subprocess.Popen[bytes]

    def processes(self) -> list[int]:
        return list(tree(self.process.pid))

    def works(self) -> bool:
        """Whether a part is being made here."""
        return any(_command(pid).startswith(WORKS) for pid in self.processes())

    def kill(self) -> None:
        for pid in self.processes():
            _kill(pid)
        self.process.wait()


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it has ended
        os.kill(pid, signal.SIGKILL)


def started(more: list[str], said: Path) -> Node:
    """A node that has joined its cluster."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--num-gpus=0"]
    command += [f"--object-store-memory={STORE}", "--node-ip-address=127.0.0.1", "--disable-usage-stats", *more]
    for _ in range(STARTS):
        with said.open("wb") as log:
            node = Node(subprocess.Popen(command, env=environment(), stdout=log, stderr=log))
        try:
            if _joins(node, said):
                return node
        finally:
            if JOINED not in said.read_bytes():
                node.kill()
    raise SystemExit(f"a node has not started:\n{said.read_text()[-3000:]}")


def _joins(node: Node, said: Path) -> bool:
    while JOINED not in said.read_bytes():
        if node.process.poll() is not None:
            return False
        time.sleep(POLL)
    return True


@dataclass
class Watched:
    """A run: how long it took, which nodes made parts, and when one was killed [pictures]."""

    seconds: float = 0.0
    worked: set[int] = field(default_factory=set)
    killed_after: int | None = None


def render(recipe: Path, photos: Path, output: Path, address: str | None = None) -> subprocess.Popen[bytes]:
    """Start a run: by a local pool, or by the cluster at an address."""
    program = str(Path(sys.executable).with_name("isp-sim"))
    command = [program, "render", "-r", str(recipe), "-i", str(photos), "-o", str(output), "--quiet", "--workers", "2"]
    if address is None:
        return subprocess.Popen(command, env=environment())
    return subprocess.Popen([*command, "--engine", "ray"], env=environment(RAY_ADDRESS=address))


def watched(
    process: subprocess.Popen[bytes], output: Path, nodes: tuple[Node, ...] = (), kill_after: int | None = None
) -> Watched:
    """Wait for a run; kill the last node while it works, once so many pictures are there."""
    found, began = Watched(), time.perf_counter()
    while process.poll() is None:
        if time.perf_counter() - began > LONGEST:
            process.kill()
            raise SystemExit(f"a run has not ended after {LONGEST} s")
        time.sleep(POLL)
        found.worked |= {number for number, node in enumerate(nodes) if node.works()}
        if kill_after is not None and (done := pictures(output)) >= kill_after and nodes[-1].works():
            nodes[-1].kill()
            found.killed_after, kill_after = done, None
    if process.returncode:
        raise SystemExit(f"a run ended with exit code {process.returncode}")
    found.seconds = time.perf_counter() - began
    return found


def pictures(output: Path) -> int:
    """Pictures that are whole."""
    if not output.is_dir():
        return 0
    return len(list(output.glob("*.png"))) or SAMPLES * sum(path.suffix == ".json" for path in shards_in(output))


def recipe_of(writer: str, folder: Path) -> Path:
    text = (ROOT / "recipes" / "phone_night.yaml").read_text()
    path = folder / f"{writer}.yaml"
    path.write_text(text[: text.index("output:")] + f"output: {WRITERS[writer]}\n")
    return path


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main() -> int:
    parser = arguments(__doc__ or "", data=False)
    parser.add_argument("--pictures", type=int, default=96)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    targets: list[Target] = []
    # the names of sockets, which lie there, must be short
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as name,
        ExitStack() as stack,
    ):
        folder, port = Path(name), free_port()
        photos, address = folder / "photos", f"127.0.0.1:{port}"
        make_pictures(photos, options.pictures)
        places = {writer: folder / writer for writer in WRITERS}
        found: dict[str, dict[str, Watched]] = {}
        for writer, place in places.items():
            place.mkdir()
            process = render(recipe_of(writer, folder), photos, place / "pool")
            found[writer] = {"pool": watched(process, place / "pool")}
        head = started(["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"], folder / "1")
        stack.callback(head.kill)
        for writer, place in places.items():
            other = started([f"--address={address}"], folder / "2")
            stack.callback(other.kill)
            for what, kill_after in (("nodes", None), ("killed", options.pictures // 3)):
                process = render(recipe_of(writer, folder), photos, place / what, address)
                found[writer][what] = watched(process, place / what, (head, other), kill_after)
        for writer, place in places.items():
            runs = found[writer]
            for what, run in runs.items():
                rows.append(
                    {
                        "writer": writer,
                        "by": {"pool": "a pool of two", "nodes": "two nodes", "killed": "two, then one"}[what],
                        "seconds": run.seconds,
                        "nodes that worked": len(run.worked) or None,
                        "killed after [pictures]": run.killed_after,
                        "pictures": verify(place / what).pictures,
                    }
                )
            at = runs["killed"].killed_after
            wrong = [fault for what in ("nodes", "killed") for fault in verify(place / what).faults]
            made = min(verify(place / what).pictures for what in runs)
            targets += [
                at_least(f"nodes that worked, {writer}", len(runs["nodes"].worked), 2),
                at_most(f"files that differ, two nodes beside a pool, {writer}", _differ(place, "nodes"), 0),
                at_least(f"pictures left when a node was killed, {writer}", at and options.pictures - at, 1),
                at_most(f"files that differ, a node killed, {writer}", _differ(place, "killed"), 0),
                at_most(f"faults that verify finds, {writer}", len(wrong), 0),
                at_least(f"pictures in each manifest, {writer}", made, options.pictures),
            ]
            sys.stderr.write("".join(f"{fault}\n" for fault in wrong))
    return publish(rows, targets, options.json, f"{options.pictures} pictures of {SIDE}x{SIDE} on two Ray nodes")


def _differ(place: Path, what: str) -> int:
    same = read_run(place / "pool") == read_run(place / what)
    return differences(place / "pool", place / what) + (not same)


if __name__ == "__main__":
    sys.exit(main())

"""A sweep that several machines share through a database."""

import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import command

pytestmark = pytest.mark.long

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
SWEEP = [
    "sweep",
    "--space={model.learning_rate: {low: 1e-4, high: 0.01, log: true}}",
    "--sampler=random",
    "--trials=6",
    "--prune=false",
    "--data.source=sample",
    "--trainer.max_epochs=2",
]


@pytest.fixture
def database() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL and the process of a PostgreSQL server on a loopback port."""
    if PROGRAMS is None:
        pytest.skip("PostgreSQL is not installed")
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp())
    user = "postgres" if os.getuid() == 0 else None  # the server rejects root
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    initialize = [f"{PROGRAMS}/initdb", "--auth=trust", "--username=digits", f"--pgdata={data}"]
    subprocess.run(initialize, user=user, check=True, capture_output=True, cwd=folder)
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(folder)]
    server = subprocess.Popen(
        [f"{PROGRAMS}/postgres", "-D", str(data), *options],
        user=user,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    is_ready = [f"{PROGRAMS}/pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    while subprocess.run(is_ready, check=False).returncode:
        assert server.poll() is None
        time.sleep(0.1)
    yield f"postgresql+psycopg://digits@127.0.0.1:{port}/postgres", server
    server.send_signal(signal.SIGQUIT)
    server.wait()
    shutil.rmtree(folder)


def start(root: Path, url: str) -> subprocess.Popen[str]:
    root.mkdir(exist_ok=True)
    return subprocess.Popen(
        command(*SWEEP, f"--storage={url}"),
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "lightning_logs" / "sweeps" / "sweep" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_empty_database_opened_by_several_machines_at_once(
    tmp_path: Path, database: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, _ = database
    code = (
        "from pathlib import Path; from mnist_lightning.sweeps.storage import open_storage\n"
        f"input('ready\\n'); open_storage({url!r}, Path())"
    )
    machines = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for machine in machines:
        assert machine.stdout
        assert machine.stdout.readline() == "ready\n"
    for machine in machines:
        assert machine.stdin
        machine.stdin.write("\n")
        machine.stdin.flush()
    errors = [machine.communicate()[1] for machine in machines]
    assert not any(machine.returncode for machine in machines), errors


def test_three_machines_share_a_sweep_and_one_is_killed(
    tmp_path: Path, database: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, _ = database
    roots = [tmp_path / name for name in ("first", "second", "third")]  # no shared folder
    workers = [start(root, url) for root in roots]
    while not any(roots[0].glob("lightning_logs/sweeps/sweep/trial_*/*/*/*/history.csv")):
        assert workers[0].poll() is None
        time.sleep(0.02)
    workers[0].kill()
    workers[0].communicate()
    outs = [worker.communicate()[0] for worker in workers[1:]]
    assert [worker.returncode for worker in workers[1:]] == [0, 0], outs
    assert any("Not finished: 1 of 6 trials." in out for out in outs)
    states = [Counter(row["state"] for row in rows(root)) for root in roots[1:]]
    assert min(state["running"] for state in states) == 1  # in the report that was written last
    continued = start(roots[0], url)
    out, _ = continued.communicate()
    assert continued.returncode == 0, out
    assert Counter(row["state"] for row in rows(roots[0])) == {"complete": 6}
    runs = [path.parent.name for root in roots for path in root.rglob("trial_*/repeat_0")]
    assert sorted(runs) == [f"trial_{number:04d}" for number in range(6)]


def test_a_database_that_stops_is_one_sentence(
    tmp_path: Path, database: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, server = database
    worker = start(tmp_path / "first", url)
    while not any(tmp_path.glob("first/lightning_logs/sweeps/sweep/trial_*/*/*/*/history.csv")):
        assert worker.poll() is None
        time.sleep(0.02)
    server.send_signal(signal.SIGQUIT)
    server.wait()
    out, _ = worker.communicate()
    assert worker.returncode == 1
    assert "Traceback" not in out
    assert out.splitlines()[-1].startswith("error: the storage postgresql+psycopg://127.0.0.1:")

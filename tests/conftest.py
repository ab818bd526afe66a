"""Fixtures for all tests: no network, no stray files, and one complete run to inspect."""

import copy
import hashlib
import os
import shutil
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from drawings import Drawing
from lightning.pytorch import Trainer
from matplotlib.figure import Figure
from mirror import Files, Server, sending
from tensorboard.summary.writer import event_file_writer

from mnist_lightning.cli import MNISTCLI, main
from mnist_lightning.data.datasets import DATASETS, StoredFile
from mnist_lightning.datamodule import MNISTDataModule
from mnist_lightning.figures.publish import is_dry_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

if sys.platform == "darwin":  # for the virtual machines of GitHub's workflows
    os.environ.setdefault("DISABLE_MPS", "1")  # they have a GPU without memory
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0")  # looking up their name takes 35 s


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Returns the number of workers; 0 for sets of tests that measure times or share a device."""
    if config.option.markexpr in ("browser", "gpu", "long", "notebook"):
        return 0
    return min(4, os.cpu_count() or 1)


# Several workers of pytest-xdist share the cores. Processes that tests start inherit the variable.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

MNIST_MIRRORS = os.environ.get("MNIST_MIRRORS", "")


@pytest.fixture(autouse=True, scope="session")
def _no_mirrors() -> None:
    """Hides the mirror from tests that do not request it; workers of pytest-xdist inherit it."""
    os.environ.pop("MNIST_MIRRORS", None)


@pytest.fixture(autouse=True)
def _no_stray_files() -> Iterator[None]:
    """Fails a test that leaves files in the folder in which pytest was started."""
    folder = Path.cwd()
    before = set(folder.iterdir())
    yield
    assert Path.cwd() == folder, "the test changed the working directory"
    ignored = {".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    stray = {path for path in set(folder.iterdir()) - before if path.name not in ignored}
    assert not stray


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Allows connections to this machine only."""
    local = ("127.0.0.1", "localhost", "::1")
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in local:
            raise ConnectionRefusedError(f"the tests use no network, but asked for {address}")
        connect(self, address)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in local:
            raise socket.gaierror(socket.EAI_NONAME, "the tests use no network")
        return look_up(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


@pytest.fixture(autouse=True)
def _event_files_in_order() -> None:
    """Numbers event files from 0 in each test, because .10 would be read before .9."""
    event_file_writer._global_uid = event_file_writer.AtomicCounter(0)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def sample() -> MNISTDataModule:
    """The bundled sample, set up."""
    data = MNISTDataModule(source="sample")
    data.setup("fit")
    return data


@pytest.fixture(scope="session")
def mnist_mirror() -> str:
    """The URL of the real MNIST files, if ``MNIST_MIRRORS`` names it."""
    if not MNIST_MIRRORS:
        pytest.skip("MNIST_MIRRORS names no mirror with the real MNIST files")
    return MNIST_MIRRORS.split(",")[0]


@dataclass
class Run:
    """A complete ``fit``."""

    cli: MNISTCLI
    folder: Path
    out: str


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ``fit`` of three epochs on the sample, in a temporary working directory."""
    root = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch, CaptureStdout() as out:
        patch.chdir(root)
        cli = main(["fit", "--data.source", "sample", "--trainer.max_epochs", "3"])
    assert isinstance(cli, MNISTCLI)
    return Run(cli, root / "lightning_logs" / "version_0", "".join(out.pieces))


@pytest.fixture
def trained(fitted: Run, workdir: Path) -> Path:
    """A working directory that contains a copy of a complete run."""
    shutil.copytree(fitted.folder, workdir / "lightning_logs" / "version_0")
    return workdir


class CaptureStdout:
    """Captures the output in fixtures of the session, for which pytest's capture is too short."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> "CaptureStdout":
        self._patch.setattr("sys.stdout", self)
        return self

    def __exit__(self, *args: object) -> None:
        self._patch.undo()

    def write(self, text: str) -> int:
        """Captures ``text``."""
        self.pieces.append(text)
        return len(text)

    def flush(self) -> None:
        """Does nothing, because the text is captured already."""

    def isatty(self) -> bool:
        """Returns False, as for a log file."""
        return False


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Drawing]:
    """The figures that callbacks publish, instead of files."""
    drawings: list[Drawing] = []

    def keep(
        trainer: Trainer,
        draw: Callable[[], Figure],
        name: str,
        tag: str,
        epoch: int,
        *options: object,
    ) -> None:
        if trainer.is_global_zero and not is_dry_run(trainer):
            # A copy, because a figure may be updated later.
            drawings.append(Drawing(name, tag, epoch, copy.deepcopy(draw())))

    monkeypatch.setattr("mnist_lightning.callbacks.figure_callback.publish", keep)
    monkeypatch.setattr("mnist_lightning.cli.predict.publish", keep)
    return drawings


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Fifty training and twenty test images, instead of each data set."""
    table, contents, all_images = {}, {}, {}
    generator = torch.Generator().manual_seed(0)
    for part, number in (("train", 50), ("t10k", 20)):
        images = torch.randint(256, (number, 28, 28), generator=generator, dtype=torch.uint8)
        labels = torch.randint(10, (number,), generator=generator, dtype=torch.uint8)
        all_images[part] = images
        for name, tensor in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">{tensor.dim() + 1}i", 0x800 + tensor.dim(), *tensor.shape)
            content = header + tensor.numpy().tobytes()
            contents[f"{part}-{name}-ubyte"] = content
            table[f"{part}-{name}-ubyte"] = StoredFile(
                hashlib.sha256(content).hexdigest(), len(content)
            )
    for name, dataset in DATASETS.items():
        small = dataset._replace(
            files=table, idx_files=tuple(table), mirrors=(), first_label=0, is_transposed=False
        )
        monkeypatch.setitem(DATASETS, name, small)
    return Files(DATASETS["MNIST"], contents, all_images)


@pytest.fixture
def server() -> Iterator[Server]:
    """A mirror on this machine; a test defines its answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            answer = mirror.answers.get(self.path, sending(b"", status=404))
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        mirror = Server(f"http://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield mirror
        http.shutdown()
        thread.join()


FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --window-size=1600,2600
"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """Chromium without a window.

    Requires selenium and Chromium with its driver: ``pip install ".[dev]"`` and, on Debian,
    ``apt-get install chromium chromium-driver``.
    """
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("requires Chromium and its driver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    chrome = Chrome(options, Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()

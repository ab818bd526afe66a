"""TensorBoard on a finished run, as somebody sees it who opens it in a browser.

Needs selenium and Chromium with its driver: ``pip install ".[dev]"`` and, on Debian,
``apt-get install chromium chromium-driver``. ``pytest -m browser --basetemp=FOLDER`` leaves the
photographs below FOLDER.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from conftest import Run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

PARTS = ("test", "train", "val")
Look = Callable[[str, str, int], list[dict[str, Any]]]

# TensorBoard keeps most of its page in shadow roots, which selectors do not enter by themselves.
FIND = """
    const found = [];
    const walk = root => root.querySelectorAll('*').forEach(element => {
        if (element.matches(arguments[0]) && element.complete !== false) found.push(element);
        if (element.shadowRoot) walk(element.shadowRoot);
    });
    walk(document);
    return found.filter(element => element.getClientRects().length).map(element => (
        {text: element.innerText || element.textContent, loaded: element.naturalWidth || 0}
    ));
"""
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --window-size=1600,2600
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """Chromium without a window."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("needs Chromium and its driver: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    chrome = Chrome(options, Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="module")
def address(fitted: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """TensorBoard's address, while it runs."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(fitted.folder.parent)]
    log = tmp_path_factory.mktemp("tensorboard") / "log"
    with (
        log.open("w") as file,
        subprocess.Popen([*command, "--port", "0"], stdout=file, stderr=file) as process,
    ):
        try:
            deadline = time.monotonic() + 60
            while (found := re.search(r"at (http://[^ ]+)", log.read_text())) is None:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture
def look(browser: "Chrome", address: str, tmp_path: Path) -> Look:
    """Opens a tab, waits for elements, photographs them and returns what is in them."""
    from selenium.webdriver.support.ui import WebDriverWait

    def open_tab(tab: str, selector: str, number: int) -> list[dict[str, Any]]:
        browser.get("about:blank")
        browser.get(f"{address}#{tab}")

        def found(_: object) -> Literal[False] | list[dict[str, Any]]:
            elements: list[dict[str, Any]] = browser.execute_script(FIND, selector)
            return elements if len(elements) >= number else False

        try:
            return WebDriverWait(browser, 60).until(found)
        finally:
            browser.save_screenshot(str(tmp_path / f"{tab}.png"))

    return open_tab


def test_no_tab_is_empty(look: Look) -> None:
    tabs = look("timeseries", "[role=tab]", 6)[:6]
    assert [tab["text"].strip().lower() for tab in tabs] == [
        "time series",
        "scalars",
        "custom scalars",
        "images",
        "graphs",
        "hparams",
    ]


def test_training_and_validation_share_a_chart(look: Look) -> None:
    assert len(look("custom_scalars", "tf-custom-scalar-multi-line-chart-card", 2)) == 2
    matches = look("custom_scalars", "#matches-list-title", 2)
    assert [match["text"].strip() for match in matches] == ["Matches (2)"] * 2


def test_curves_are_those_that_mean_something(look: Look, address: str) -> None:
    look("scalars", ".heading-label", 8)
    with urlopen(f"{address}data/plugin/scalars/tags") as answer:
        ((run, tags),) = json.load(answer).items()
    assert set(tags) == {f"{part}/{kind}" for part in PARTS for kind in ("acc", "loss")}
    for tag in tags:
        query = urlencode({"run": run, "tag": tag})
        with urlopen(f"{address}data/plugin/scalars/scalars?{query}") as answer:
            points = json.load(answer)  # each one has a time, a step and a value
        assert [point[1] for point in points] == ([3] if tag.startswith("test") else [1, 2, 3])


def test_all_figures_are_in_sight(look: Look) -> None:
    pictures = look("images", "img", 9)
    assert len(pictures) == 9
    assert all(picture["loaded"] > 600 for picture in pictures)


def test_graph_shows_the_network(look: Look) -> None:
    nodes = look("graphs", "g.node text", 3)
    assert any("MNISTClassifier" in node["text"] for node in nodes)


def test_runs_are_compared_by_their_figures(look: Look, fitted: Run) -> None:
    cells = [cell["text"].strip() for cell in look("hparams", "vaadin-grid-cell-content", 20)]
    columns = ["batch_size", "dropout", "learning_rate", "max_epochs", "seed"]
    assert cells[2:11] == [*columns, "test/acc", "test/loss", "val/acc", "val/loss"]
    results = json.loads((fitted.folder / "results.json").read_text())
    shown = dict(zip(cells[2:11], cells[13:22], strict=True))
    for name in ("test/acc", "test/loss"):
        assert float(shown[name]) == pytest.approx(results[name], rel=1e-3)

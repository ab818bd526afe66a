"""TensorBoard on a finished run, as somebody sees it who opens it in a browser.

``pytest -m browser --basetemp=FOLDER`` leaves the photographs below FOLDER.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from conftest import Run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

PARTS = ("test", "train", "val")
Element = dict[str, Any]
Look = Callable[[str, str, Callable[[list[Element]], bool]], None]

# TensorBoard keeps most of its page in shadow roots, which selectors do not enter by themselves.
FIND = """
    const found = [];
    const walk = root => root.querySelectorAll('*').forEach(element => {
        if (element.matches(arguments[0]) && element.complete !== false) found.push(element);
        if (element.shadowRoot) walk(element.shadowRoot);
    });
    walk(document);
    return found.filter(element => element.getClientRects().length).map(element => (
        {text: element.innerText || element.textContent, width: element.naturalWidth || 0}
    ));
"""


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
    """Opens a tab, waits until it shows what is expected, and photographs it."""

    def open_tab(tab: str, selector: str, expected: Callable[[list[Element]], bool]) -> None:
        browser.get("about:blank")
        browser.get(f"{address}#{tab}")
        deadline = time.monotonic() + 60
        while not expected(found := browser.execute_script(FIND, selector)):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
        time.sleep(1)  # for what moves into its place
        browser.save_screenshot(str(tmp_path / f"{tab}.png"))

    return open_tab


def texts(found: list[Element]) -> list[str]:
    return [element["text"].strip() for element in found]


def test_no_tab_is_empty(look: Look) -> None:
    tabs = ["time series", "scalars", "custom scalars", "images", "graphs", "hparams"]
    look("timeseries", "[role=tab]", lambda found: [t.lower() for t in texts(found)[:6]] == tabs)


def test_training_and_validation_share_a_chart(look: Look) -> None:
    matches = ["Matches (2)"] * 2
    look("custom_scalars", "#matches-list-title", lambda found: texts(found) == matches)
    # In each of two charts there are two curves, and these once more without smoothing.
    look("custom_scalars", "svg path.line", lambda found: len(found) == 8)


def test_curves_are_those_that_mean_something(look: Look, address: str) -> None:
    look("scalars", ".heading-label", lambda found: {"test/acc", "train/loss"} < set(texts(found)))
    with urlopen(f"{address}data/plugin/scalars/tags") as answer:
        ((run, tags),) = json.load(answer).items()
    assert set(tags) == {f"{part}/{kind}" for part in PARTS for kind in ("acc", "loss")}
    for tag in tags:
        query = urlencode({"run": run, "tag": tag})
        with urlopen(f"{address}data/plugin/scalars/scalars?{query}") as answer:
            points = json.load(answer)  # each one has a time, a step and a value
        assert [point[1] for point in points] == ([3] if tag.startswith("test") else [1, 2, 3])


def test_all_figures_are_in_sight(look: Look) -> None:
    look("images", "img", lambda found: len([one for one in found if one["width"] > 600]) == 9)


def test_graph_shows_the_network(look: Look) -> None:
    look("graphs", "g.node text", lambda found: any("MNISTClassifier" in t for t in texts(found)))


def test_runs_are_compared_by_their_figures(look: Look, fitted: Run) -> None:
    results = json.loads((fitted.folder / "results.json").read_text())
    hparams = ["epochs", "learning_rate", "seed", "settings/batch_norm", "settings/batch_size"]
    metrics = [
        "test/acc",
        "test/loss",
        "train/acc",
        "train/loss",
        "val/acc",
    ]  # at first, it shows five

    def compared(found: list[Element]) -> bool:
        cells = texts(found)  # a run's name and a box precede its values
        columns = [*hparams, *metrics]
        if cells[2 : 2 + len(columns)] != columns or len(cells) < 4 + 2 * len(columns):
            return False
        values = cells[4 + len(columns) + len(hparams) :]
        shown = dict(zip(metrics[:2], map(float, values[:2]), strict=True))
        return shown == pytest.approx({name: results[name] for name in shown}, rel=1e-3)

    look("hparams", "vaadin-grid-cell-content", compared)

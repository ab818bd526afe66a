"""The notebook shows the README's code and runs."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from mnist_lightning.figures import notebook as figures_notebook
from mnist_lightning.figures.publish import render_png

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / ".github" / "walkthrough.ipynb"


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def is_display(cell: Any) -> bool:
    return "display" in cell["metadata"].get("tags", [])


@pytest.fixture
def stored() -> Any:
    """The notebook in the repository."""
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_code_is_that_of_the_readme(stored: Any) -> None:
    cells = ["".join(cell["source"]) for cell in code_cells(stored) if not is_display(cell)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## From Keras.*?^```python\n(.*?)\n```$", readme, re.M | re.S)
    assert "\n\n".join(cells) == block


def test_other_cells_only_display_a_picture(stored: Any) -> None:
    displays = [cell for cell in code_cells(stored) if is_display(cell)]
    assert len(displays) == 2  # digits, your own picture
    for cell in displays:
        (statement,) = ast.parse("".join(cell["source"])).body
        assert isinstance(statement, ast.Expr)
        (output,) = cell["outputs"]
        assert "image/png" in output["data"]


def test_outputs_contain_no_private_paths(stored: Any) -> None:
    outputs = [output for cell in code_cells(stored) for output in cell["outputs"]]
    text = json.dumps([{**output, "data": list(output.get("data", ()))} for output in outputs])
    assert not re.findall(r"/(?:home|tmp|root|usr|work)/", text)
    assert "Traceback" not in text


class SimulatedFormatter(dict[type, Any]):
    """The part of IPython's formatter of PNG files that is used."""

    def for_type(self, kind: type, render: Any) -> None:
        """Registers a function for a class."""
        self[kind] = render


@pytest.mark.parametrize("existing", [{}, {Figure: "that of pyplot"}])
def test_a_format_that_the_notebook_has_for_figures_is_kept(
    existing: dict[type, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    formatter = SimulatedFormatter(existing)
    formatters = SimpleNamespace(formatters={"image/png": formatter})
    shell = SimpleNamespace(display_formatter=formatters)
    monkeypatch.setattr(figures_notebook, "_kernel_shell", lambda: shell)
    figures_notebook.show_figures_of_cells(render_png)
    assert formatter == {Figure: render_png} | existing


def execute(sources: list[str], folder: Path) -> list[Any]:
    """Executes cells in Jupyter and returns them with their outputs."""
    import nbformat
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(source) for source in sources]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, allow_errors=True, resources=resources)
    return list(client.execute().cells)


def num_images(cell: Any) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell["outputs"])


@pytest.mark.notebook
def test_figures_appear_in_the_cell_and_are_updated(tmp_path: Path) -> None:
    options = "max_epochs=3, limit_train_batches=2, logger=False, enable_checkpointing=False"
    fit, *last_values = execute(
        [
            "from lightning.pytorch import Trainer\n"
            "from mnist_lightning import *\n"
            "curves, grid = LearningCurves(), PredictionGrid()\n"
            f"trainer = Trainer(callbacks=[curves, grid, EpochProgress()], {options})\n"
            "trainer.fit(MNISTClassifier(), MNISTDataModule(source='sample'))",
            "curves",
            "grid.figure",
            "import torch\n"
            "from mnist_lightning.figures.grids import plot_training_images\n"
            "plot_training_images(torch.rand(4, 1, 28, 28), torch.arange(4), list('0123'))",
        ],
        tmp_path,
    )
    assert num_images(fit) == 2  # of three epochs
    assert [num_images(cell) for cell in last_values] == [1, 1, 1]


@pytest.mark.notebook
def test_a_failed_command_reads_well(tmp_path: Path) -> None:
    (cell,) = execute(
        ["from mnist_lightning.cli import main\nmain(['fit', '--data.batch_size=0'])"], tmp_path
    )
    (error,) = (output for output in cell["outputs"] if output["output_type"] == "error")
    assert error["evalue"].startswith("--data.batch_size is 0; it must be an integer from 1 to")
    assert len(error["traceback"]) <= 2


@pytest.mark.notebook
def test_runs_in_jupyter(stored: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    for scheme in ("http", "https"):  # no test uses the network, so the sample replaces MNIST
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    for cell in code_cells(notebook):
        cell["outputs"] = []
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    for cell in code_cells(notebook):
        is_fit = "trainer.fit(" in cell["source"]  # shows the figures of its callbacks
        is_test = "trainer.test(" in cell["source"]
        assert num_images(cell) == is_display(cell) + 2 * is_fit + is_test
    printed = "".join(
        output.get("text", "") for cell in code_cells(notebook) for output in cell["outputs"]
    )
    assert re.findall(r"^Epoch (\d+)/10  train/acc ", printed, re.M) == [*map(str, range(1, 11))]
    assert "This is a 7" in printed
    shown, executed = (summary_of(source) for source in (stored, notebook))
    assert shown == executed
    assert "37,610 of 37,610 parameters are trainable" in shown


def summary_of(notebook: Any) -> str:
    """Returns the printed model summary."""
    (cell,) = (cell for cell in code_cells(notebook) if "ModelSummary(" in "".join(cell["source"]))
    return "".join(text for output in cell["outputs"] for text in output["text"])

"""The HTML export writes one self-contained page."""

import json
import re
from pathlib import Path

import pytest
import torch
from conftest import Run
from torch import nn

from mnist_lightning import DigitCNN, MNISTClassifier
from mnist_lightning.cli import main
from mnist_lightning.errors import UserError
from mnist_lightning.export import html
from mnist_lightning.export.html import to_html


def test_command_exports_a_self_contained_page(fitted: Run, workdir: Path) -> None:
    best = fitted.folder / "checkpoints" / "best.ckpt"
    main(["export", "--format=html", "--output=digit.html", f"--ckpt_path={best}"])
    page = Path("digit.html").read_text()
    assert len(page) < 500_000
    assert "Weights of version_0/checkpoints/best.ckpt, epoch " in page
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in page
    assert not re.search(r"(src|href)=(?!\"data:)|https?://|@import|url\(", page)


def test_page_contains_every_part() -> None:
    page = to_html(MNISTClassifier()).decode()
    parts = {path.name for path in html.PAGE_DIR.iterdir()}
    assert parts == {"page.html", "page.css", *(f"{name}.js" for name in html.SCRIPTS)}
    for name in parts - {"page.html"}:
        assert (html.PAGE_DIR / name).read_text(encoding="utf-8").strip() in page
    assert page.count("<script") == page.count("</script>") == 2


def test_folds_batch_norm() -> None:
    model = MNISTClassifier(batch_norm=True)
    model.train()(torch.rand(200, 1, 28, 28))  # updates the running means
    assert isinstance(model.network, DigitCNN)
    folded = MNISTClassifier(model.network.folded())
    assert to_html(model) == to_html(folded)
    assert to_html(model) != to_html(MNISTClassifier())


def test_escapes_markup_and_placeholders() -> None:
    about = '</script><b>$model $script & "more"'
    page = to_html(MNISTClassifier(), about).decode()
    assert page.count("</script>") == 2
    model = page.split('id="model">')[1].split("</script>")[0]
    assert json.loads(model)["about"].endswith(about)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "Sequential"),
        (DigitCNN(num_classes=4), "DigitCNN with 4 classes"),
    ],
)
def test_rejects_other_networks(network: nn.Module, name: str) -> None:
    with pytest.raises(UserError, match=f"this network is {name}; export it with --format onnx"):
        to_html(MNISTClassifier(network))


def test_rejects_weights_that_are_not_finite() -> None:
    network = DigitCNN()
    nn.init.constant_(next(network.parameters()), float("nan"))
    with pytest.raises(UserError, match="the weights contain NaN or infinity; export a checkpoint"):
        to_html(MNISTClassifier(network))

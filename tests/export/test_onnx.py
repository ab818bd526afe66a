"""Networks in files that others read."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import Run
from torch import nn

from mnist_lightning import DigitCNN, MNISTClassifier, MNISTDataModule
from mnist_lightning.cli import main
from mnist_lightning.errors import UserError
from mnist_lightning.export.html import to_html
from mnist_lightning.export.onnx import to_onnx


def run(content: bytes, images: torch.Tensor) -> torch.Tensor:
    """Returns what another program makes of images."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [probabilities] = session.run(["probabilities"], {"images": images.numpy()})
    return torch.from_numpy(np.asarray(probabilities))


def agrees(model: MNISTClassifier, content: bytes, images: torch.Tensor) -> None:
    """Checks that another program gives the same digits and probabilities."""
    found = run(content, images)
    with torch.inference_mode():
        expected = model.eval().predict_step(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert torch.equal(found.argmax(dim=1), expected.argmax(dim=1))


@pytest.fixture
def digits(sample: MNISTDataModule) -> torch.Tensor:
    """The sample's 1,000 test digits."""
    return sample.test_set.images.float().div(255)


def test_onnx_gives_the_same_for_all_test_digits_of_mnist(
    tmp_path: Path, mnist_mirror: str
) -> None:
    data = MNISTDataModule(str(tmp_path), source="mnist", mirrors=mnist_mirror)
    data.prepare_data()
    data.setup("test")
    model = MNISTClassifier.from_pretrained()
    agrees(model, to_onnx(model), data.test_set.images.float().div(255))


def test_onnx_gives_the_same_probabilities(digits: torch.Tensor) -> None:
    model = MNISTClassifier.from_pretrained()
    content = to_onnx(model, "For a test.")
    assert model.training  # as it was
    for images in (digits, digits[:1], digits[:7]):  # any number at once
        agrees(model, content, images)


def test_onnx_says_what_it_is() -> None:
    proto = onnx.load_model_from_string(to_onnx(MNISTClassifier(num_classes=4), "For a test."))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.doc_string == "Classifies handwritten digits. For a test."
    assert proto.producer_name == "mnist_lightning"
    [images], [probabilities] = proto.graph.input, proto.graph.output
    assert (images.name, probabilities.name) == ("images", "probabilities")
    assert images.doc_string == "float32 (batch, 1, 28, 28) in [0, 1], ink light"
    assert probabilities.doc_string == "float32 (batch, 4), rows add up to 1"
    for value, sizes in ((images, [1, 28, 28]), (probabilities, [4])):
        batch, *others = value.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        assert [size.dim_value for size in others] == sizes


def test_onnx_of_other_networks(digits: torch.Tensor) -> None:
    normalised = MNISTClassifier(batch_norm=True)
    normalised.train()(digits[:200])  # moves its running means
    agrees(normalised, to_onnx(normalised), digits[:50])
    linear = MNISTClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    with pytest.raises(UserError, match="needs the model's example_input_array"):
        to_onnx(linear)
    linear.example_input_array = torch.zeros(1, 1, 28, 28)
    agrees(linear, to_onnx(linear), digits[:50])


def test_export_takes_the_best_checkpoint(
    fitted: Run, workdir: Path, digits: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    best = fitted.folder / "checkpoints" / "best.ckpt"
    main(["export", "--format=onnx", "--output=model.onnx", f"--ckpt_path={best}"])
    assert [path.name for path in workdir.iterdir()] == ["model.onnx"]
    model = MNISTClassifier.load_from_checkpoint(best, weights_only=True)
    content = Path("model.onnx").read_bytes()
    agrees(model, content, digits)
    assert "version_0/checkpoints/best.ckpt" in onnx.load_model_from_string(content).doc_string
    out = capsys.readouterr().out
    assert "Written:    model.onnx (169 kB)" in out
    assert "Data:" not in out


def test_page_holds_everything(fitted: Run, workdir: Path) -> None:
    best = fitted.folder / "checkpoints" / "best.ckpt"
    main(["export", "--format=html", "--output=digit.html", f"--ckpt_path={best}"])
    page = Path("digit.html").read_text()
    assert len(page) < 500_000
    assert "Weights of version_0/checkpoints/best.ckpt, epoch " in page
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'" in page
    assert not re.search(r"(src|href)=(?!\"data:)|https?://|@import|url\(", page)


def test_page_computes_normalised_networks_folded() -> None:
    normalised = MNISTClassifier(batch_norm=True)
    normalised.train()(torch.rand(200, 1, 28, 28))  # moves its running means
    assert isinstance(normalised.network, DigitCNN)
    plain = MNISTClassifier(normalised.network.folded())
    assert to_html(normalised) == to_html(plain)
    assert to_html(normalised) != to_html(MNISTClassifier())


def test_page_shows_no_markup_of_others() -> None:
    page = to_html(MNISTClassifier(), '</script><b>MODEL & "more"').decode()
    assert page.count("</script>") == 2
    model = page.split('id="model">')[1].split("</script>")[0]
    assert json.loads(model)["about"].endswith('</script><b>MODEL & "more"')


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "Sequential"),
        (DigitCNN(num_classes=4), "DigitCNN with 4 classes"),
    ],
)
def test_page_refuses_other_networks(network: nn.Module, what: str) -> None:
    with pytest.raises(UserError, match=f"this network is {what}; export it with --format onnx"):
        to_html(MNISTClassifier(network))


def test_page_refuses_weights_that_are_no_numbers() -> None:
    network = DigitCNN()
    nn.init.constant_(next(network.parameters()), float("nan"))
    with pytest.raises(UserError, match="no finite numbers"):
        to_html(MNISTClassifier(network))


def test_export_is_quiet_without_torchvision(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    to_onnx(MNISTClassifier())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_says_how_to_get_what_is_missing(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"needs {package}; install it with: pip install {package}"):
        to_onnx(MNISTClassifier())


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (["--format=onnx"], 2, "--output is missing; add --help to see what it may be"),
        (["--format=pdf", "--output=a"], 2, "--format is 'pdf'; it must be one of 'onnx', 'html'"),
        (["--output=a"], 2, "--format is missing; add --help to see what it may be"),
        (["--format=onnx", "--output=no/a"], 1, "no/a cannot be read or written (No such file"),
        (["--format=onnx", "--output=/tmp"], 2, "--output is '/tmp'; name a file"),
        (["--format=html", "--output=/dev/null"], 2, "--output is '/dev/null'; name a file"),
        (["--format=onnx", "--output=."], 2, "--output is '.'; name a file"),
    ],
)
def test_bad_input_writes_nothing(
    workdir: Path, args: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["export", "--ckpt_path=pretrained", *args])
    assert caught.value.code == code
    assert capsys.readouterr().err.startswith(f"error: {why}")
    assert not list(workdir.iterdir())

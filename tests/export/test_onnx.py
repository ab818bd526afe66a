"""The ONNX export gives the same predictions in another runtime."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import Run
from torch import nn

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.cli import main
from mnist_lightning.errors import UserError
from mnist_lightning.export.onnx import to_onnx


def check_same_predictions(model: MNISTClassifier, content: bytes, images: torch.Tensor) -> None:
    """Checks that onnxruntime gives the same labels and probabilities."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    [outputs] = session.run(["probabilities"], {"images": images.numpy()})
    probabilities = torch.from_numpy(np.asarray(outputs))
    with torch.inference_mode():
        expected = model.eval().predict_step(images)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-5)
    assert torch.equal(probabilities.argmax(dim=1), expected.argmax(dim=1))


@pytest.fixture
def digits(sample: MNISTDataModule) -> torch.Tensor:
    """The sample's 1,000 test digits."""
    return sample.test_set.images.float().div(255)


def test_same_predictions_for_all_mnist_test_digits(tmp_path: Path, mnist_mirror: str) -> None:
    data = MNISTDataModule(str(tmp_path), source="mnist", mirrors=mnist_mirror)
    data.prepare_data()
    data.setup("test")
    model = MNISTClassifier.from_pretrained()
    check_same_predictions(model, to_onnx(model), data.test_set.images.float().div(255))


def test_same_predictions_for_any_batch_size(digits: torch.Tensor) -> None:
    model = MNISTClassifier.from_pretrained()
    content = to_onnx(model, "For a test.")
    assert model.training  # the mode is restored
    for images in (digits, digits[:1], digits[:7]):
        check_same_predictions(model, content, images)


def test_file_documents_itself() -> None:
    proto = onnx.load_model_from_string(to_onnx(MNISTClassifier(num_classes=4), "For a test."))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.doc_string == "Classifies handwritten digits. For a test."
    assert proto.producer_name == "mnist_lightning"
    [images], [probabilities] = proto.graph.input, proto.graph.output
    assert (images.name, probabilities.name) == ("images", "probabilities")
    assert images.doc_string == "float32 (batch, 1, 28, 28) in [0, 1], ink light"
    assert probabilities.doc_string == "float32 (batch, 4), rows add up to 1"
    for value, expected_sizes in ((images, [1, 28, 28]), (probabilities, [4])):
        batch, *sizes = value.type.tensor_type.shape.dim
        assert batch.dim_param == "batch"
        assert [size.dim_value for size in sizes] == expected_sizes


def test_same_predictions_with_batch_norm(digits: torch.Tensor) -> None:
    model = MNISTClassifier(batch_norm=True)
    model.train()(digits[:200])  # updates the running means
    check_same_predictions(model, to_onnx(model), digits[:50])


def test_other_networks_require_an_example_input(digits: torch.Tensor) -> None:
    model = MNISTClassifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    with pytest.raises(UserError, match="requires the model's example_input_array; set it to"):
        to_onnx(model)
    model.example_input_array = torch.zeros(1, 1, 28, 28)
    check_same_predictions(model, to_onnx(model), digits[:50])


def test_command_exports_the_weights_of_a_checkpoint(
    fitted: Run, workdir: Path, digits: torch.Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    best = fitted.folder / "checkpoints" / "best.ckpt"
    main(["export", "--format=onnx", "--output=model.onnx", f"--ckpt_path={best}"])
    assert [path.name for path in workdir.iterdir()] == ["model.onnx"]
    model = MNISTClassifier.load_from_checkpoint(best, weights_only=True)
    content = Path("model.onnx").read_bytes()
    check_same_predictions(model, content, digits)
    assert "version_0/checkpoints/best.ckpt" in onnx.load_model_from_string(content).doc_string
    out = capsys.readouterr().out
    assert "Written:     model.onnx (169 kB)" in out
    assert "Data:" not in out


def test_is_quiet_without_torchvision(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    to_onnx(MNISTClassifier())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = f"requires {package}; install it with: pip install {package}"
    with pytest.raises(UserError, match=message):
        to_onnx(MNISTClassifier())

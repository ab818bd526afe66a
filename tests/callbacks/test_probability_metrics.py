"""Top-2 accuracy and calibration error."""

from pathlib import Path

import pytest
import torch
from command_line import results
from conftest import Run
from foreign import loader
from lightning.pytorch import LightningModule
from torch import Tensor
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.callbacks.probability_metrics import ProbabilityMetrics


class Fixed(LightningModule):
    """Returns the images as logits."""

    @override
    def test_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return batch[0]


def test_measures_what_the_definitions_say() -> None:
    # Probabilities 0.8 and 0.6 of the predicted class: right, wrong; one label is ignored.
    probabilities = torch.tensor([[0.8, 0.15, 0.05], [0.6, 0.3, 0.1], [0.6, 0.1, 0.3], [1, 0, 0]])
    labels = torch.tensor([0, 1, 1, -100])
    callback = ProbabilityMetrics()
    quiet_trainer(callbacks=[callback]).test(Fixed(), loader(probabilities.log(), labels))
    assert callback.values == {
        "test/top2_acc": pytest.approx(2 / 3),
        "test/calibration_error": pytest.approx((0.2 + 2 * 0.6) / 3),
    }


def test_results_contain_them(fitted: Run, workdir: Path) -> None:
    found = results(fitted.folder)
    assert found["test/acc"] < found["test/top2_acc"] <= 1
    assert 0 < found["test/calibration_error"] < 1
    model = MNISTClassifier.load_from_checkpoint(
        fitted.folder / "checkpoints" / "best.ckpt", weights_only=True
    )
    data = MNISTDataModule(source="sample")
    data.setup("test")
    images, labels = data.test_set.batch(torch.arange(1_000))
    with torch.inference_mode():
        best = model.eval()(images).topk(2).indices
    expected = (best == labels.view(-1, 1)).any(dim=1).float().mean().item()
    assert found["test/top2_acc"] == pytest.approx(expected)


def test_batches_without_labels_have_no_values() -> None:
    class Unlabelled(LightningModule):
        @override
        def test_step(self, batch: Tensor) -> None:
            pass

    callback = ProbabilityMetrics()
    images = torch.utils.data.DataLoader[Tensor](torch.rand(8, 3))  # type: ignore[arg-type]
    quiet_trainer(callbacks=[callback]).test(Unlabelled(), images)
    assert callback.values == {}

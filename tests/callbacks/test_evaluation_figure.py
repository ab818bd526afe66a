"""The callbacks that plot predictions: where logits come from, and warnings without them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import Drawing, logged_messages
from foreign import ForeignClassifier, loader
from lightning.pytorch import Callback, LightningModule
from torch import Tensor
from trainers import quiet_trainer

from mnist_lightning import (
    ConfusionMatrix,
    MisclassifiedGrid,
    PredictionGrid,
    TrainingImages,
)

IMAGES, LABELS = torch.rand(8, 1, 2, 2), torch.tensor([0, 1] * 4)
CALLBACKS: list[Callable[[], Callback]] = [ConfusionMatrix, MisclassifiedGrid, PredictionGrid]


class LogitsFromStep(ForeignClassifier):
    """Returns logits from its steps only."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__(4, classes=2)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("forward was run again")

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        return self.wrap(torch.eye(2)[batch[1].clamp(0, 1)])  # all predictions are correct


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("wrap", [lambda logits: logits, lambda logits: {"logits": logits}])
def test_uses_the_logits_of_the_step(
    tmp_path: Path,
    drawn: list[Drawing],
    callback: Callable[[], Callback],
    wrap: Callable[[Tensor], Any],
) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback()])
    trainer.test(LogitsFromStep(wrap), loader(IMAGES, LABELS), verbose=False)
    (drawing,) = drawn
    expected = ("8 of 8 correct", "0 of 8 misclassified", "0 mistakes")
    assert any(words in drawing.title for words in expected)


class NoForward(ForeignClassifier):
    """Implements steps but not ``forward``."""

    def __init__(self) -> None:
        super().__init__(4, classes=2)

    forward = LightningModule.forward

    def test_step(self, batch: Any, batch_idx: int) -> None:
        pass


class Masked(NoForward):
    """Its ``forward`` has a second argument."""

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return images.flatten(1) * mask


class Detector(NoForward):
    """Its ``forward`` returns a dict without logits."""

    def forward(self, images: Tensor) -> Any:
        return {"boxes": images}


class Regressor(NoForward):
    """Its ``forward`` returns one number per image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).mean(dim=1, keepdim=True)


ONLY_IMAGES = "a model whose forward takes only images, or steps that return logits"
NO_LOGITS = "a model whose forward maps images to logits (N, num_classes)"


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    ("model", "batch", "requirement"),
    [
        pytest.param(NoForward, (IMAGES, LABELS), ONLY_IMAGES, id="no forward"),
        pytest.param(Masked, (IMAGES, LABELS), ONLY_IMAGES, id="two arguments"),
        pytest.param(Detector, (IMAGES, LABELS), NO_LOGITS, id="no logits"),
        pytest.param(Regressor, (IMAGES, LABELS), NO_LOGITS, id="one number"),
        pytest.param(
            NoForward, (IMAGES,), "batches that begin with images and labels", id="no labels"
        ),
        pytest.param(
            NoForward,
            (IMAGES, torch.rand(8)),
            "integer labels of shape (N,), not torch.float32 of shape (4,)",
            id="float labels",
        ),
        pytest.param(
            NoForward,
            (IMAGES, torch.eye(8, dtype=torch.long)),
            "integer labels of shape (N,), not torch.int64 of shape (4, 8)",
            id="one-hot labels",
        ),
    ],
)
def test_warns_once_about_a_missing_requirement(
    tmp_path: Path,
    drawn: list[Drawing],
    caplog: pytest.LogCaptureFixture,
    callback: Callable[[], Callback],
    model: type[NoForward],
    batch: tuple[Tensor, ...],
    requirement: str,
) -> None:
    instance = callback()
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[instance])
    trainer.test(model(), loader(*batch), verbose=False)  # two batches
    name = type(instance).__name__
    assert logged_messages(caplog) == [f"{name} is disabled: it requires {requirement}"]
    assert drawn == []


def test_draws_again_with_a_supported_model(
    tmp_path: Path, drawn: list[Drawing], caplog: pytest.LogCaptureFixture
) -> None:
    callback = ConfusionMatrix()
    for model in (NoForward(), NoForward(), ForeignClassifier(4, classes=2)):
        trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback])
        trainer.test(model, loader(IMAGES, LABELS), verbose=False)
    assert len(logged_messages(caplog)) == 1
    assert len(drawn) == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
def test_accepts_labels_of_any_integer_type(
    tmp_path: Path, drawn: list[Drawing], dtype: torch.dtype
) -> None:
    class NoLoss(ForeignClassifier):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass  # cross_entropy accepts int64 only

    callbacks = [callback() for callback in CALLBACKS]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks)
    trainer.test(NoLoss(4, classes=2), loader(IMAGES, LABELS.to(dtype)), verbose=False)
    assert len(drawn) == 3


def test_does_not_count_labels_that_the_loss_ignores(tmp_path: Path, drawn: list[Drawing]) -> None:
    labels = torch.tensor([0, -100, 1, -1, 0, 7, 1, 0])  # with two classes, 7 is invalid
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[callback() for callback in CALLBACKS]
    )
    model = LogitsFromStep(lambda logits: torch.tensor([[3.0, 0.0]] * len(logits)))
    trainer.test(model, loader(IMAGES, labels), verbose=False)
    matrix, mistakes, grid = drawn
    assert matrix.title == "Test images: 2 of 5 misclassified"
    assert mistakes.title == "Test images: 2 mistakes"
    assert mistakes.texts[0] == "1  5%\n→ 0  95%"
    assert grid.texts[1] == "?→0  95% ✗"


def test_warns_about_images_of_several_sizes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Batches(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            for side in (4, 6):
                yield torch.rand(2, 1, side, side), torch.tensor([0, 1])

    class AnySize(ForeignClassifier):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :2] * self.layer.weight.sum()

    data = torch.utils.data.DataLoader(Batches(), batch_size=None)
    callbacks = [*(callback() for callback in CALLBACKS), TrainingImages()]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks, max_epochs=1)
    trainer.fit(AnySize(4, classes=2), data, data)
    trainer.test(AnySize(4, classes=2), data, verbose=False)
    messages = logged_messages(caplog)
    assert {message.split()[0] for message in messages} == {
        "MisclassifiedGrid",
        "PredictionGrid",
        "TrainingImages",
    }
    assert all("images of one size, not (1, 4, 4) and (1, 6, 6)" in text for text in messages)


def test_warns_about_too_many_classes(
    tmp_path: Path, drawn: list[Drawing], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[ConfusionMatrix()])
    trainer.test(ForeignClassifier(4, classes=65), loader(IMAGES, LABELS), verbose=False)
    assert logged_messages(caplog) == [
        "ConfusionMatrix is disabled: it requires at most 64 classes, not 65"
    ]
    assert drawn == []


@pytest.mark.parametrize("names", [["cat"], list("abcdefg"), [1, 2], ["a" * 50, "b"]])
def test_accepts_any_class_names(tmp_path: Path, drawn: list[Drawing], names: list[Any]) -> None:
    callbacks = [callback(class_names=names) for callback in CALLBACKS]  # type: ignore[call-arg]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks)
    trainer.test(ForeignClassifier(4, classes=2), loader(IMAGES, LABELS), verbose=False)
    ticks = [label.get_text() for label in drawn[0].figure.axes[0].get_yticklabels()]
    assert len(ticks) == 2
    assert ticks[0] == str(names[0])[:19] + "…" * (len(str(names[0])) > 20)


@pytest.mark.parametrize("callback", [MisclassifiedGrid, PredictionGrid])
def test_grids_warn_about_inputs_that_are_not_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, callback: Callable[[], Callback]
) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback()])
    data = loader(IMAGES.flatten(1), LABELS)
    trainer.test(ForeignClassifier(4, classes=2), data, verbose=False)
    (message,) = logged_messages(caplog)
    assert message.endswith("images of shape (N, 1 or 3, H, W), not (4, 4)")
    assert list(tmp_path.iterdir()) == []


def test_uses_the_first_of_several_loaders(tmp_path: Path, drawn: list[Drawing]) -> None:
    class SeveralLoaders(ForeignClassifier):
        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            pass

    loaders = [loader(IMAGES, LABELS), loader(IMAGES[:4], LABELS[:4])]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[ConfusionMatrix()])
    trainer.test(SeveralLoaders(4, classes=2), loaders, verbose=False)
    assert [drawing.title.split(" of ")[1] for drawing in drawn] == ["8 misclassified"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_draws_with_any_precision(tmp_path: Path, drawn: list[Drawing], precision: str) -> None:
    callbacks = [callback() for callback in CALLBACKS]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks, precision=precision)
    trainer.test(ForeignClassifier(4, classes=2), loader(IMAGES, LABELS), verbose=False)
    assert len(drawn) == 3
    for drawing in drawn:
        drawing.figure.canvas.draw()


def test_validate_draws_immediately(tmp_path: Path, drawn: list[Drawing]) -> None:
    callbacks = [callback() for callback in CALLBACKS]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks)
    trainer.validate(ForeignClassifier(4, classes=2), loader(IMAGES, LABELS), verbose=False)
    assert [(drawing.tag, drawing.epoch) for drawing in drawn] == [
        ("confusion matrix, validation", 0),
        ("misclassified, validation", 0),
        ("predictions, validation", 0),
    ]

"""Whose logits are drawn, and what is said where there are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from drawings import Drawing, said
from foreign import Foreign, loader
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


class Returning(Foreign):
    """Its steps return logits that its forward would not give."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__(4, classes=2)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("run once more")

    def test_step(self, batch: Any, batch_idx: int) -> Any:
        return self.wrap(torch.eye(2)[batch[1].clamp(0, 1)])  # every image is right


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize("wrap", [lambda logits: logits, lambda logits: {"logits": logits}])
def test_logits_of_the_step_spare_a_second_pass(
    tmp_path: Path,
    drawn: list[Drawing],
    callback: Callable[[], Callback],
    wrap: Callable[[Tensor], Any],
) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback()])
    trainer.test(Returning(wrap), loader(IMAGES, LABELS), verbose=False)
    (one,) = drawn
    assert any(words in one.title for words in ("8 of 8 right", "0 of 8 wrong", "0 mistakes"))


class NoForward(Foreign):
    """Has no forward, like a model that only knows its steps."""

    def __init__(self) -> None:
        super().__init__(4, classes=2)

    forward = LightningModule.forward

    def test_step(self, batch: Any, batch_idx: int) -> None:
        pass


class Masked(NoForward):
    """Its forward takes more than images."""

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return images.flatten(1) * mask


class Detector(NoForward):
    """Its forward gives no logits."""

    def forward(self, images: Tensor) -> Any:
        return {"boxes": images}


class Regressor(NoForward):
    """Gives one number for each image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).mean(dim=1, keepdim=True)


@pytest.mark.parametrize("callback", CALLBACKS)
@pytest.mark.parametrize(
    ("model", "batch", "lacking"),
    [
        (
            NoForward,
            (IMAGES, LABELS),
            "a model whose forward takes images alone, or steps that return logits",
        ),
        (
            Masked,
            (IMAGES, LABELS),
            "a model whose forward takes images alone, or steps that return logits",
        ),
        (
            Detector,
            (IMAGES, LABELS),
            "a model whose forward maps images to logits (N, num_classes)",
        ),
        (
            Regressor,
            (IMAGES, LABELS),
            "a model whose forward maps images to logits (N, num_classes)",
        ),
        (NoForward, (IMAGES,), "batches that begin with images and labels"),
        (
            NoForward,
            (IMAGES, torch.rand(8)),
            "labels that are whole numbers of shape (N,), not torch.float32 of shape (4,)",
        ),
        (
            NoForward,
            (IMAGES, torch.eye(8, dtype=torch.long)),
            "labels that are whole numbers of shape (N,), not torch.int64 of shape (4, 8)",
        ),
    ],
    ids=[
        "no forward",
        "two arguments",
        "no logits",
        "one number",
        "no labels",
        "float labels",
        "one-hot labels",
    ],
)
def test_says_once_what_it_lacks(
    tmp_path: Path,
    drawn: list[Drawing],
    caplog: pytest.LogCaptureFixture,
    callback: Callable[[], Callback],
    model: type[NoForward],
    batch: tuple[Tensor, ...],
    lacking: str,
) -> None:
    one = callback()
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[one])
    trainer.test(model(), loader(*batch), verbose=False)  # two batches
    assert said(caplog) == [f"{type(one).__name__} draws nothing: it needs {lacking}"]
    assert drawn == []


def test_draws_again_once_nothing_is_lacking(
    tmp_path: Path, drawn: list[Drawing], caplog: pytest.LogCaptureFixture
) -> None:
    callback = ConfusionMatrix()
    for model in (NoForward(), NoForward(), Foreign(4, classes=2)):
        trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback])
        trainer.test(model, loader(IMAGES, LABELS), verbose=False)
    assert len(said(caplog)) == 1
    assert len(drawn) == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.bool])
def test_labels_may_be_any_whole_numbers(
    tmp_path: Path, drawn: list[Drawing], dtype: torch.dtype
) -> None:
    class Casting(Foreign):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            pass

    callbacks = [callback() for callback in CALLBACKS]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks)
    trainer.test(Casting(4, classes=2), loader(IMAGES, LABELS.to(dtype)), verbose=False)
    assert len(drawn) == 3


def test_labels_that_the_loss_ignores_do_not_count(tmp_path: Path, drawn: list[Drawing]) -> None:
    labels = torch.tensor([0, -100, 1, -1, 0, 7, 1, 0])  # 7 of two classes
    trainer = quiet_trainer(
        default_root_dir=tmp_path, callbacks=[callback() for callback in CALLBACKS]
    )
    model = Returning(lambda logits: torch.tensor([[3.0, 0.0]] * len(logits)))
    trainer.test(model, loader(IMAGES, labels), verbose=False)
    matrix, mistakes, grid = drawn
    assert matrix.title == "Test images: 2 of 5 wrong"
    assert mistakes.title == "Test images: 2 mistakes"
    assert mistakes.texts[0] == "1  5%\n→ 0  95%"
    assert grid.texts[1] == "?→0  95% ✗"


def test_images_of_several_sizes_are_not_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Batches(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            for side in (4, 6):
                yield torch.rand(2, 1, side, side), torch.tensor([0, 1])

    class Pooling(Foreign):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :2] * self.layer.weight.sum()

    data = torch.utils.data.DataLoader(Batches(), batch_size=None)
    callbacks = [*(callback() for callback in CALLBACKS), TrainingImages()]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks, max_epochs=1)
    trainer.fit(Pooling(4, classes=2), data, data)
    trainer.test(Pooling(4, classes=2), data, verbose=False)
    assert {message.split()[0] for message in said(caplog)} == {
        "MisclassifiedGrid",
        "PredictionGrid",
        "TrainingImages",
    }
    assert all("images of one size, not" in message for message in said(caplog))


def test_too_many_classes_are_not_drawn(
    tmp_path: Path, drawn: list[Drawing], caplog: pytest.LogCaptureFixture
) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[ConfusionMatrix()])
    trainer.test(Foreign(4, classes=65), loader(IMAGES, LABELS), verbose=False)
    assert said(caplog) == ["ConfusionMatrix draws nothing: it needs at most 64 classes, not 65"]
    assert drawn == []


@pytest.mark.parametrize("names", [["cat"], list("abcdefg"), [1, 2], ["a" * 50, "b"]])
def test_any_class_names_will_do(tmp_path: Path, drawn: list[Drawing], names: list[Any]) -> None:
    callbacks = [callback(class_names=names) for callback in CALLBACKS]  # type: ignore[call-arg]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks)
    trainer.test(Foreign(4, classes=2), loader(IMAGES, LABELS), verbose=False)
    ticks = [label.get_text() for label in drawn[0].figure.axes[0].get_yticklabels()]
    assert len(ticks) == 2
    assert ticks[0] == str(names[0])[:19] + "…" * (len(str(names[0])) > 20)


@pytest.mark.parametrize("callback", [MisclassifiedGrid, PredictionGrid])
def test_grids_need_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, callback: Callable[[], Callback]
) -> None:
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[callback()])
    trainer.test(Foreign(4, classes=2), loader(IMAGES.flatten(1), LABELS), verbose=False)
    (message,) = said(caplog)
    assert message.endswith("images of shape (N, 1 or 3, H, W), not (4, 4)")
    assert list(tmp_path.iterdir()) == []


def test_looks_at_the_first_of_several_loaders(tmp_path: Path, drawn: list[Drawing]) -> None:
    class Two(Foreign):
        def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            pass

    loaders = [loader(IMAGES, LABELS), loader(IMAGES[:4], LABELS[:4])]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[ConfusionMatrix()])
    trainer.test(Two(4, classes=2), loaders, verbose=False)
    assert [one.title.split(" of ")[1] for one in drawn] == ["8 wrong"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_draws_in_other_precisions(tmp_path: Path, drawn: list[Drawing], precision: str) -> None:
    callbacks = [callback() for callback in CALLBACKS]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks, precision=precision)
    trainer.test(Foreign(4, classes=2), loader(IMAGES, LABELS), verbose=False)
    assert len(drawn) == 3
    for one in drawn:
        one.figure.canvas.draw()


def test_validate_draws_at_once(tmp_path: Path, drawn: list[Drawing]) -> None:
    callbacks = [callback() for callback in CALLBACKS]
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=callbacks)
    trainer.validate(Foreign(4, classes=2), loader(IMAGES, LABELS), verbose=False)
    assert [(one.tag, one.epoch) for one in drawn] == [
        ("confusion matrix, validation", 0),
        ("misclassified, validation", 0),
        ("predictions, validation", 0),
    ]

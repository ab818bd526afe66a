"""Training, validating and predicting."""

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset
from trainers import quiet_trainer

from mnist_lightning import DigitCNN, MNISTClassifier, MNISTDataModule
from mnist_lightning.errors import InvalidArgumentError
from mnist_lightning.metrics import MeanOverImages


def loader(images: Tensor, labels: Tensor) -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(images, labels), batch_size=32)


def test_forward_returns_logits_and_predict_step_probabilities() -> None:
    model = MNISTClassifier().eval()
    images, labels = torch.rand(4, 1, 28, 28), torch.arange(4)
    logits = model(images)
    torch.testing.assert_close(logits, model.network(images))
    assert not torch.allclose(logits.exp().sum(dim=1), torch.ones(4))
    for batch in (images, (images, labels), [images, labels]):
        probabilities = model.predict_step(batch)
        torch.testing.assert_close(probabilities, logits.softmax(dim=1))


def test_uses_adam_with_keras_defaults() -> None:
    model = MNISTClassifier()
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["eps"], group["betas"]) == (1e-3, 1e-7, (0.9, 0.999))
    assert (group["weight_decay"], group["amsgrad"]) == (0, False)
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}
    optimizer = MNISTClassifier(learning_rate=0.5).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_weight_decay_is_decoupled() -> None:
    model = MNISTClassifier(learning_rate=0.1, weight_decay=0.5)
    optimizer = model.configure_optimizers()
    assert isinstance(optimizer, AdamW)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter, weight in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), weight * (1 - 0.1 * 0.5))


def test_batch_norm_is_passed_to_the_default_network() -> None:
    def norms(model: MNISTClassifier) -> int:
        return sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in model.modules())

    assert (norms(MNISTClassifier()), norms(MNISTClassifier(batch_norm=True))) == (0, 3)


def test_one_cycle_raises_the_step_size_and_lowers_it_to_almost_zero() -> None:
    class Watch(Callback):
        rates: ClassVar[list[float]] = []

        def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    data = loader(torch.rand(160, 1, 28, 28), torch.randint(10, (160,)))  # 5 steps per epoch
    model = MNISTClassifier(learning_rate=0.5, schedule="one_cycle")
    quiet_trainer(max_epochs=4, callbacks=[Watch()]).fit(model, data, data)
    peak = Watch.rates.index(max(Watch.rates))
    assert Watch.rates[peak] == pytest.approx(0.5)
    assert len(Watch.rates) == 20
    assert 3 <= peak <= 7
    assert Watch.rates == [*sorted(Watch.rates[:peak]), *sorted(Watch.rates[peak:], reverse=True)]
    assert Watch.rates[0] == pytest.approx(0.02)
    assert Watch.rates[-1] < 1e-4


def test_one_cycle_requires_a_known_length() -> None:
    data = loader(torch.rand(32, 1, 28, 28), torch.randint(10, (32,)))
    trainer = quiet_trainer(max_epochs=-1, max_time={"hours": 1})
    model = MNISTClassifier(schedule="one_cycle")
    with pytest.raises(MisconfigurationException, match=r"set --trainer\.max_epochs"):
        trainer.fit(model, data, data)


def test_progress_bars_of_lightning_show_the_metrics() -> None:
    data = loader(torch.rand(32, 1, 28, 28), torch.randint(10, (32,)))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(MNISTClassifier(), data, data)
    assert {"train/loss", "train/acc", "val/loss", "val/acc"} <= trainer.progress_bar_metrics.keys()


def test_smooths_labels_during_training_only() -> None:
    torch.manual_seed(0)
    batch = (torch.rand(8, 1, 28, 28), torch.randint(10, (8,)))
    model = MNISTClassifier(dropout=0.0, label_smoothing=0.3, learning_rate=1e-30)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, loader(*batch), loader(*batch))
    logits = model(batch[0]).detach()
    plain = float(functional.cross_entropy(logits, batch[1]))
    spread = float(-logits.log_softmax(dim=1).mean())
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(plain, rel=1e-5)
    expected = 0.7 * plain + 0.3 * spread
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(expected, rel=1e-5)


def test_metrics_are_means_over_all_images_of_an_epoch() -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(50, 1, 28, 28), torch.randint(10, (50,))  # 32 and 18 in a batch
    model = MNISTClassifier(dropout=0.0, learning_rate=1e-30)  # the weights do not change
    with torch.no_grad():
        logits = model(images)
    loss = float(functional.cross_entropy(logits, labels))
    accuracy = float((logits.argmax(dim=1) == labels).float().mean())

    seen: list[dict[str, float]] = []
    trainer = quiet_trainer(max_epochs=2)
    model.on_validation_end = lambda: seen.append(  # type: ignore[method-assign]
        {name: float(value) for name, value in trainer.callback_metrics.items()}
    )
    data = loader(images, labels)
    trainer.fit(model, data, data)
    seen.append({name: float(value) for name, value in trainer.callback_metrics.items()})
    (tested,) = trainer.test(model, data, verbose=False)

    for metrics in (*seen[1:], tested):  # the first are those of the sanity check
        for name, value in metrics.items():
            expected = loss if name.endswith("loss") else accuracy
            assert value == pytest.approx(expected, rel=1e-5), name
    assert set(seen[-1]) == {"train/loss", "train/acc", "val/loss", "val/acc"}
    assert set(tested) == {"test/loss", "test/acc"}


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true"])
def test_metrics_are_exact_in_any_precision(sample: MNISTDataModule, precision: Any) -> None:
    trainer = quiet_trainer(precision=precision, accelerator="cpu")
    with trainer.init_module():
        model = MNISTClassifier.from_pretrained()
    (metrics,) = trainer.validate(model, sample, verbose=False)
    model.eval()
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        batches = [(images.to(dtype), labels) for images, labels in sample.val_dataloader()]
        outputs = [(model(x), model.predict_step(x), y) for x, y in batches]
    logits, probabilities, labels = map(torch.cat, zip(*outputs, strict=True))
    num_right = int((logits.argmax(dim=1) == labels).sum())
    assert metrics["val/acc"] == pytest.approx(num_right / len(labels), abs=1e-6)
    assert num_right < len(labels)
    loss = functional.cross_entropy(logits.double(), labels)
    assert metrics["val/loss"] == pytest.approx(float(loss), rel=1e-4)
    expected = logits.double().softmax(dim=1)
    torch.testing.assert_close(probabilities.double(), expected, rtol=1e-5, atol=1e-6)


def test_metrics_keep_their_sums_when_the_model_is_converted() -> None:
    metric = MeanOverImages()
    model = nn.ModuleList([metric])
    metric.update(torch.tensor(70_001.0), 100_001)
    for convert in (model.half, model.bfloat16, model.double):
        convert()
        assert (float(metric.total), float(metric.num_images)) == (70_001, 100_001)
    assert metric.total.dtype == torch.float32
    assert metric.set_dtype(torch.float64).total.dtype == torch.float64


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_gradients_can_be_clipped_in_any_precision(sample: MNISTDataModule, precision: Any) -> None:
    trainer = quiet_trainer(precision=precision, gradient_clip_val=1e-3, max_steps=2)
    trainer.fit(MNISTClassifier(), sample)
    (group,) = trainer.optimizers[0].param_groups
    assert group["fused"] == (precision == "32-true")


def test_interrupted_epoch_does_not_affect_later_metrics() -> None:
    class Interrupt(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            raise RuntimeError("interrupted")

    model = MNISTClassifier()
    images, labels = torch.rand(48, 1, 28, 28), torch.randint(10, (48,))
    data = loader(images, labels)
    with pytest.raises(RuntimeError, match="interrupted"):
        quiet_trainer(max_epochs=1, callbacks=[Interrupt()]).fit(model, data, data)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, data, data)
    assert set(trainer.callback_metrics) == {"train/loss", "train/acc", "val/loss", "val/acc"}
    accuracy = float(trainer.callback_metrics["train/acc"]) * 48
    assert accuracy == pytest.approx(round(accuracy), abs=1e-4)  # 48 images, no more


def test_can_be_validated_before_training() -> None:
    model = MNISTClassifier()
    data = loader(torch.rand(48, 1, 28, 28), torch.randint(10, (48,)))
    quiet_trainer().validate(model, data, verbose=False)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, data, data)
    assert "val/loss" in trainer.callback_metrics


def test_computes_metrics_once_per_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MNISTClassifier()
    computed: list[str] = []
    for name, metric in model.train_metrics.items():

        def counted(name: str = name, compute: Any = metric.compute) -> Any:
            computed.append(str(name))
            return compute()

        monkeypatch.setattr(metric, "compute", counted)
    data = loader(torch.rand(160, 1, 28, 28), torch.randint(10, (160,)))
    quiet_trainer(max_epochs=2).fit(model, data, data)
    assert sorted(computed) == ["train/acc", "train/acc", "train/loss", "train/loss"]


def test_learns(sample: MNISTDataModule) -> None:
    torch.manual_seed(0)
    model = MNISTClassifier()
    trainer = quiet_trainer(max_epochs=3)
    trainer.fit(model, sample)
    assert float(trainer.callback_metrics["val/acc"]) > 0.85


def test_accepts_any_network_that_returns_logits() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    model = MNISTClassifier(network, num_classes=3)
    assert model.network is network
    data = loader(torch.rand(40, 3, 2, 2), torch.randint(3, (40,)))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, data, data)
    assert set(trainer.callback_metrics) == {"train/loss", "train/acc", "val/loss", "val/acc"}


def test_passes_arguments_to_the_default_network() -> None:
    network = MNISTClassifier(dropout=0.5, num_classes=26).network
    assert isinstance(network, DigitCNN)
    dropout, last = network.head[-2:]
    assert dropout.p == 0.5
    assert last.out_features == 26


def test_checkpoint_contains_plain_values_and_can_be_loaded(tmp_path: Path) -> None:
    model = MNISTClassifier(learning_rate=0.01, dropout=0.3)
    trainer = quiet_trainer(max_epochs=1)
    data = loader(torch.rand(8, 1, 28, 28), torch.randint(10, (8,)))
    trainer.fit(model, data, data)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    loaded = MNISTClassifier.load_from_checkpoint(path, weights_only=True)
    assert (loaded.hparams["learning_rate"], loaded.hparams["dropout"]) == (0.01, 0.3)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)
    assert all(name.startswith("network.") for name in model.state_dict())


def test_checkpoint_of_another_network_requires_that_network(tmp_path: Path) -> None:
    def make_network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))

    model = MNISTClassifier(make_network())
    trainer = quiet_trainer(max_epochs=1)
    data = loader(torch.rand(8, 1, 28, 28), torch.randint(10, (8,)))
    trainer.fit(model, data, data)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    with pytest.raises(RuntimeError, match="not match DigitCNN; pass the network that was trained"):
        MNISTClassifier.load_from_checkpoint(path, weights_only=True)
    loaded = MNISTClassifier.load_from_checkpoint(path, weights_only=True, network=make_network())
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("num_classes", 1),
        ("schedule", "linear"),
        ("label_smoothing", 1.0),
        ("weight_decay", -0.1),
        ("weight_decay", math.inf),
    ],
)
def test_rejects_values_out_of_range(name: str, value: float | str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{name} is {value!r}; it must"):
        MNISTClassifier(**{name: value})  # type: ignore[arg-type]


def test_rejects_a_module_without_forward() -> None:
    with pytest.raises(InvalidArgumentError, match=r"network is Module.*; it must"):
        MNISTClassifier(nn.Module())
    with pytest.raises(InvalidArgumentError, match=r"augment is Module.*; it must"):
        MNISTDataModule(augment=nn.Module())


def test_truncates_a_long_value_in_the_message() -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        MNISTClassifier(learning_rate=[0] * 1000)  # type: ignore[arg-type]
    assert str(caught.value).startswith("learning_rate is [0, 0, ")
    assert "…; it must be above 0" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_pretrained_model_classifies_digits(sample: MNISTDataModule) -> None:
    model = MNISTClassifier.from_pretrained(learning_rate=0.5).eval()
    assert (model.learning_rate, model.hparams["learning_rate"]) == (0.5, 0.5)
    images, labels = sample.test_set.images / 255, sample.test_set.labels
    with torch.inference_mode():
        right = model(images).argmax(dim=1) == labels
    assert float(right.float().mean()) > 0.995
    assert type(model.network) is DigitCNN

"""The data module: batches, the split, and the source of the images."""

import gzip
import logging
import math
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from lightning.pytorch import LightningModule
from mirror import Files, Server, sending
from torch import Tensor, nn
from torch.utils.data import DataLoader
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.data.datasets import DATASETS, SAMPLE, SAMPLE_DIR
from mnist_lightning.data.in_memory import IndexedImages
from mnist_lightning.data.local_files import load
from mnist_lightning.errors import DataError, InvalidArgumentError, MissingDataError

FASHION = Path("/usr/share/datasets/fashion-mnist")


def rows(dataset: IndexedImages) -> list[bytes]:
    return [image.numpy().tobytes() for image in dataset.images]


def concatenate(dataloader: DataLoader[Any]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*dataloader, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_batches_have_the_documented_shapes(sample: MNISTDataModule) -> None:
    for dataloader, size, batch_size in (
        (sample.train_dataloader(), 3_200, 128),
        (sample.val_dataloader(), 800, 512),
        (sample.test_dataloader(), 1_000, 512),
    ):
        images, labels = next(iter(dataloader))
        assert (images.shape, images.dtype) == ((batch_size, 1, 28, 28), torch.float32)
        assert (labels.shape, labels.dtype) == ((batch_size,), torch.int64)
        assert len(dataloader) == math.ceil(size / batch_size)
        images, labels = concatenate(dataloader)
        assert len(images) == len(labels) == size  # no image is dropped
        assert float(images.min()) == 0
        assert float(images.max()) == 1
        assert set(labels.tolist()) == set(range(10))


def test_predicts_images_without_labels(sample: MNISTDataModule) -> None:
    """Lightning's default ``predict_step`` passes a batch to ``forward``."""

    class Foreign(LightningModule):
        @override
        def forward(self, images: Tensor) -> Tensor:
            return images.sum(dim=(1, 2, 3))

    outputs = quiet_trainer().predict(Foreign(), datamodule=sample)
    assert outputs is not None
    images, _ = concatenate(sample.test_dataloader())
    sums = [output for output in outputs if isinstance(output, Tensor)]
    torch.testing.assert_close(torch.cat(sums), images.sum(dim=(1, 2, 3)))


def test_scales_every_pixel_by_255(sample: MNISTDataModule) -> None:
    images, labels = concatenate(sample.test_dataloader())
    raw = gzip.decompress((SAMPLE_DIR / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    expected = torch.tensor(list(raw), dtype=torch.float64).view(1000, 1, 28, 28) / 255
    torch.testing.assert_close(images.double(), expected, rtol=0, atol=1e-7)
    raw = gzip.decompress((SAMPLE_DIR / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert labels.tolist() == list(raw)


def test_split_is_disjoint_and_complete(sample: MNISTDataModule) -> None:
    train, val, test = rows(sample.train_set), rows(sample.val_set), rows(sample.test_set)
    assert len({*train, *val, *test}) == 5_000
    files = load(SAMPLE_DIR, SAMPLE)
    content = files["train-images-idx3-ubyte"][16:]
    assert sorted(train + val) == sorted(content[i : i + 784] for i in range(0, len(content), 784))


def test_sample_is_balanced() -> None:
    files = load(SAMPLE_DIR, SAMPLE)
    for part, number in (("train", 400), ("t10k", 100)):
        labels = torch.tensor(list(files[f"{part}-labels-idx1-ubyte"][8:]))
        assert labels.bincount().tolist() == [number] * 10


def test_split_depends_on_split_seed_only(sample: MNISTDataModule) -> None:
    torch.manual_seed(1)
    again = MNISTDataModule(source="sample")
    again.setup("test")  # independent of the stage
    assert rows(again.val_set) == rows(sample.val_set)
    assert rows(again.train_set) == rows(sample.train_set)
    other = MNISTDataModule(source="sample", split_seed=1, val_fraction=0.5)
    other.setup("fit")
    assert len(other.val_set) == 2_000
    assert set(rows(other.val_set)) != set(rows(sample.val_set))
    assert rows(other.test_set) == rows(sample.test_set)


def test_only_training_images_are_shuffled(sample: MNISTDataModule) -> None:
    first, second = (concatenate(sample.train_dataloader())[1].tolist() for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second) == sorted(sample.train_set.labels.tolist())
    assert concatenate(sample.val_dataloader())[1].tolist() == sample.val_set.labels.tolist()


def test_training_and_validation_images_share_memory(sample: MNISTDataModule) -> None:
    train, val = sample.train_set, sample.val_set
    assert train._images.data_ptr() == val._images.data_ptr()
    assert len(train._images) == len(train) + len(val) == 4_000
    assert not {*train.indices.tolist()} & {*val.indices.tolist()}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="requires Linux")
def test_reading_holds_the_images_once(tmp_path: Path, files: Files) -> None:
    """At no time do the files take more memory than their size, as for 60,000 images."""
    images = bytes(100_000 * 28 * 28)
    labels = bytes(range(10)) * 10_000
    for name, shape, content in (
        ("images-idx3", (100_000, 28, 28), images),
        ("labels-idx1", (100_000,), labels),
    ):
        header = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}i", *shape)
        (tmp_path / f"train-{name}-ubyte").write_bytes(header + content)
    small = {name: content for name, content in files.content.items() if name.startswith("t10k")}
    for name, content in small.items():
        (tmp_path / name).write_bytes(content)
    del images, labels, content
    command = [sys.executable, "-c", PEAK_MEMORY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.3


PEAK_MEMORY = """
import hashlib, sys
from pathlib import Path

from mnist_lightning import MNISTClassifier, MNISTDataModule
from mnist_lightning.data.datasets import DATASETS, StoredFile


def peak() -> int:
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


folder = Path(sys.argv[1])
table = {}
for path in folder.iterdir():
    with path.open("rb") as file:
        table[path.name] = StoredFile(
            hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
        )
DATASETS["MNIST"] = DATASETS["MNIST"]._replace(files=table)
data = MNISTDataModule(str(folder), source="mnist")
before = peak()
data.prepare_data()
data.setup("fit")
assert len(data.train_set) == 80_000
print((peak() - before) / (100_000 * 28 * 28))
"""


class PlainDataModule(MNISTDataModule):
    """Loads training images with PyTorch's own loader."""

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train_set, batch_size=self.batch_size, shuffle=True, num_workers=2)


@pytest.mark.parametrize("data_class", [MNISTDataModule, PlainDataModule])
def test_a_subclass_may_use_a_plain_dataloader(data_class: type[MNISTDataModule]) -> None:
    data = data_class(source="sample", augment=Negative())
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(MNISTClassifier(), data)
    assert trainer.num_training_batches == 25
    images, labels = concatenate(data.train_dataloader())
    assert (float(images.min()), float(images.max())) == (-1, 0)
    assert sorted(labels.tolist()) == sorted(data.train_set.labels.tolist())


class Negative(nn.Module):
    """Makes pixels negative, unlike those of any image."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Buffer(torch.tensor(-1.0))

    @override
    def forward(self, images: Tensor) -> Tensor:
        darker: Tensor = images * self.factor
        return darker


@pytest.mark.filterwarnings("ignore:.*(will run with no optimizer|training_step. returned)")
def test_augments_training_images_only() -> None:
    class Watch(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.seen: dict[str, list[Tensor]] = {}
            self.labels: list[Tensor] = []

        def _keep(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
            self.seen.setdefault(stage, []).append(batch[0])
            if stage == "train":
                self.labels.append(batch[1])

        def training_step(self, batch: tuple[Tensor, Tensor]) -> None:
            self._keep("train", batch)

        def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
            self._keep("val", batch)

        def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
            self._keep("test", batch)

        def predict_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
            self._keep("predict", batch)
            return batch[0]

        def configure_optimizers(self) -> None:
            return None

    data = MNISTDataModule(source="sample", augment=Negative())
    assert "augment" not in data.hparams
    model, trainer = Watch(), quiet_trainer(max_epochs=1)
    trainer.fit(model, data)
    trainer.validate(model, data, verbose=False)
    trainer.test(model, data, verbose=False)
    trainer.predict(model, data)
    for stage, batches in model.seen.items():
        images = torch.cat(batches)
        darkest, brightest = float(images.min()), float(images.max())
        assert (darkest, brightest) == ((-1, 0) if stage == "train" else (0, 1)), stage
    assert model.seen.keys() == {"train", "val", "test", "predict"}
    assert torch.equal(torch.cat(model.labels).sort().values, data.train_set.labels.sort().values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be an integer from 1"),
        ({"val_fraction": 1.5}, "val_fraction is 1.5; it must be above 0 and below 1"),
        ({"val_fraction": 0.0}, "val_fraction is 0.0; it must"),
        ({"val_fraction": float("nan")}, "val_fraction is nan; it must"),
        ({"split_seed": -1}, "split_seed is -1; it must be an integer from 0 to"),
        ({"split_seed": 1 << 63}, "split_seed is 9223372036854775808; it must be an integer"),
        ({"source": "web"}, "source is 'web'; it must be one of auto, mnist, sample"),
        ({"dataset": "CIFAR"}, "dataset is 'CIFAR'; it must be one of MNIST, FashionMNIST, KMNIST"),
        (
            {"dataset": "KMNIST", "source": "sample"},
            "source is 'sample'; it must be one of auto, mnist",
        ),
        (
            {"dataset": "KMNIST", "images": ["a"]},
            "images is ['a']; it requires MNIST or QMNIST, not KMNIST",
        ),
        ({"mirrors": "ftp://a/"}, "mirrors is 'ftp://a/'; a mirror is"),
        ({"mirrors": ["http://a/", "b"]}, "mirrors is 'b'; a mirror is"),
    ],
)
def test_rejects_values_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        MNISTDataModule(**arguments)
    assert str(caught.value).startswith(message)


def test_rejects_a_split_with_an_empty_side() -> None:
    data = MNISTDataModule(source="sample", val_fraction=1e-5)
    for _ in range(2):
        with pytest.raises(InvalidArgumentError, match="4,000 images"):
            data.setup("fit")


def test_downloads_once_and_then_reads_the_files(
    tmp_path: Path, files: Files, server: Server
) -> None:
    server.serve(files.content)
    for _ in range(2):
        data = MNISTDataModule(str(tmp_path), mirrors=server.url, val_fraction=0.4)
        data.prepare_data()
        data.setup("fit")
        assert data.dataset_name == "MNIST"
        assert data.hparams["source"] == "mnist"
        assert data.fallback_notice is None
        assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (30, 20, 20)
        torch.testing.assert_close(data.test_set.images.squeeze(1), files.images["t10k"])
    assert len(server.asked) == 4
    assert sorted(p.name for p in (tmp_path / "MNIST" / "raw").iterdir()) == sorted(
        files.dataset.files
    )


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST", "QMNIST"])
def test_downloads_other_data_sets_in_the_same_way(
    name: Literal["FashionMNIST", "KMNIST", "QMNIST"],
    tmp_path: Path,
    files: Files,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.serve(files.content)
    monkeypatch.setenv(f"{name.upper()}_MIRRORS", server.url)
    data = MNISTDataModule(str(tmp_path), dataset=name)
    data.prepare_data()
    data.setup("fit")
    assert data.dataset_name == data.hparams["dataset"] == name
    assert data.class_names == DATASETS[name].class_names
    assert len(set(data.class_names)) == 10
    assert sorted(p.name for p in (tmp_path / name / "raw").iterdir()) == sorted(files.content)
    torch.testing.assert_close(data.test_set.images.squeeze(1), files.images["t10k"])


@pytest.mark.skipif(not FASHION.exists(), reason="requires Debian's dataset-fashion-mnist")
def test_reads_fashion_mnist_of_debian(tmp_path: Path) -> None:
    data = MNISTDataModule(str(FASHION), dataset="FashionMNIST")
    data.prepare_data()
    data.setup("fit")
    assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (48_000, 12_000, 10_000)
    assert data.test_set.labels.bincount().tolist() == [1000] * 10
    assert data.class_names[int(data.test_set.labels[0])] == "Ankle boot"


def test_falls_back_to_the_sample_with_a_reason(
    tmp_path: Path, files: Files, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["/train-images-idx3-ubyte.gz"] = sending(b"", status=503)
    data = MNISTDataModule(str(tmp_path / "data"), mirrors=server.url)
    data.prepare_data()
    with caplog.at_level(logging.WARNING):
        data.setup("fit")
    assert data.dataset_name == "MNIST sample"
    assert data.hparams["source"] == "sample"  # saved in checkpoints
    assert len(data.test_set) == 1_000
    notice = data.fallback_notice
    assert notice is not None
    for part in ("sample of 5,000", server.url, "HTTP status 503", "--data.mirrors"):
        assert part in notice
    assert notice in caplog.text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"source": "mnist"},
            r"^cannot download MNIST .*HTTP status 404.*--data.source sample",
        ),
        ({"dataset": "KMNIST"}, r"^cannot download KMNIST .*HTTP status 404"),
    ],
)
def test_does_not_fall_back_to_the_sample_if_it_is_not_allowed(
    tmp_path: Path, files: Files, server: Server, arguments: dict[str, Any], message: str
) -> None:
    data = MNISTDataModule(str(tmp_path), mirrors=server.url, **arguments)
    with pytest.raises(MissingDataError, match=message):
        data.prepare_data()
    with pytest.raises(MissingDataError, match="contains no files"):
        data.setup("fit")


def test_source_sample_ignores_the_folder(tmp_path: Path, files: Files) -> None:
    files.write(tmp_path)
    data = MNISTDataModule(str(tmp_path), source="sample")
    data.prepare_data()
    data.setup("fit")
    assert len(data.test_set) == 1_000
    assert data.fallback_notice is None


def test_expands_the_home_directory(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / "data")
    for name in ("HOME", "USERPROFILE"):  # the latter on Windows
        monkeypatch.setenv(name, str(tmp_path))
    data = MNISTDataModule("~/data", source="mnist", val_fraction=0.5)
    data.setup("fit")
    assert len(data.test_set) == 20


def test_saves_a_path_as_plain_text(tmp_path: Path) -> None:
    data = MNISTDataModule(tmp_path)  # type: ignore[arg-type]
    assert data.hparams["data_dir"] == str(tmp_path)


def test_mirrors_are_not_saved_in_checkpoints_or_logs() -> None:
    data = MNISTDataModule(mirrors="https://me:secret@localhost/mnist/")
    assert "secret" not in str(data.hparams_initial)


def test_reports_an_unusable_folder(tmp_path: Path, files: Files) -> None:
    (tmp_path / "file").touch()
    data = MNISTDataModule(str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"file cannot be written .*; choose another folder"):
        data.prepare_data()


def test_downloads_real_mnist_from_a_local_server(
    tmp_path: Path, server: Server, mnist_mirror: str
) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        with urllib.request.urlopen(f"{mnist_mirror.rstrip('/')}/{name}-ubyte.gz") as response:
            server.answers[f"/{name}-ubyte.gz"] = sending(response.read())
    data = MNISTDataModule(str(tmp_path), source="mnist", mirrors=server.url)
    data.prepare_data()
    data.setup("fit")
    train, val, test = rows(data.train_set), rows(data.val_set), rows(data.test_set)
    assert (len(train), len(val), len(test)) == (48_000, 12_000, 10_000)
    # All 70,000 images of MNIST are different.
    assert len({*train, *val, *test}) == 70_000
    images, labels = concatenate(data.test_dataloader())
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert float(images.mean()) == pytest.approx(0.1325, abs=1e-4)

    sample = MNISTDataModule(source="sample")
    sample.setup("fit")
    of_mnist = dict(zip(train + val, [*data.train_set.labels, *data.val_set.labels], strict=True))
    for part in (sample.train_set, sample.val_set, sample.test_set):
        for image, label in zip(rows(part), part.labels, strict=True):
            assert int(of_mnist[image]) == int(label)


def test_pictures_to_predict_do_not_affect_training() -> None:
    data = MNISTDataModule(source="sample", images="no.png")
    data.prepare_data()
    data.setup("fit")
    assert next(iter(data.train_dataloader()))[0].shape == (128, 1, 28, 28)
    assert data.dataset_name == "MNIST sample"

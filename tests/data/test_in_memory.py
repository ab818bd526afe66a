"""Images in memory: items, complete batches, parts that share memory, and loaders."""

from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, Subset, random_split
from trainers import quiet_trainer
from typing_extensions import override

from mnist_lightning.data.in_memory import Batch, BatchLoader, ImageLoader, IndexedImages


class Inverted(nn.Module):
    """Inverts a batch of images, and fails for a single image."""

    @override
    def forward(self, images: Tensor) -> Tensor:
        assert images.dim() == 4
        return 1 - images


@pytest.fixture
def dataset() -> IndexedImages:
    """A hundred images whose labels count from 0."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (100, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return IndexedImages(images, torch.arange(100))


def concatenated(dataloader: DataLoader[Batch]) -> Batch:
    images, labels = zip(*dataloader, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_an_item_is_an_image_and_its_label(dataset: IndexedImages) -> None:
    image, label = dataset[3]
    assert (image.shape, image.dtype) == ((1, 28, 28), torch.float32)
    assert (label.shape, label.dtype) == ((), torch.int64)
    torch.testing.assert_close(image, dataset.images[3] / 255)
    assert label == 3
    assert len(dataset) == 100


def test_counts_from_the_end_and_stops_there(dataset: IndexedImages) -> None:
    assert dataset[-1][1] == 99
    for index in (100, -101):
        with pytest.raises(IndexError):
            dataset[index]
    items: Iterator[Batch] = iter(dataset)  # Python's protocol for sequences
    assert [int(label) for _, label in items] == list(range(100))


def test_a_batch_equals_its_items(dataset: IndexedImages) -> None:
    indices = [3, 5, 5, 0]
    for augment in (None, Inverted()):
        dataset.augment = augment
        images, labels = dataset.batch(torch.tensor(indices))
        assert labels.tolist() == indices
        torch.testing.assert_close(images, torch.stack([dataset[i][0] for i in indices]))
        expected = dataset.images[indices] / 255
        torch.testing.assert_close(images, 1 - expected if augment else expected)


def test_a_subset_shares_the_memory_and_the_augmentation(dataset: IndexedImages) -> None:
    dataset.augment = Inverted()
    subset = dataset.subset(torch.tensor([7, 2, 5])).subset(torch.tensor([0, 1]))
    assert (len(subset), subset.labels.tolist()) == (2, [7, 2])
    assert torch.equal(subset.images, dataset.images[[7, 2]])
    torch.testing.assert_close(subset[1][0], dataset[2][0])
    subset.augment = None
    assert dataset.augment is not None
    memory = torch.zeros(1000, 1, 28, 28, dtype=torch.uint8)
    parts = [
        IndexedImages(memory, torch.zeros(1000, dtype=torch.int64)).subset(torch.tensor([index]))
        for index in (3, 4)
    ]
    memory[3] = 255  # a copy would still be black
    assert [float(part[0][0].max()) for part in parts] == [1, 0]


def test_images_and_labels_are_copies(dataset: IndexedImages) -> None:
    dataset.images.zero_()
    dataset.labels.zero_()
    assert dataset.images.any()
    assert dataset.labels.any()


def test_a_part_is_copied_to_a_device_by_itself(dataset: IndexedImages) -> None:
    meta = torch.device("meta")
    part = dataset.subset(torch.tensor([7, 2, 5]))
    assert part.to(torch.device("cpu")) is part
    copied = part.to(meta)
    assert copied.device == meta
    assert copied._images.shape == (3, 1, 28, 28)  # not those of the other parts
    for images, labels in (
        copied.batch(torch.arange(2)),
        copied[0],
        (copied.images, copied.labels),
    ):
        assert images.device == labels.device == meta
    for loader in (
        BatchLoader(copied, batch_size=2),
        BatchLoader(copied, batch_size=2, drop_last=True),
        BatchLoader(copied, batch_sampler=[[2], [0]]),
    ):
        assert next(iter(loader))[0].device == meta
    assert len(copied.subset(torch.tensor([1]))) == 1
    assert part[0][1] == 7  # the part itself stays where it is, for worker processes
    assert part.device == torch.device("cpu")


def test_parts_work_on_a_gpu_without_mixing_devices(dataset: IndexedImages) -> None:
    part = dataset.subset(torch.tensor([7, 2, 5]))
    with FakeTensorMode(allow_non_fake_inputs=True):  # checks the devices of all arguments
        copied = part.to(torch.device("cuda"))
        for loader in (
            BatchLoader(copied, batch_size=2),
            BatchLoader(copied, batch_size=2, drop_last=True),
            BatchLoader(copied, batch_sampler=[[2], [0]]),
        ):
            images, labels = next(iter(loader))
            assert images.device.type == labels.device.type == "cuda"
        assert copied[0][0].device.type == copied.images.device.type == "cuda"


def test_the_augmentation_needs_no_gradients(dataset: IndexedImages) -> None:
    dataset.augment = nn.Conv2d(1, 1, 1)
    image, _ = dataset[0]
    assert not image.requires_grad
    images, _ = next(iter(DataLoader(dataset, batch_size=4, num_workers=1)))
    assert images.shape == (4, 1, 28, 28)


def test_the_augmentation_moves_to_the_device(dataset: IndexedImages) -> None:
    dataset.augment = nn.Linear(1, 1)
    assert dataset.to(torch.device("meta")).augment is dataset.augment
    assert dataset.augment.weight.device == torch.device("meta")


def test_worker_processes_receive_a_part(dataset: IndexedImages) -> None:
    part = dataset.subset(torch.tensor([7, 2]))
    received = ForkingPickler.loads(ForkingPickler.dumps(part))
    assert received.labels.tolist() == [7, 2]
    assert torch.equal(received.images, part.images)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_plain_dataloader_stacks_items(dataset: IndexedImages, num_workers: int) -> None:
    dataloader = DataLoader(dataset, batch_size=32, num_workers=num_workers)
    images, labels = next(iter(dataloader))
    assert (images.shape, images.dtype) == ((32, 1, 28, 28), torch.float32)
    assert (labels.shape, labels.dtype) == ((32,), torch.int64)
    images, labels = concatenated(dataloader)
    torch.testing.assert_close(images, dataset.images / 255)
    assert torch.equal(labels, dataset.labels)


def test_random_split_and_subset_work_with_a_plain_dataloader(dataset: IndexedImages) -> None:
    parts = random_split(dataset, [0.7, 0.3], torch.Generator().manual_seed(0))
    assert [len(part) for part in parts] == [70, 30]
    labels = torch.cat([concatenated(DataLoader(part, batch_size=8))[1] for part in parts])
    assert labels.sort().values.tolist() == list(range(100))
    images, labels = concatenated(DataLoader(Subset(dataset, [9, 4]), batch_size=2))
    assert labels.tolist() == [9, 4]
    torch.testing.assert_close(images, dataset.images[[9, 4]] / 255)


def test_a_batch_loader_gives_the_batches_of_a_plain_dataloader(dataset: IndexedImages) -> None:
    sampler = BatchSampler(SequentialSampler(dataset), batch_size=7, drop_last=False)
    for loader, plain in (
        (BatchLoader(dataset, batch_size=32), DataLoader(dataset, batch_size=32)),
        (
            BatchLoader(dataset, batch_size=32, drop_last=True),
            DataLoader(dataset, batch_size=32, drop_last=True),
        ),
        (BatchLoader(dataset, batch_sampler=sampler), DataLoader(dataset, batch_sampler=sampler)),
        (BatchLoader(dataset, sampler=[4, 2]), DataLoader(dataset, sampler=[4, 2])),
    ):
        assert len(loader) == len(plain)
        for found, expected in zip(loader, plain, strict=True):
            torch.testing.assert_close(found[0], expected[0])
            assert torch.equal(found[1], expected[1])


def test_a_batch_loader_shuffles_every_epoch_anew(dataset: IndexedImages) -> None:
    loader = BatchLoader(dataset, batch_size=32, shuffle=True)
    torch.manual_seed(0)
    first, second = (concatenated(loader)[1].tolist() for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(100))
    torch.manual_seed(0)
    assert concatenated(loader)[1].tolist() == first


def test_a_batch_loader_indexes_once_per_batch(
    dataset: IndexedImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    gather = IndexedImages.gather

    def counted(self: IndexedImages, positions: Tensor) -> Batch:
        sizes.append(len(positions))
        return gather(self, positions)

    def fail(self: IndexedImages, index: int) -> None:
        raise AssertionError("an image was loaded by itself")

    monkeypatch.setattr(IndexedImages, "gather", counted)
    monkeypatch.setattr(IndexedImages, "__getitem__", fail)
    concatenated(BatchLoader(dataset, batch_size=32, shuffle=True))
    assert sizes == [32, 32, 32, 4]


class LabelRecorder(LightningModule):
    """Records the labels of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.labels: list[list[int]] = []

    @override
    def training_step(self, batch: Batch) -> None:
        self.labels.append(batch[1].tolist())

    @override
    def predict_step(self, batch: Batch) -> Tensor:
        self.labels.append(batch[1].tolist())
        return batch[1]

    @override
    def configure_optimizers(self) -> None:
        return None


@pytest.mark.filterwarnings("ignore:.*(will run with no optimizer|training_step. returned)")
def test_lightning_can_replace_the_sampler_of_a_batch_loader(dataset: IndexedImages) -> None:
    model = LabelRecorder()
    trainer = quiet_trainer(overfit_batches=2, max_epochs=2)
    with pytest.warns(UserWarning, match="turning off the train dataloader shuffling"):
        trainer.fit(model, BatchLoader(dataset, batch_size=32, shuffle=True))
    first_two_batches = [list(range(32)), list(range(32, 64))]
    assert model.labels == first_two_batches * 2


def test_lightning_can_replace_the_batch_sampler_to_predict(dataset: IndexedImages) -> None:
    model = LabelRecorder()
    predictions = quiet_trainer().predict(model, BatchLoader(dataset, batch_size=32))
    assert [len(labels) for labels in model.labels] == [32, 32, 32, 4]
    assert predictions is not None
    assert torch.cat([torch.as_tensor(batch) for batch in predictions]).tolist() == list(range(100))


def test_an_image_loader_yields_all_images_in_their_order(dataset: IndexedImages) -> None:
    batches = list(ImageLoader(dataset, batch_size=32))
    assert [len(batch) for batch in batches] == [32, 32, 32, 4]
    assert torch.equal(torch.cat(batches), dataset.images / 255)

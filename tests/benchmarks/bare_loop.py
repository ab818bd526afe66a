"""Times the same network in a hand-written training loop, as a lower bound.

The images are kept in memory as float32 (on a GPU in its memory), a batch is one indexing call,
Adam is fused, and loss and accuracy are accumulated on the device and read once an epoch.
"""

import os
import time

import torch
from contender import parse_arguments, peak_memory, print_result
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

from mnist_lightning import DigitCNN, MNISTDataModule

IMPORT_MEMORY = peak_memory()


def train(
    data: MNISTDataModule, epochs: int, batch_size: int, seed: int = 0, capture: bool = False
) -> tuple[float, float, float]:
    """Trains and validates for some epochs, then tests the weights of the last one.

    Args:
        data: MNIST, set up.
        epochs: Number of epochs.
        batch_size: Number of images in a training batch; it is four times as large in evaluations.
        seed: Seed of the random numbers.
        capture: Whether to capture a training step in a CUDA graph and replay it.

    Returns:
        The seconds of the training steps, the seconds of everything after the capture, and the
        accuracy on the test images.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    train, val, test = (
        (images.images.to(device).float().div_(255), images.labels.to(device))
        for images in (data.train_set, data.val_set, data.test_set)
    )
    network = DigitCNN().to(device)
    optimizer = Adam(network.parameters(), eps=1e-7, fused=True, capturable=capture)
    batch_indices = torch.zeros(batch_size, dtype=torch.long, device=device)
    total, correct = torch.zeros((), device=device), torch.zeros((), device=device)

    def step(indices: Tensor) -> None:
        images, labels = (tensor.index_select(0, indices) for tensor in train)
        logits = network(images)
        loss = functional.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=not capture)
        total.add_(loss.detach() * len(labels))
        correct.add_((logits.argmax(dim=1) == labels).sum())

    if capture:  # warm-up and capture as in PyTorch's notes on CUDA graphs
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step(batch_indices)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(batch_indices)

    training_seconds, begin = 0.0, time.perf_counter()
    for epoch in range(1, epochs + 1):
        epoch_begin = time.perf_counter()
        network.train()
        total.zero_()
        correct.zero_()
        order = torch.randperm(len(train[1]), device=device)
        for indices in torch.split(order, batch_size):
            if capture and len(indices) == batch_size:
                batch_indices.copy_(indices)
                graph.replay()
            else:
                step(indices)
        size = len(train[1])
        print(f"{epoch}: train {total.item() / size:.4f} {correct.item() / size:.2%}", end=", ")
        training_seconds += time.perf_counter() - epoch_begin
        loss, accuracy = evaluate(network, *val, batch_size)
        print(f"val {loss:.4f} {accuracy:.2%}", flush=True)
    seconds = time.perf_counter() - begin
    return training_seconds, seconds, evaluate(network, *test, batch_size)[1]


@torch.inference_mode()
def evaluate(
    network: DigitCNN, images: Tensor, labels: Tensor, batch_size: int
) -> tuple[float, float]:
    """Returns the mean loss and the accuracy."""
    network.eval()
    size = 4 * batch_size  # as in MNISTDataModule
    total, correct = torch.zeros_like(images[0, 0, 0, 0]), torch.zeros_like(labels[0])
    for batch, targets in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        logits = network(batch)
        total += functional.cross_entropy(logits, targets, reduction="sum")
        correct += (logits.argmax(dim=1) == targets).sum()
    return total.item() / len(labels), correct.item() / len(labels)


if __name__ == "__main__":
    options = parse_arguments()
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # set by Lightning; slows Adam down
    mnist = MNISTDataModule(str(options.data_dir), source="mnist")
    mnist.setup("fit")
    recipe = (options.epochs, options.batch_size, options.seed, options.capture)
    _, seconds, accuracy = train(mnist, *recipe)
    print_result(seconds, accuracy, IMPORT_MEMORY)

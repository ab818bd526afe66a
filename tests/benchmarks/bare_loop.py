"""The honest yardstick: the same network in a loop by hand, with nothing around it.

Images lie in memory as float32 (on a GPU, in its memory), batches are one indexing call, Adam is
fused, and loss and accuracy are summed where the data are and read once an epoch.
"""

import os
import time

import torch
from contender import arguments, peak_memory, report
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam

from mnist_lightning import DigitCNN, MNISTDataModule

IMPORTS = peak_memory()


def main() -> None:
    """Trains for some epochs, each followed by validation, then tests the last weights."""
    options = arguments()
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # importing Lightning makes Adam slower
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    data = MNISTDataModule(str(options.data_dir), source="mnist")
    data.setup("fit")
    train, val, test = (
        (part.images.to(device).float().div_(255), part.labels.to(device))
        for part in (data.train_set, data.val_set, data.test_set)
    )
    network = DigitCNN().to(device)
    optimizer = Adam(network.parameters(), eps=1e-7, fused=True, capturable=options.capture)
    chosen = torch.zeros(options.batch_size, dtype=torch.long, device=device)
    total, correct = torch.zeros((), device=device), torch.zeros((), device=device)

    def step(chosen: Tensor) -> None:
        images, labels = (part.index_select(0, chosen) for part in train)
        logits = network(images)
        loss = functional.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=not options.capture)
        total.add_(loss.detach() * len(labels))
        correct.add_((logits.argmax(dim=1) == labels).sum())

    if options.capture:  # warm-up and capture, as in PyTorch's notes on CUDA graphs
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                step(chosen)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(chosen)

    begin = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        network.train()
        total.zero_()
        correct.zero_()
        order = torch.randperm(len(train[1]), device=device)
        for indices in torch.split(order, options.batch_size):
            if options.capture and len(indices) == options.batch_size:
                chosen.copy_(indices)
                graph.replay()
            else:
                step(indices)
        size = len(train[1])
        print(f"{epoch}: train {total.item() / size:.4f} {correct.item() / size:.2%}", end=", ")
        loss, accuracy = evaluate(network, *val, options.batch_size)
        print(f"val {loss:.4f} {accuracy:.2%}", flush=True)
    seconds = time.perf_counter() - begin
    report(seconds, evaluate(network, *test, options.batch_size)[1], IMPORTS)


@torch.inference_mode()
def evaluate(
    network: DigitCNN, images: Tensor, labels: Tensor, batch_size: int
) -> tuple[float, float]:
    """Returns mean loss and accuracy."""
    network.eval()
    size = 4 * batch_size  # as ours
    total, correct = torch.zeros_like(images[0, 0, 0, 0]), torch.zeros_like(labels[0])
    for batch, wanted in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        logits = network(batch)
        total += functional.cross_entropy(logits, wanted, reduction="sum")
        correct += (logits.argmax(dim=1) == wanted).sum()
    return total.item() / len(labels), correct.item() / len(labels)


if __name__ == "__main__":
    main()

"""The same results on a GPU as on a CPU, and a training that never waits for the GPU.

    pytest -m gpu

The measured differences between devices are shown with ``-s``.
"""

import copy
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import command, environment, names, results
from drawings import FIGURE_FILES
from events import scalars, steps
from lightning.pytorch import Callback, Trainer
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from typing_extensions import override

from mnist_lightning import DigitCNN, MNISTClassifier, MNISTDataModule, RandomDistortion
from mnist_lightning.cli import MNISTCLI, main
from mnist_lightning.cuda_graph import WARM_UP_STEPS

DEVICE = torch.device("cuda")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

SAMPLE = ("--data.source", "sample")
COPIES = ("Memcpy HtoD", "Memcpy DtoH")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def fit(folder: Path, *args: str) -> MNISTCLI:
    """Trains on the sample, with the run folder in ``folder``."""
    cli = main(["fit", *SAMPLE, "--trainer.default_root_dir", str(folder), *args])
    assert isinstance(cli, MNISTCLI)
    return cli


def run_folder(folder: Path) -> Path:
    return folder / "lightning_logs" / "version_0"


def epochs(number: int) -> tuple[str, str]:
    return "--trainer.max_epochs", str(number)


def difference(first: torch.nn.Module, second: torch.nn.Module) -> float:
    """Returns the greatest difference between two models' weights."""
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return max((a.cpu() - b.cpu()).abs().max().item() for a, b in pairs)


def weight_difference(*folders: Path) -> float:
    """Returns the greatest difference between the last weights of two runs."""
    paths = (run_folder(folder) / "checkpoints" / "last.ckpt" for folder in folders)
    weights = (torch.load(path, weights_only=True, map_location="cpu") for path in paths)
    states = (checkpoint["state_dict"].values() for checkpoint in weights)
    pairs = zip(*states, strict=True)
    return float(max((a.float() - b.float()).abs().max() for a, b in pairs))


def profiling() -> profile:
    return profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True)


@pytest.fixture(scope="module")
def on_gpu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a default fit of three epochs."""
    folder = tmp_path_factory.mktemp("gpu")
    cli = fit(folder, *epochs(3))
    assert cli.trainer.strategy.root_device.type == DEVICE.type  # chosen by default
    return folder


def test_a_run_writes_the_same_as_on_a_cpu(on_gpu: Path, tmp_path: Path) -> None:
    fit(tmp_path, *epochs(3), "--trainer.accelerator", "cpu")
    gpu, cpu = run_folder(on_gpu), run_folder(tmp_path)

    def kinds(folder: Path) -> set[str]:
        return {name for name in names(folder) if "tfevents" not in name}

    assert kinds(gpu) == kinds(cpu) >= FIGURE_FILES
    assert names(gpu / "checkpoints") == names(cpu / "checkpoints")
    assert steps(gpu) == steps(cpu)
    assert results(gpu).keys() == results(cpu).keys()
    for name in ("train/acc", "val/acc", "test/acc"):
        curves = (scalars(folder)[name] for folder in (gpu, cpu))
        for (_, value), (_, expected) in zip(*curves, strict=True):
            assert value == pytest.approx(expected, abs=0.03)  # the devices drop other values


def test_all_commands(on_gpu: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--trainer.default_root_dir", str(on_gpu)]
    for name in ("validate", "test", "predict"):
        cli = main([name, *SAMPLE, *root])
        assert cli.trainer.strategy.root_device.type == DEVICE.type
    assert results(run_folder(on_gpu)).keys() <= results(on_gpu / "lightning_logs/version_1").keys()
    rows = (on_gpu / "lightning_logs" / "version_2" / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + 1_000
    for name in ("digits.onnx", "digits.html"):
        main(["export", *root, "--format", Path(name).suffix[1:], "--output", str(tmp_path / name)])
        assert (tmp_path / name).stat().st_size > 100_000
    assert "Warning" not in capsys.readouterr().err


def test_own_pictures() -> None:
    picture = Image.new("L", (200, 200), 255)
    ImageDraw.Draw(picture).line([(110, 40), (95, 160)], 0, width=14)
    model = MNISTClassifier.from_pretrained().to(DEVICE)
    assert model.predict_images([picture, picture]).argmax(dim=1).tolist() == [1, 1]


def test_logits_equal_those_of_a_cpu(
    sample: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MNISTClassifier.from_pretrained().eval()
    images, _ = sample.test_set.batch(torch.arange(1_000))
    with torch.inference_mode():
        expected = model(images)
        model.to(DEVICE)
        for allow_tf32 in (True, False):
            monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allow_tf32)
            torch.set_float32_matmul_precision("high" if allow_tf32 else "highest")
            logits = model(images.to(DEVICE)).cpu()
            error = (logits - expected).abs().max().item()
            print(f"\nTF32 {'on' if allow_tf32 else 'off'}: logits differ by at most {error:.1e}")
            assert torch.equal(logits.argmax(dim=1), expected.argmax(dim=1))
    assert error < 1e-4


def test_a_training_step_equals_that_of_a_cpu(
    sample: MNISTDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    images, labels = sample.train_set.batch(torch.arange(128))
    for sam_radius in (0.0, 0.1):
        torch.manual_seed(0)
        cpu = MNISTClassifier(dropout=0.0, learning_rate=1e-3, sam_radius=sam_radius)
        gpu = copy.deepcopy(cpu).to(DEVICE)
        for model in (cpu, gpu):
            optimizer: Any = model.configure_optimizers()
            batch = images.to(model.device), labels.to(model.device)

            def closure() -> Tensor:
                optimizer.zero_grad()  # noqa: B023 - called in this iteration only
                loss = functional.cross_entropy(model(batch[0]), batch[1])  # noqa: B023
                torch.autograd.backward(loss)
                return loss

            for _ in range(3):
                optimizer.step(closure)
        assert difference(cpu, gpu) < 1e-4  # Adam's steps are 1e-3


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_precisions(precision: str, tmp_path: Path) -> None:
    fit(tmp_path, *epochs(6), "--trainer.precision", precision)
    assert results(run_folder(tmp_path))["test/acc"] > 0.9


def test_options_that_cost_accuracy_nothing(tmp_path: Path) -> None:
    """Sharpness-aware steps and augmentation."""
    augment = ["--data.augment", "mnist_lightning.RandomDistortion", "--data.augment.rotation", "5"]
    fit(tmp_path, *epochs(6), "--model.sam_radius", "0.05", *augment)
    assert results(run_folder(tmp_path))["test/acc"] > 0.9


def test_gpu_recipe_replays_a_cuda_graph(tmp_path: Path) -> None:
    # 16 batches of 200 per epoch
    recipe = ["--config", "gpu", "--data.batch_size", "200", "--trainer.check_val_every_n_epoch=1"]
    with profiling() as profiler:
        fit(tmp_path / "graph", *recipe)
    calls = Counter(event.name for event in profiler.events())
    assert calls["cudaGraphLaunch"] == 5 * 16 - WARM_UP_STEPS
    fit(tmp_path / "eager", *recipe, "--model.cuda_graph", "false")
    graph, eager = (run_folder(tmp_path / name) for name in ("graph", "eager"))
    assert names(graph) >= FIGURE_FILES
    assert results(graph)["test/acc"] == pytest.approx(results(eager)["test/acc"], abs=0.01)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--model.batch_norm=true", "--model.schedule=one_cycle"),
        ("--model.sam_radius=0.05",),
        ("--trainer.precision=bf16-mixed",),
        ("--trainer.gradient_clip_val=1.0", "--data.batch_size=300"),  # the last batch has 200
    ],
)
def test_a_cuda_graph_trains_the_same_weights(options: tuple[str, ...], tmp_path: Path) -> None:
    for name in ("true", "false"):
        fixed = ("--trainer.deterministic=true", f"--model.cuda_graph={name}")
        fit(tmp_path / name, *epochs(2), *fixed, *options)
    torch.use_deterministic_algorithms(False)
    error = weight_difference(tmp_path / "true", tmp_path / "false")
    print(f"\n{' '.join(options)}: weights with a CUDA graph differ by at most {error:.1e}")
    assert error < 1e-3


def test_augmentation_has_the_same_distribution(sample: MNISTDataModule) -> None:
    images, _ = sample.train_set.batch(torch.arange(3_200))
    distort = RandomDistortion(7, 0.08, 0.1, 1, 0.5, 0.3)
    torch.manual_seed(0)
    cpu, gpu = (_moments(distort(images.to(device)).cpu()) for device in ("cpu", DEVICE))
    for power in (1, 2, 3):
        first, second = cpu**power, gpu**power
        standard_error = ((first.var(dim=0) + second.var(dim=0)) / len(first)).sqrt()
        assert ((first.mean(dim=0) - second.mean(dim=0)).abs() < 5 * standard_error).all()


def _moments(images: Tensor) -> Tensor:
    """Returns ink, centre and spread of each image, relative to those of all: ``(N, 6)``."""
    y, x = torch.meshgrid(torch.arange(28.0) - 13.5, torch.arange(28.0) - 13.5, indexing="ij")
    ink = images.sum(dim=(1, 2, 3))
    weights = images[:, 0] / ink.view(-1, 1, 1)
    moments = [(weights * term).sum(dim=(1, 2)) for term in (x, y, x * x, y * y, x * y)]
    return torch.stack([ink, *moments], dim=1)


@pytest.mark.parametrize("cuda_graph", ["true", "false"])
@pytest.mark.parametrize("deterministic", ["true", "false"])
def test_resumes_exactly(deterministic: str, cuda_graph: str, tmp_path: Path) -> None:
    options = ("--trainer.deterministic", deterministic, "--model.cuda_graph", cuda_graph)
    complete, resumed = tmp_path / "complete", tmp_path / "resumed"
    fit(complete, *epochs(2), *options)
    fit(resumed, *epochs(1), *options)
    fit(resumed, *epochs(2), *options, "--ckpt_path", "last")
    torch.use_deterministic_algorithms(False)
    error = weight_difference(complete, resumed)
    print(f"\n{' '.join(options)}: resumed weights differ by at most {error:.1e}")
    if deterministic == "true":
        assert error == 0


@pytest.mark.parametrize(("first", "second"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_checkpoint_is_resumed_on_another_device(first: str, second: str, tmp_path: Path) -> None:
    fit(tmp_path, *epochs(2), "--trainer.accelerator", first)
    before = results(run_folder(tmp_path))["test/acc"]
    cli = fit(tmp_path, *epochs(4), "--trainer.accelerator", second, "--ckpt_path", "last")
    assert cli.trainer.current_epoch == 4
    assert cli.trainer.global_step == 4 * 25
    assert results(run_folder(tmp_path))["test/acc"] > before


class ErrorIfWaiting(Callback):
    """Makes torch raise an error if anything waits for the GPU between the first and last steps."""

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        is_last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if batch_idx > WARM_UP_STEPS:
            torch.cuda.set_sync_debug_mode("default" if is_last else "error")

    @override
    def on_exception(self, *args: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--model.schedule=one_cycle", "--model.label_smoothing=0.1", "--model.batch_norm=true"),
        ("--model.sam_radius=0.05",),
        ("--data.augment=mnist_lightning.RandomDistortion", "--data.augment.rotation=5"),
        ("--trainer.precision=bf16-mixed",),
        ("--trainer.precision=16-mixed",),
        ("--model.cuda_graph=true",),
    ],
)
def test_nothing_waits_within_an_epoch(options: tuple[str, ...], tmp_path: Path) -> None:
    callback = "--trainer.callbacks=test_gpu.ErrorIfWaiting"
    cli = fit(tmp_path, *epochs(2), callback, *options)
    assert torch.cuda.get_sync_debug_mode() == 0
    assert cli.trainer.global_step == 50


def test_nothing_is_copied_within_an_epoch(tmp_path: Path) -> None:
    def count(name: str, batch_size: int) -> Counter[str]:
        with profiling() as profiler:
            options = ["--test_after_fit=false", f"--data.batch_size={batch_size}"]
            fit(tmp_path / name, *epochs(1), *options)
        calls = Counter(event.name for event in profiler.events())
        merged: Counter[str] = Counter()
        for name, number in calls.items():
            merged[next((copy for copy in COPIES if name.startswith(copy)), name)] += number
        return merged

    count("warm-up", 800)
    few, many = count("few", 800), count("many", 50)
    assert many["cudaLaunchKernel"] > few["cudaLaunchKernel"] + 60 * 20
    for name in (*COPIES, *WAITS):
        assert many[name] == few[name], name


def test_memory_stays_flat(tmp_path: Path) -> None:
    used: list[int] = []

    class Recorder(Callback):
        @override
        def on_train_epoch_start(self, *args: Any) -> None:
            used.append(torch.cuda.memory_allocated())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnist_lightning.cli.trainer_defaults.SeedEveryEpoch", Recorder)
        fit(tmp_path, *epochs(30), "--trainer.limit_train_batches=5")
    assert len(used) == 30
    assert max(used[3:]) <= used[2]


def test_data_parallel_training_with_nccl(tmp_path: Path) -> None:
    options = ["--trainer.strategy=ddp", "--trainer.devices=1", *epochs(3)]
    root = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        command("fit", *SAMPLE, *options),
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": root, "NCCL_DEBUG": "VERSION"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    assert "NCCL version" in process.stdout + process.stderr
    assert results(run_folder(tmp_path))["test/acc"] > 0.85
    assert names(run_folder(tmp_path)) >= FIGURE_FILES


def test_a_network_that_cannot_be_captured_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = "--model.network=test_gpu.Reader"
    with pytest.raises(SystemExit) as caught:
        fit(tmp_path, "--model.cuda_graph=true", network, *epochs(1))
    assert caught.value.code == 2
    assert "cuda_graph" in capsys.readouterr().err.splitlines()[-1]
    fit(tmp_path, network, *epochs(1))  # the device is still usable


class Reader(DigitCNN):
    """Reads a value back, which waits for the GPU."""

    @override
    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits * (1.0 if logits.sum().item() else 2.0)

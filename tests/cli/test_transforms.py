"""Transforms of torchvision and other modules as options, in configs, and in a resumed run."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import SHORT, config, fail
from torch import nn
from torchvision.transforms import v2

from mnist_lightning import PerImage, RandomDistortion
from mnist_lightning.cli import main

V2 = "torchvision.transforms.v2"
AFFINE = {"class_path": f"{V2}.RandomAffine", "init_args": {"degrees": 10}}
DISTORTION = {"class_path": "mnist_lightning.RandomDistortion", "init_args": {"rotation": 3}}


def degrees_of(augment: nn.Module | None) -> Any:
    assert isinstance(augment, v2.RandomAffine | v2.RandomRotation)
    return augment.degrees


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    ["10", "10.0", "1e1", "[-10, 10]", "[-10.0,10]"],
    ids=["int", "float", "exponent", "list", "floats"],
)
@pytest.mark.parametrize("name", ["RandomAffine", "RandomRotation"])
def test_numbers_and_ranges_of_torchvision(workdir: Path, name: str, value: str) -> None:
    options = [f"--data.augment={V2}.{name}", f"--data.augment.degrees={value}"]
    cli = main(["fit", *SHORT, *options])
    assert degrees_of(cli.datamodule.augment) == [-10.0, 10.0]
    resumed = main(["fit", "--ckpt_path=last", "--trainer.max_epochs=2"])
    assert degrees_of(resumed.datamodule.augment) == [-10.0, 10.0]


@pytest.mark.parametrize(
    "options",
    [
        f"--data.augment={V2}.RandomAffine --data.augment.degrees=5 --data.augment.scale=[0.9,1.1]",
        f"--data.augment={V2}.RandomAffine --data.augment.degrees=5 --data.augment.fill=0.5",
        f"--data.augment={V2}.RandomErasing --data.augment.p=0.5",
        f"--data.augment={V2}.RandomPerspective",
        "--data.augment=mnist_lightning.EuropeanDigits",
        "--data.augment=mnist_lightning.NonDigits --data.augment.fraction=0.1",
        f"--data.augment={V2}.ElasticTransform --data.augment.alpha=50",
        f"--data.augment={V2}.GaussianBlur --data.augment.kernel_size=3",
        f"--data.augment={V2}.ColorJitter --data.augment.brightness=0.3",
        f"--data.augment={V2}.RandomCrop --data.augment.size=28 --data.augment.padding=2",
        f"--data.augment={V2}.RandomResizedCrop --data.augment.size=28",
        "--data.augment=mnist_lightning.PerImage "
        f"--data.augment.transform={V2}.RandomRotation --data.augment.transform.degrees=10",
    ],
)
def test_transforms_are_options(workdir: Path, options: str) -> None:
    main(["fit", "--trainer.fast_dev_run=1", "--data.source=sample", *options.split()])


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        [f"--data.augment=[{AFFINE}, {DISTORTION}]"],
        [
            f"--data.augment+={V2}.RandomAffine",
            "--data.augment.degrees=10",
            "--data.augment+=mnist_lightning.RandomDistortion",
            "--data.augment.rotation=3",
        ],
        ["--config=recipe.yaml"],
    ],
    ids=["list", "appended", "config"],
)
def test_a_list_is_applied_in_order(workdir: Path, options: list[str]) -> None:
    recipe = {"data": {"augment": [AFFINE, DISTORTION]}}
    (workdir / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    cli = main(["fit", *SHORT, *options])
    augment = cli.datamodule.augment
    assert isinstance(augment, nn.Sequential)
    affine, distortion = augment
    assert degrees_of(affine) == [-10.0, 10.0]
    assert isinstance(distortion, RandomDistortion)
    assert distortion.rotation == 3
    saved = config(workdir / "lightning_logs" / "version_0")["data"]["augment"]
    assert [module["class_path"] for module in saved] == [
        AFFINE["class_path"],
        DISTORTION["class_path"],
    ]


def test_per_image_and_compose_in_a_config(workdir: Path) -> None:
    per_image = {"class_path": "mnist_lightning.PerImage", "init_args": {"transform": AFFINE}}
    compose = {"class_path": f"{V2}.Compose", "init_args": {"transforms": [AFFINE, DISTORTION]}}
    recipe = {"data": {"augment": [per_image, compose]}}
    (workdir / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    cli = main(["fit", *SHORT, "--config=recipe.yaml"])
    assert isinstance(cli.datamodule.augment, nn.Sequential)
    first, second = cli.datamodule.augment
    assert isinstance(first, PerImage)
    assert degrees_of(first.transform) == [-10.0, 10.0]
    assert isinstance(second, v2.Compose)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            f"--data.augment={V2}.RandomAffine",
            "--data.augment also requires --data.augment.degrees",
        ),
        (
            f"--data.augment={V2}.RandomAffine --data.augment.degrees=x",
            "--data.augment.degrees is 'x'; it must be a number or a list",
        ),
        (
            f"--data.augment={V2}.RandomAffine --data.augment.degrees=true",
            "--data.augment.degrees is 'true'; it must be a number or a list",
        ),
        (
            f"--data.augment={V2}.RandomErasing --data.augment.p=often",
            "--data.augment.p is 'often'; it must be float",
        ),
        (
            f"--data.augment={V2}.RandomAffine --data.augment.degrees=1 --data.augment.shaer=1",
            "--data.augment.shaer; did you mean --data.augment.shear?",
        ),
        (f"--data.augment+={V2}.RandomAffine", "--data.augment also requires --data.augment.degr"),
        (
            f"--data.augment={V2}.RandomAffine --data.augment.degrees=-10",
            f"error: {V2}.RandomAffine rejected its options: If degrees is a single number, it mus",
        ),
        (
            "--data.augment=mnist_lightning.RandomDistortion --data.augment.scale=-1",
            "mnist_lightning.RandomDistortion rejected its options: scale is -1.0; it must be at l",
        ),
        (
            f"--data.augment=[{{class_path: {V2}.RandomInvert, init_args: {{p: 2}}}}]",
            f"error: {V2}.RandomInvert rejected its options: ",
        ),
        (
            "--data.augment=mnist_lightning.NonDigits --data.augment.num_classes=47",
            "but it raised ValueError: it returned labels for 47 classes, not 10",
        ),
        (
            "--data.augment=mnist_lightning.NonDigits --data.augment.num_classes=5",
            "--data.augment is 'NonDigits'; it must map images (N, 1, 28, 28) to (N, 1",
        ),
        (
            "--data.augment+=mnist_lightning.NonDigits "
            "--data.augment+=mnist_lightning.EuropeanDigits",
            "--data.augment is 'Sequential'; it must map images (N, 1, 28, 28) to (N, 1",
        ),
        ("--data.augment=5", "--data.augment is '5'; it must be the path of a class"),
        ("--data.augment=[5]", "--data.augment is '[5]'; it must be"),
        (f"--data.augment={V2}.RandomAffin", f"--data.augment: cannot import {V2}.RandomAffin"),
        (f"--data.augment={V2}.Grayscale --data.augment.num_output_channels=3", "it must map"),
        (f"--data.augment={V2}.Resize --data.augment.size=14", "it maps (2, 1, 28, 28) to (2, 1, "),
        (f"--data.augment={V2}.MixUp", "--data.augment is 'MixUp'; it must map images"),
        (
            f"--data.augment=[{{class_path: {V2}.Resize, init_args: {{size: 14}}}}]",
            "--data.augment is 'Sequential'; it must map images",
        ),
    ],
)
def test_an_invalid_transform_is_one_sentence(
    workdir: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [options] if options.startswith("--data.augment=[") else options.split()
    code, line = fail(capsys, "fit", "--data.source=sample", *args)
    assert code == 2
    assert message in line
    assert len(line) < 400


class OneChannel(nn.Module):
    """A network of torchvision for gray images."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        import torchvision

        self.network = torchvision.models.resnet18(num_classes=num_classes)
        self.network.conv1 = nn.Conv2d(1, 64, kernel_size=3, padding=1, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images ``(N, 1, H, W)`` to logits."""
        logits: torch.Tensor = self.network(images)
        return logits


@pytest.mark.slow
def test_networks_of_torchvision(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = [f"--model.network={__name__}.OneChannel"]
    cli = main(["fit", *SHORT, "--trainer.limit_val_batches=1", *network])
    assert isinstance(cli.model.network, OneChannel)
    main(["validate", "--trainer.limit_val_batches=1"])  # finds the network in the run's config
    assert "Validation accuracy" in capsys.readouterr().out

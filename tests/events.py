"""What is in TensorBoard's event files."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)


def scalars(folder: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the points of each curve, as step and value."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def steps(folder: str | Path) -> dict[str, list[int]]:
    """Returns the steps of each curve and of each image."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    images = {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}
    return images | {tag: [step for step, _ in points] for tag, points in scalars(folder).items()}

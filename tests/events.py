"""Reads TensorBoard's event files."""

import io
from pathlib import Path
from typing import Any

from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.api_pb2 import GetExperimentRequest
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.get_experiment import Handler
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData


def _load(folder: str | Path) -> Any:
    return EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()


def scalars(folder: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Returns the points ``(step, value)`` of each curve."""
    events = _load(folder)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def steps(folder: str | Path) -> dict[str, list[int]]:
    """Returns the steps of each curve and of each image."""
    events = _load(folder)
    images = {tag: [event.step for event in events.Images(tag)] for tag in events.Tags()["images"]}
    return images | {tag: [step for step, _ in points] for tag, points in scalars(folder).items()}


def images(folder: str | Path, tag: str) -> list[Image.Image]:
    """Returns the images with a tag."""
    return [
        Image.open(io.BytesIO(event.encoded_image_string)) for event in _load(folder).Images(tag)
    ]


def layouts(folder: str | Path) -> dict[str, dict[str, list[str]]]:
    """Returns the charts of the tab Custom Scalars: the tag patterns of each, by category."""
    event = _load(folder).Tensors("custom_scalars__config__")[0]  # TensorBoard shows the first
    layout = Layout.FromString(event.tensor_proto.string_val[0])
    return {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in layout.category
    }


def hparams(folder: str | Path) -> dict[str, Any]:
    """Returns the hyperparameters of a run."""
    contents = _load(folder).summary_metadata
    values = HParamsPluginData.FromString(
        contents["_hparams_/session_start_info"].plugin_data.content
    ).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def hparam_columns(root: str | Path) -> list[str]:
    """Returns the names of hyperparameters in the order in which TensorBoard shows them."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(root)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(root))
    backend = Context(TBContext(data_provider=provider))
    request = GetExperimentRequest()
    experiment = Handler(RequestContext(), backend, "", request).run()
    return [column.name for column in experiment.hparam_infos]


def graph(folder: str | Path) -> list[str]:
    """Returns the names of the nodes in the graph."""
    return [node.name for node in _load(folder).Graph().node]


def events(folder: str | Path) -> list[str]:
    """Returns the tag of each event, or its type if it has none, in the order of writing."""
    names = []
    for path in sorted(Path(folder).glob("events.*")):
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            tags = [value.tag for value in event.summary.value]
            names += tags or [event.WhichOneof("what")]
    return [name for name in names if name != "file_version"]

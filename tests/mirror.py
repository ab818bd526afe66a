"""A small data set and a local mirror for tests of downloads."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from torch import Tensor

from mnist_lightning.data.datasets import IdxDataset


@dataclass
class Files:
    """A small data set in MNIST's format.

    Attributes:
        dataset: The checksums.
        content: The extracted content of each file, by name.
        images: The images of each part, ``train`` and ``t10k``: uint8 of shape ``(N, 28, 28)``.
    """

    dataset: IdxDataset
    content: dict[str, bytes]
    images: dict[str, Tensor]

    def write(self, folder: Path, compressed: bool = False) -> None:
        """Writes all files into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.content.items():
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A local mirror whose answers are set by the test.

    Attributes:
        url: Base URL.
        answers: The answer to a request for a path; other paths get status 404.
        asked: The paths that were requested, in order.
    """

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def serve(self, content: dict[str, bytes]) -> None:
        """Serves files compressed, as ``name.gz``."""
        for name, body in content.items():
            self.answers[f"/{name}.gz"] = sending(gzip.compress(body))


def sending(body: bytes, status: int = 200, length: int | None = None) -> Answer:
    """Returns an answer with a body, and a Content-Length that may be wrong."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer

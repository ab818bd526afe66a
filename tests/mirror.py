"""A data set and a server that tests download from."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from torch import Tensor

from mnist_lightning.data.datasets import IdxDataset


@dataclass
class Files:
    """A data set in MNIST's format that is small enough to send around."""

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
    """A local mirror whose answers a test decides.

    Attributes:
        url: Where it is.
        answers: What to do for a path; other paths are not found.
        asked: The paths that were asked for.
    """

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def serve(self, content: dict[str, bytes]) -> None:
        """Answers with the content of files, each compressed."""
        for name, body in content.items():
            self.answers[f"/{name}.gz"] = sending(gzip.compress(body))


def sending(body: bytes, status: int = 200, length: int | None = None) -> Answer:
    """Returns an answer with this body, and a length that may be a lie."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer

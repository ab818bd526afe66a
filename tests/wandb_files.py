"""Reads the file that Weights & Biases writes in offline mode."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK_SIZE, FILE_HEADER_SIZE = 32_768, 7
HEADER = struct.Struct("<IHB")  # checksum, length and type of a piece of a record
FULL, LAST = 1, 4


def history(path: Path) -> list[dict[str, Any]]:
    """Returns what was logged, one mapping for each call."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
        for items in (record.history.item for record in _records(path) if record.history.item)
    ]


def config(path: Path) -> dict[str, Any]:
    """Returns the hyperparameters."""
    return {
        item.key: json.loads(item.value_json)
        for record in _records(path)
        for item in (*record.config.update, *record.run.config.update)
    }


def run_id(path: Path) -> str:
    """Returns the ID of the run."""
    ids = {record.run.run_id for record in _records(path) if record.run.run_id}
    (only,) = ids
    return str(only)


def _records(path: Path) -> Iterator[Any]:
    """Yields the records, which are stored as in LevelDB's log: in pieces that fit into blocks."""
    from wandb.proto import wandb_internal_pb2 as messages

    content, position, data = path.read_bytes(), FILE_HEADER_SIZE, b""
    while position + HEADER.size <= len(content):
        if BLOCK_SIZE - position % BLOCK_SIZE < HEADER.size:
            position += BLOCK_SIZE - position % BLOCK_SIZE
            continue
        _, length, kind = HEADER.unpack_from(content, position)
        position += HEADER.size
        data += content[position : position + length]
        position += length
        if kind in (FULL, LAST):
            yield messages.Record.FromString(data)  # type: ignore[attr-defined]
            data = b""

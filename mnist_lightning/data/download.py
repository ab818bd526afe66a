"""Gets the files of a data set in MNIST's format from a folder, else from mirrors, verified."""

import gzip
import hashlib
import http.client
import io
import logging
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import IO

from typing_extensions import override

from mnist_lightning.data.datasets import IdxDataset, IdxFile
from mnist_lightning.errors import DataError, MissingDataError, check
from mnist_lightning.files import write_atomically

log = logging.getLogger(__name__)

STALL_SECONDS = 10.0
STALL_BYTES = 16 * 1024


class _MirrorError(Exception):
    """What was wrong with an answer of a mirror."""


def check_mirrors(mirrors: str | Sequence[str] | None, dataset: IdxDataset) -> tuple[str, ...]:
    """Returns the mirrors to ask: those given, else the environment's, then the built-in ones.

    Args:
        mirrors: Base URLs (http, https or file), a sequence or one string with commas between them;
            default: the variable ``MNIST_MIRRORS``, or that of another data set's name.
        dataset: What they mirror.

    Raises:
        InvalidArgumentError: If one is no such URL.
    """
    variable = f"{dataset.name.upper()}_MIRRORS"
    name = "mirrors" if mirrors is not None else variable
    given = os.environ.get(variable, "") if mirrors is None else mirrors
    wanted = "a mirror is a base URL that starts with https://, http:// or file:///"
    check(name, given, lambda value: iter(value) is not None, wanted)
    urls = given.split(",") if isinstance(given, str) else [*given]
    for url in urls:
        check(name, url, lambda value: isinstance(value, str) and _is_mirror(value), wanted)
    return (*filter(None, map(str.strip, urls)), *dataset.mirrors)


def _is_mirror(url: str) -> bool:
    if not url.strip():  # as behind the last comma
        return True
    try:
        parts = urllib.parse.urlsplit(url.strip())
    except ValueError:
        return False
    if parts.scheme == "file":
        return not parts.netloc and parts.path.startswith("/")
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def load(folder: Path, dataset: IdxDataset) -> dict[str, bytes]:
    """Reads the files from ``folder`` and verifies every byte of them.

    Args:
        folder: Holds each file, extracted or with ``.gz`` behind its name, in ``MNIST/raw``
            (torchvision's layout, with the name of the data set) or directly.
        dataset: What to read.

    Returns:
        The extracted content of each file, by name.

    Raises:
        DataError: If a file cannot be read.
        MissingDataError: If a file is missing or damaged.
    """
    contents, damaged = _read(folder, dataset)
    if len(contents) < len(dataset.files):
        absent = [name for name in dataset.files if name not in contents and name not in damaged]
        problems = [*damaged.values(), *(f"{name} is not in {folder}" for name in absent)]
        raise MissingDataError("; ".join(problems))
    return contents


def fetch(folder: Path, dataset: IdxDataset, mirrors: Iterable[str]) -> dict[str, bytes]:
    """Makes ``folder`` hold all files: what it lacks is downloaded, as into ``MNIST/raw``.

    A folder that holds them all is only read. Processes that do this at once do not disturb each
    other: a file appears in one piece and only after it was verified.

    Args:
        folder: See :func:`load`.
        dataset: What to get.
        mirrors: Base URLs, asked in this order.

    Returns:
        The extracted content of each file, by name.

    Raises:
        DataError: If the folder cannot be read or written.
        MissingDataError: If no mirror gave a file; names each mirror and what was wrong with it.
    """
    contents, damaged = _read(folder, dataset)
    missing = {name: file for name, file in dataset.files.items() if name not in contents}
    if not missing:
        return contents
    raw = folder / dataset.name / "raw"
    if not raw.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{raw} leads out of data_dir {folder}; remove the link")
    problems = list(damaged.values())
    made: list[Path] = []
    try:
        made += [path for path in (raw, *raw.parents) if not path.exists()]
        raw.mkdir(parents=True, exist_ok=True)
        write_atomically(raw / ".probe", b"")
        (raw / ".probe").unlink(missing_ok=True)  # another process may have been faster
        for mirror in mirrors:
            problems += _fetch_from(mirror, missing, raw, contents)
            if not missing:
                return contents
    except OSError as error:
        raise DataError(
            f"data_dir {folder} cannot be written ({error.strerror}); choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # a folder that was not needed goes; one that is in use stays
            for path in made:
                path.rmdir()
    raise MissingDataError("; ".join(problems))


def _read(folder: Path, dataset: IdxDataset) -> tuple[dict[str, bytes], dict[str, str]]:
    """Returns the verified content of each file that is there, and where another is damaged."""
    contents: dict[str, bytes] = {}
    damaged: dict[str, str] = {}
    for name, expected in dataset.files.items():
        for place in (folder / dataset.name / "raw", folder):
            for path in (place / name, place / f"{name}.gz"):
                if name in contents or (expected.compressed and path.suffix != ".gz"):
                    continue
                try:
                    if not path.is_file():
                        continue
                    with path.open("rb") as file:
                        # No right file is larger, so a little more shows that this one is wrong.
                        content = file.read(expected.size + 1024)
                except OSError as error:
                    raise DataError(
                        f"{path} cannot be read ({error.strerror}); choose another data_dir"
                    ) from error
                verified = _verified(content, path.suffix == ".gz", expected)
                if verified is None:
                    problem = (
                        f"{path} is damaged (its content is not that of {dataset.name}'s file)"
                    )
                    damaged[name] = "; ".join(filter(None, (damaged.get(name), problem)))
                else:
                    contents[name] = verified
                    damaged.pop(name, None)
    return contents, damaged


def _verified(content: bytes, compressed: bool, expected: IdxFile) -> bytes | None:
    extracted = content
    if compressed:
        try:
            with gzip.open(io.BytesIO(content)) as file:
                extracted = file.read(expected.size + 1)
        except (EOFError, OSError, zlib.error):
            return None
    summed = content if expected.compressed else extracted
    return extracted if hashlib.sha256(summed).hexdigest() == expected.sha256 else None


def _fetch_from(
    mirror: str, missing: dict[str, IdxFile], raw: Path, contents: dict[str, bytes]
) -> list[str]:
    """Moves what the mirror gives from ``missing`` to ``contents`` and returns what went wrong."""
    problems = []
    for name, expected in list(missing.items()):
        url = f"{mirror.rstrip('/')}/{name}.gz"
        log.info("Downloading %s", url)
        try:
            answer = _download(url, expected.size + 1024)
            content = _verified(answer, True, expected)
            if content is None:
                raise _MirrorError("what came is cut short or is another file")
        except _MirrorError as error:
            problems.append(f"{url}: {error}")
            break  # the other files would most likely fail too, each after as long a wait
        raw.mkdir(parents=True, exist_ok=True)  # another process that failed may have removed it
        if expected.compressed:  # else it could not be verified again
            write_atomically(raw / f"{name}.gz", answer)
        else:
            write_atomically(raw / name, content)
        contents[name] = content
        del missing[name]
    return problems


def _download(url: str, limit: int) -> bytes:
    """Returns what is at ``url``; gives up on a mirror that gives next to nothing for a while.

    A thread does the work, because no time-out of a socket covers the name look-up, the further
    addresses of a host, or a server that sends a byte a second.
    """
    body = bytearray()
    outcome: Future[bytes] = Future()
    abandoned = threading.Event()

    def work() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "mnist_lightning"})
            with _OPENER.open(request, timeout=STALL_SECONDS) as response:
                while (piece := response.read1(1 << 16)) and len(body) < limit:
                    body.extend(piece)
                    if abandoned.is_set():
                        return
            outcome.set_result(bytes(body))
        except BaseException as error:  # handed to the caller, who sorts it
            outcome.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    before = 0
    while not wait([outcome], STALL_SECONDS).done:
        if len(body) - before < STALL_BYTES:
            abandoned.set()
            raise _MirrorError(f"{len(body) - before} bytes came in {STALL_SECONDS:g} seconds")
        before = len(body)
    try:
        return outcome.result()
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"HTTP status {error.code} ({error.reason})") from error
    except urllib.error.URLError as error:
        raise _MirrorError(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # the last for odd host names
        raise _MirrorError(str(error) or type(error).__name__) from error


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        allowed = ("https:",) if req.type == "https" else ("https:", "http:")
        if not newurl.startswith(allowed):
            fp.close()
            raise urllib.error.URLError(f"redirects to {newurl}, which is not {allowed[0][:-1]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SecureRedirects)

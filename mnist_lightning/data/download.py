"""Downloads the files of a data set that are not in a folder, and verifies every byte."""

import http.client
import io
import logging
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import IO

from typing_extensions import override

from mnist_lightning.data.datasets import IdxDataset
from mnist_lightning.data.local_files import (
    archive_name,
    describe_problems,
    read_intact,
    verify,
)
from mnist_lightning.errors import DataError, MissingDataError, check
from mnist_lightning.files import write_atomically

log = logging.getLogger(__name__)

STALL_SECONDS = 10.0  # a mirror that sends fewer than STALL_BYTES in this time is abandoned
STALL_BYTES = 16 * 1024


class _MirrorError(Exception):
    """A mirror did not deliver a file."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url}: {reason}")


def resolve_mirrors(mirrors: str | Sequence[str] | None, dataset: IdxDataset) -> tuple[str, ...]:
    """Returns the base URLs to download from: the user's mirrors, then the built-in ones.

    Args:
        mirrors: Base URLs (http, https or file), a sequence or a string separated by commas;
            default: the environment variable ``MNIST_MIRRORS``, or ``FASHIONMNIST_MIRRORS`` and
            so on for the other data sets.
        dataset: The data set to download.

    Raises:
        InvalidArgumentError: If a mirror is not such a URL.
    """
    name = "mirrors"
    if mirrors is None:
        name = f"{dataset.folder.upper()}_MIRRORS"
        mirrors = os.environ.get(name, "")
    requirement = "a mirror is a base URL that starts with https://, http:// or file:///"
    check(name, mirrors, iter, requirement)
    values = mirrors.split(",") if isinstance(mirrors, str) else mirrors
    urls = [url for url in (str(value).strip() for value in values) if url]  # "a," is one URL
    for url in urls:
        check(name, url, _is_base_url, requirement)
    return (*urls, *dataset.mirrors)


def _is_base_url(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        return not parts.netloc and parts.path.startswith("/")
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def fetch(folder: Path, dataset: IdxDataset, mirrors: Iterable[str]) -> dict[str, bytes]:
    """Reads the files of a data set and downloads those that are missing or damaged.

    Nothing is written if the folder contains all files. Otherwise each file appears in
    ``MNIST/raw`` complete and verified, so several processes can download at once.

    Args:
        folder: As for :func:`~mnist_lightning.data.local_files.load`.
        dataset: The data set to read or download.
        mirrors: Base URLs, in the order in which to try them.

    Returns:
        The content of each file in ``dataset.files``, by name.

    Raises:
        DataError: If the folder cannot be read or written.
        MissingDataError: If no mirror delivered a file; names the problem with each mirror.
    """
    contents, damaged = read_intact(folder, dataset)
    if len(contents) == len(dataset.files):
        return contents
    raw = folder / dataset.folder / "raw"
    if not raw.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{raw} leads outside data_dir {folder}; remove the symbolic link")
    problems = describe_problems(folder, dataset, contents, damaged)
    created = [path for path in (raw, *raw.parents) if not path.exists()]
    try:
        raw.mkdir(parents=True, exist_ok=True)
        for mirror in mirrors:
            try:
                _download_missing(mirror, dataset, raw, contents)
                return contents
            except _MirrorError as error:
                problems.append(str(error))
    except OSError as error:
        raise DataError(
            f"data_dir {folder} cannot be written ({error.strerror}); choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # not empty
            for path in created:
                path.rmdir()
    raise MissingDataError("; ".join(problems))


def _download_missing(
    mirror: str, dataset: IdxDataset, raw: Path, contents: dict[str, bytes]
) -> None:
    """Downloads the files that ``contents`` lacks, writes them to ``raw`` and adds them.

    Raises:
        _MirrorError: At the first file that fails, since the others would most likely fail too,
            each after the same wait.
    """
    for name, expected in dataset.files.items():
        if name in contents:
            continue
        url = f"{mirror.rstrip('/')}/{archive_name(name)}"
        log.info("Downloading %s", url)
        archive = _download(url, expected.max_size + 1024)
        content = verify(archive, expected, is_compressed=archive_name(name) != name)
        if content is None:
            raise _MirrorError(url, "the downloaded file is truncated or has the wrong checksum")
        raw.mkdir(parents=True, exist_ok=True)  # another process that failed may have removed it
        write_atomically(raw / name, content)
        contents[name] = content


def _download(url: str, max_bytes: int) -> bytes:
    """Downloads the first ``max_bytes`` or a little more; abandons a mirror that stalls.

    The transfer runs in a thread, because a socket's time-out limits neither the name lookup, nor
    the attempts to connect to all addresses of a host, nor a server that sends a byte a second.
    """
    body = io.BytesIO()  # its value is not a copy, which matters for half a gigabyte
    result: Future[bytes] = Future()
    abandoned = threading.Event()

    def receive() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "mnist_lightning"})
            with _OPENER.open(request, timeout=STALL_SECONDS) as response:
                while body.tell() < max_bytes and (chunk := response.read1(1 << 16)):
                    body.write(chunk)
                    if abandoned.is_set():
                        return
            result.set_result(body.getvalue())
        except Exception as error:
            result.set_exception(error)

    threading.Thread(target=receive, daemon=True).start()
    received = 0
    while not wait([result], STALL_SECONDS).done:
        progress = body.tell() - received
        if progress < STALL_BYTES:
            abandoned.set()
            raise _MirrorError(url, f"only {progress} bytes arrived in {STALL_SECONDS:g} seconds")
        received += progress
    try:
        return result.result()
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: bad host names
        raise _MirrorError(url, _reason(error)) from error


def _reason(error: Exception) -> str:
    """Returns the reason of a failed transfer, for a message."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP status {error.code} ({error.reason})"
    cause = getattr(error, "reason", error)  # urllib wraps the errors of sockets
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https, but not from https to http."""

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
        schemes = ("https",) if req.type == "https" else ("https", "http")
        if urllib.parse.urlsplit(newurl).scheme not in schemes:
            fp.close()
            raise urllib.error.URLError(f"redirects to {newurl}, not to {' or '.join(schemes)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_SecureRedirects)

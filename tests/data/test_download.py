"""Downloading from mirrors that work, fail, stall or lie."""

import errno
import gzip
import http.client
import os
import re
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import POSIX
from mirror import Answer, Files, Server, sending

from mnist_lightning.data import download, local_files
from mnist_lightning.data.datasets import DATASETS
from mnist_lightning.errors import DataError, InvalidArgumentError, MissingDataError
from mnist_lightning.files import write_atomically

FIRST = "/train-images-idx3-ubyte.gz"  # the file that is downloaded first
MNIST = DATASETS["MNIST"]
WRONG = "the downloaded file is truncated or has the wrong checksum"


def test_tries_the_next_mirror_for_files_that_the_first_does_not_have(
    tmp_path: Path, files: Files, server: Server
) -> None:
    names = list(files.dataset.files)
    first = {f"one/{name}": files.content[name] for name in names[:2]}
    second = {f"two/{name}": content for name, content in files.content.items()}
    server.serve(first | second)
    download.fetch(tmp_path, files.dataset, [f"{server.url}/one", f"{server.url}/two/"])
    assert local_files.load(tmp_path, files.dataset) == files.content
    assert server.asked == [
        *(f"/one/{name}.gz" for name in names[:3]),
        *(f"/two/{name}.gz" for name in names[2:]),
    ]


def test_downloads_from_a_folder(tmp_path: Path, files: Files) -> None:
    files.write(tmp_path / "mirror", compressed=True)
    download.fetch(tmp_path / "data", files.dataset, [(tmp_path / "mirror").as_uri()])
    assert local_files.load(tmp_path / "data", files.dataset) == files.content


def redirecting(url: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", url)
        handler.end_headers()

    return answer


def resetting(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def resetting_in_the_middle(handler: BaseHTTPRequestHandler) -> None:
    sending(bytes(5000), length=10_000)(handler)
    handler.wfile.flush()
    resetting(handler)


def with_a_bit_flipped(handler: BaseHTTPRequestHandler) -> None:
    generator = torch.Generator().manual_seed(0)  # the same images as in the fixture
    images = torch.randint(256, (50, 28, 28), generator=generator, dtype=torch.uint8)
    images[0, 0, 0] ^= 1
    header = struct.pack(">4i", 0x803, 50, 28, 28)
    sending(gzip.compress(header + images.numpy().tobytes()))(handler)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sending(b"", status=403), "HTTP status 403"),
        (sending(b"", status=404), "HTTP status 404"),
        (sending(b"", status=503), "HTTP status 503"),
        (sending(b"<html>Log in to this network</html>"), WRONG),
        (sending(gzip.compress(b"other bytes")), WRONG),
        (sending(gzip.compress(bytes(40_000))[:20]), WRONG),
        (sending(b"\x1f\x8b\x08", length=5000), WRONG),
        (sending(bytes(1 << 22)), WRONG),
        (redirecting(FIRST), "redirect"),
        (redirecting("ftp://127.0.0.1/x"), "redirects to ftp://127.0.0.1/x, not to https or http"),
        (redirecting("file:///etc/passwd"), "not allowed"),
        (resetting, "reset|forcibly closed|aborted|Remote end closed"),
        (resetting_in_the_middle, f"reset|forcibly closed|IncompleteRead|{WRONG}"),
        (with_a_bit_flipped, WRONG),
    ],
    ids=[
        "forbidden",
        "not found",
        "unavailable",
        "login page",
        "other content",
        "truncated archive",
        "truncated answer",
        "not gzip",
        "endless redirect",
        "redirect to ftp",
        "redirect to a file",
        "reset",
        "reset in the middle",
        "a bit flipped",
    ],
)
def test_names_the_problem_with_a_mirror_and_tries_the_next(
    tmp_path: Path, files: Files, server: Server, answer: Answer, reason: str
) -> None:
    server.answers[FIRST] = answer
    with pytest.raises(MissingDataError, match=f"{server.url}{FIRST}: .*({reason})"):
        download.fetch(tmp_path / "some" / "data", files.dataset, [server.url])
    assert not list(tmp_path.iterdir())

    server.serve({f"good/{name}": content for name, content in files.content.items()})
    download.fetch(tmp_path / "data", files.dataset, [server.url, f"{server.url}/good"])
    assert local_files.load(tmp_path / "data", files.dataset) == files.content


def test_names_hosts_that_cannot_be_reached(tmp_path: Path, files: Files) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    mirrors = [f"http://127.0.0.1:{port}", "http://no.such.host.invalid"]
    with pytest.raises(MissingDataError) as caught:
        download.fetch(tmp_path, files.dataset, mirrors)
    assert re.search(rf":{port}{FIRST}: .*refused", str(caught.value))
    assert "invalid/train-images-idx3-ubyte.gz: " in str(caught.value)


def test_names_an_invalid_host_name(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise UnicodeError("label empty or too long")  # Python's error for http://a..b/

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(MissingDataError, match=r"^http://a\.\.b/train-.*\.gz: label empty or too"):
        download.fetch(tmp_path, files.dataset, ["http://a..b/"])


def silent(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)


def trickling(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(60):
        time.sleep(0.05)
        handler.wfile.write(b"\0")


def trickling_headers(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(60):
        time.sleep(0.05)
        handler.wfile.write(b"H")


@pytest.mark.slow
@pytest.mark.parametrize("answer", [silent, trickling, trickling_headers])
def test_abandons_a_mirror_that_stalls(
    tmp_path: Path,
    files: Files,
    server: Server,
    answer: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)
    server.answers[FIRST] = answer
    start = time.monotonic()
    with pytest.raises(MissingDataError, match=r"only \d+ bytes arrived in 0.5 sec|timed out"):
        download.fetch(tmp_path, files.dataset, [server.url])
    assert time.monotonic() - start < 1.4
    assert server.asked == [FIRST]  # no other file is requested from such a mirror


def test_abandons_a_name_lookup_that_stalls(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stall(*args: object, **kwargs: object) -> None:
        time.sleep(2)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(socket, "getaddrinfo", stall)
    start = time.monotonic()
    with pytest.raises(MissingDataError, match=r"only 0 bytes arrived in 0.5 seconds"):
        download.fetch(tmp_path, files.dataset, ["http://a.example/"])
    assert time.monotonic() - start < 1.4


def test_a_stall_lasts_at_most_15_seconds() -> None:
    assert 5 <= download.STALL_SECONDS <= 15


def test_waits_for_a_mirror_that_is_slow_but_steady(
    tmp_path: Path, files: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = gzip.compress(files.content[FIRST[1:-3]])

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        size = len(archive) // 9
        for start in range(0, len(archive), size):
            handler.wfile.write(archive[start : start + size])
            time.sleep(0.1)

    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(download, "STALL_BYTES", len(archive) // 9)
    server.serve(files.content)
    server.answers[FIRST] = answer
    assert download.fetch(tmp_path, files.dataset, [server.url]) == files.content


def test_stops_downloading_what_is_larger_than_the_file(
    tmp_path: Path, files: Files, server: Server
) -> None:
    sent = 0

    def endless(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.end_headers()
        try:
            while sent < 1 << 28:
                sent += handler.wfile.write(bytes(1 << 16))
        except ConnectionError:  # the downloader has closed the connection
            handler.close_connection = True

    server.answers[FIRST] = endless
    with pytest.raises(MissingDataError, match=WRONG):
        download.fetch(tmp_path, files.dataset, [server.url])
    assert sent < 1 << 25  # the buffers of the sockets take some megabytes


def test_https_is_not_redirected_to_http(
    tmp_path: Path, files: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scheme is https, but without encryption, for which the server would need a certificate.
    monkeypatch.setattr(http.client.HTTPSConnection, "connect", http.client.HTTPConnection.connect)
    https = server.url.replace("http:", "https:")
    server.serve(files.content)
    for name in files.dataset.files:
        server.answers[f"/https/{name}.gz"] = redirecting(f"{https}/{name}.gz")
        server.answers[f"/http/{name}.gz"] = redirecting(f"{server.url}/{name}.gz")
    with pytest.raises(MissingDataError, match=f"redirects to {server.url}{FIRST}, not to https$"):
        download.fetch(tmp_path / "http", files.dataset, [f"{https}/http"])
    for index, mirror in enumerate([f"{https}/https", f"{server.url}/https", f"{server.url}/http"]):
        folder = tmp_path / str(index)
        assert download.fetch(folder, files.dataset, [mirror]) == files.content


def test_an_interrupted_download_leaves_no_partial_file(
    tmp_path: Path, files: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(files.content)

    def interrupt(path: Path, content: bytes) -> None:
        if path.name == "t10k-images-idx3-ubyte":
            monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        write_atomically(path, content)

    monkeypatch.setattr(download, "write_atomically", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download.fetch(tmp_path, files.dataset, [server.url])
    monkeypatch.undo()
    raw = tmp_path / "MNIST" / "raw"
    assert {path.name for path in raw.iterdir()} == set(list(files.dataset.files)[:2])
    download.fetch(tmp_path, files.dataset, [server.url])
    assert local_files.load(tmp_path, files.dataset) == files.content


def test_ignores_the_temporary_file_of_a_killed_download(
    tmp_path: Path, files: Files, server: Server
) -> None:
    server.serve(files.content)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / ".train-images-idx3-ubyte.0123456789abcdef.tmp").write_bytes(b"half")
    download.fetch(tmp_path, files.dataset, [server.url])
    assert local_files.load(tmp_path, files.dataset) == files.content


def test_a_full_disk_is_named_and_leaves_no_file(
    tmp_path: Path, files: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(files.content)

    def fail_if_large(descriptor: int) -> None:
        if os.fstat(descriptor).st_size > 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail_if_large)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            download.fetch(tmp_path, files.dataset, [server.url])
    assert not list(tmp_path.rglob("*ubyte*"))
    download.fetch(tmp_path, files.dataset, [server.url])
    assert local_files.load(tmp_path, files.dataset) == files.content


def test_names_a_folder_that_cannot_be_written(tmp_path: Path, files: Files) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "file" / "x" / "y"):
        with pytest.raises(
            DataError, match=f"{re.escape(str(folder))} cannot be written .*; choose"
        ) as caught:
            download.fetch(folder, files.dataset, [])
        assert not isinstance(caught.value, MissingDataError)  # the sample is not a substitute then


def test_concurrent_downloads_do_not_disturb_each_other(
    tmp_path: Path, files: Files, server: Server
) -> None:
    server.serve(files.content)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: download.fetch(tmp_path, files.dataset, [server.url]), range(8))
        assert all(contents == files.content for contents in found)
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == {*files.dataset.files}


@POSIX
@pytest.mark.parametrize("link", ["MNIST", "MNIST/raw"])
def test_a_symbolic_link_does_not_lead_a_download_outside_the_folder(
    tmp_path: Path, files: Files, server: Server, link: str
) -> None:
    server.serve(files.content)
    data, outside = tmp_path / "data", tmp_path / "outside"
    outside.mkdir()
    (data / link).parent.mkdir(parents=True)
    (data / link).symlink_to(outside)
    with pytest.raises(DataError, match="leads outside data_dir"):
        download.fetch(data, files.dataset, [server.url])
    assert not list(outside.iterdir())
    (tmp_path / "linked").symlink_to(tmp_path / "real")  # data_dir itself may be a link
    (tmp_path / "real").mkdir()
    download.fetch(tmp_path / "linked", files.dataset, [server.url])


@POSIX
def test_a_symbolic_link_in_place_of_a_file_is_replaced(
    tmp_path: Path, files: Files, server: Server
) -> None:
    server.serve(files.content)
    raw, target = tmp_path / "data" / "MNIST" / "raw", tmp_path / "target"
    raw.mkdir(parents=True)
    target.write_text("precious")
    for name in files.dataset.files:
        (raw / name).symlink_to(target)
    download.fetch(tmp_path / "data", files.dataset, [server.url])
    assert target.read_text() == "precious"
    assert not any(path.is_symlink() for path in raw.iterdir())


def test_mirrors_of_the_user_come_before_the_built_in_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built_in = MNIST.mirrors
    assert all(url.startswith("https://") for url in built_in)
    monkeypatch.setenv("MNIST_MIRRORS", "http://a/, file:///b,")
    assert download.resolve_mirrors(None, MNIST) == ("http://a/", "file:///b", *built_in)
    assert download.resolve_mirrors("https://c/,http://d", MNIST) == (
        "https://c/",
        "http://d",
        *built_in,
    )
    assert download.resolve_mirrors(["https://c/"], MNIST) == ("https://c/", *built_in)
    monkeypatch.delenv("MNIST_MIRRORS")
    assert download.resolve_mirrors(None, MNIST) == built_in


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "a.example", "/data", "file://data", "://", "http://[::1"]
)
def test_rejects_a_mirror_that_is_not_a_base_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(f"mirrors is '{url}'; a mirror")):
        download.resolve_mirrors([url], MNIST)
    monkeypatch.setenv("MNIST_MIRRORS", url)
    with pytest.raises(InvalidArgumentError, match=re.escape(f"MNIST_MIRRORS is '{url}'")):
        download.resolve_mirrors(None, MNIST)


@pytest.mark.parametrize("mirrors", [3, [3], [Path("/data")], [None]], ids=repr)
def test_rejects_mirrors_of_the_wrong_type(mirrors: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"mirrors is .*; a mirror is a base URL"):
        download.resolve_mirrors(mirrors, MNIST)

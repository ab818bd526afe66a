"""Reading, verifying and downloading, from mirrors of every kind."""

import errno
import gzip
import hashlib
import io
import os
import re
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from mirror import Answer, Files, Server, sending

from mnist_lightning.data import download
from mnist_lightning.data.datasets import DATASETS, IdxDataset, IdxFile
from mnist_lightning.errors import DataError, InvalidArgumentError, MissingDataError
from mnist_lightning.files import write_atomically

FIRST = "/train-images-idx3-ubyte.gz"
MNIST = DATASETS["MNIST"]


@pytest.mark.parametrize("place", ["MNIST/raw", "."])
@pytest.mark.parametrize("compressed", [False, True])
def test_reads_files_that_are_there_without_writing(
    tmp_path: Path, files: Files, place: str, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / place, compressed)

    def refuse(*args: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(download, "write_atomically", refuse)
    download.fetch(tmp_path, files.dataset, ["http://127.0.0.1:1/"])
    assert download.load(tmp_path, files.dataset) == files.content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"",
    ],
    ids=["cut short", "longer", "a bit flipped", "empty"],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_is_named_and_downloaded_again(
    tmp_path: Path,
    files: Files,
    server: Server,
    spoil: Callable[[bytes], bytes],
    compressed: bool,
) -> None:
    files.write(tmp_path, compressed)
    name = "train-labels-idx1-ubyte" + (".gz" if compressed else "")
    (tmp_path / name).write_bytes(spoil((tmp_path / name).read_bytes()) if not compressed else b"x")
    with pytest.raises(DataError, match=f"{name} is damaged"):
        download.load(tmp_path, files.dataset)
    with pytest.raises(MissingDataError, match=f"{name} is damaged"):
        download.fetch(tmp_path, files.dataset, [])
    server.serve(files.content)
    download.fetch(tmp_path, files.dataset, [server.url])
    assert download.load(tmp_path, files.dataset) == files.content
    assert server.asked == ["/train-labels-idx1-ubyte.gz"]  # the others were right


def test_a_gzip_bomb_is_not_unpacked(
    tmp_path: Path, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = gzip.GzipFile.read

    def counted(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        content = read(self, size)
        sizes.append(len(content))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    files.write(tmp_path)
    name = "t10k-labels-idx1-ubyte"
    (tmp_path / name).rename(tmp_path / "elsewhere")
    bomb = gzip.compress(bytes(1 << 26))
    (tmp_path / f"{name}.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="damaged"):
        download.load(tmp_path, files.dataset)
    assert sizes == [files.dataset.files[name].size + 1]


def test_takes_no_more_of_an_answer_than_a_file_can_be(server: Server) -> None:
    server.answers["/long"] = sending(bytes(1 << 24))
    assert len(download._download(f"{server.url}/long", 1000)) <= 1000 + (1 << 16)


def test_asks_the_next_mirror_for_what_the_first_does_not_have(
    tmp_path: Path, files: Files, server: Server
) -> None:
    names = list(files.dataset.files)
    first = {f"one/{name}": files.content[name] for name in names[:2]}
    second = {f"two/{name}": content for name, content in files.content.items()}
    server.serve(first | second)
    download.fetch(tmp_path, files.dataset, [f"{server.url}/one", f"{server.url}/two/"])
    assert download.load(tmp_path, files.dataset) == files.content
    assert server.asked == [
        *(f"/one/{name}.gz" for name in names[:3]),
        *(f"/two/{name}.gz" for name in names[2:]),
    ]


def redirecting(url: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", url)
        handler.end_headers()

    return answer


def resetting_in_the_middle(handler: BaseHTTPRequestHandler) -> None:
    sending(bytes(5000), length=10_000)(handler)
    handler.wfile.flush()
    resetting(handler)


def with_a_bit_flipped(handler: BaseHTTPRequestHandler) -> None:
    generator = torch.Generator().manual_seed(0)  # as the fixture's images
    images = torch.randint(256, (50, 28, 28), generator=generator, dtype=torch.uint8)
    images[0, 0, 0] ^= 1
    header = struct.pack(">4i", 0x803, 50, 28, 28)
    sending(gzip.compress(header + images.numpy().tobytes()))(handler)


def resetting(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sending(b"", status=403), "HTTP status 403"),
        (sending(b"", status=404), "HTTP status 404"),
        (sending(b"", status=503), "HTTP status 503"),
        (sending(b"<html>Log in to this network</html>"), "another file"),
        (sending(gzip.compress(b"other bytes")), "another file"),
        (sending(gzip.compress(bytes(40_000))[:20]), "cut short"),
        (sending(b"\x1f\x8b\x08", length=5000), "cut short"),
        (sending(bytes(1 << 22)), "another file"),
        (redirecting(FIRST), "redirect"),
        (redirecting("ftp://127.0.0.1/x"), "redirects to ftp"),
        (redirecting("file:///etc/passwd"), "not allowed"),
        (resetting, "reset|Remote end closed"),
        (resetting_in_the_middle, "reset|cut short|IncompleteRead"),
        (with_a_bit_flipped, "another file"),
    ],
)
def test_says_what_was_wrong_with_a_mirror_and_goes_on_with_a_good_one(
    tmp_path: Path, files: Files, server: Server, answer: Answer, reason: str
) -> None:
    server.answers[FIRST] = answer
    with pytest.raises(MissingDataError, match=f"{server.url}{FIRST}: .*({reason})"):
        download.fetch(tmp_path / "some" / "data", files.dataset, [server.url])
    assert not (tmp_path / "some").exists()  # nothing half-written, no folder that was not there

    server.serve({f"good/{name}": content for name, content in files.content.items()})
    download.fetch(tmp_path / "data", files.dataset, [server.url, f"{server.url}/good"])
    assert download.load(tmp_path / "data", files.dataset) == files.content


def test_says_when_nobody_answers(tmp_path: Path, files: Files) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mirrors = [f"http://127.0.0.1:{port}", "http://no.such.host.invalid"]
    with pytest.raises(MissingDataError) as caught:
        download.fetch(tmp_path, files.dataset, mirrors)
    assert f"http://127.0.0.1:{port}{FIRST}: Connection refused" in str(caught.value)
    assert "invalid/train-images-idx3-ubyte.gz: " in str(caught.value)


def test_says_what_is_wrong_with_an_odd_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise UnicodeError("label empty or too long")  # what Python says of http://a..b/

    monkeypatch.setattr(download._OPENER, "open", refuse)
    with pytest.raises(download._MirrorError, match="label empty"):
        download._download("http://a..b/", 10)


@pytest.mark.parametrize("pause", [None, 0.05], ids=["silent", "trickling"])
def test_gives_up_on_a_mirror_that_gives_next_to_nothing(
    tmp_path: Path,
    files: Files,
    server: Server,
    pause: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if pause is None:
            time.sleep(1.5)
            return
        handler.send_response(200)
        handler.end_headers()
        for _ in range(60):
            time.sleep(pause)
            handler.wfile.write(b"\0")

    server.answers[FIRST] = answer
    start = time.monotonic()
    with pytest.raises(MissingDataError, match=r"bytes came in 0.5 seconds|timed out"):
        download.fetch(tmp_path, files.dataset, [server.url])
    assert time.monotonic() - start < 1.4
    assert server.asked == [FIRST]  # no more is asked of such a mirror


def test_default_patience_is_at_most_15_seconds() -> None:
    assert 5 <= download.STALL_SECONDS <= 15


def test_waits_for_a_mirror_that_is_slow_but_steady(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(10):
            handler.wfile.write(bytes(20_000))
            time.sleep(0.1)

    server.answers["/slow"] = answer
    assert download._download(f"{server.url}/slow", 1 << 20) == bytes(200_000)


def test_does_not_go_from_https_to_http() -> None:
    request = urllib.request.Request("https://a.example/file")
    handler = download._SecureRedirects()
    arguments = (request, io.BytesIO(), 302, "Found", HTTPMessage())
    with pytest.raises(urllib.error.URLError, match="not https"):
        handler.redirect_request(*arguments, "http://a.example/file")
    assert handler.redirect_request(*arguments, "https://b.example/file") is not None
    handlers = vars(download._OPENER)["handlers"]
    assert any(isinstance(one, download._SecureRedirects) for one in handlers)


def test_reads_a_mirror_in_a_folder(tmp_path: Path, files: Files) -> None:
    files.write(tmp_path / "mirror", compressed=True)
    download.fetch(tmp_path / "data", files.dataset, [(tmp_path / "mirror").as_uri()])
    assert download.load(tmp_path / "data", files.dataset) == files.content


def test_a_crash_in_the_middle_leaves_nothing_half_written(
    tmp_path: Path, files: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(files.content)
    write = write_atomically

    def crash(path: Path, content: bytes) -> None:
        if path.name == "t10k-images-idx3-ubyte":
            monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        write(path, content)

    monkeypatch.setattr(download, "write_atomically", crash)
    with pytest.raises(KeyboardInterrupt):
        download.fetch(tmp_path, files.dataset, [server.url])
    monkeypatch.undo()
    raw = tmp_path / "MNIST" / "raw"
    assert {path.name for path in raw.iterdir()} == set(list(files.dataset.files)[:2])
    download.fetch(tmp_path, files.dataset, [server.url])
    assert download.load(tmp_path, files.dataset) == files.content


def test_what_a_killed_download_left_is_removed_in_time(
    tmp_path: Path, files: Files, server: Server
) -> None:
    server.serve(files.content)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    left, new = (raw / f".train-images-idx3-ubyte.{age}.tmp" for age in ("old", "new"))
    left.write_bytes(b"half")
    new.write_bytes(b"half")  # perhaps of a process that still writes
    long_ago = time.time() - 2 * 3600
    os.utime(left, (long_ago, long_ago))
    download.fetch(tmp_path, files.dataset, [server.url])
    assert {path.name for path in raw.iterdir()} == {*files.dataset.files, new.name}
    assert download.load(tmp_path, files.dataset) == files.content


def test_a_full_disk_is_said_and_spoils_nothing(
    tmp_path: Path, files: Files, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.serve(files.content)

    def full(descriptor: int) -> None:
        if os.fstat(descriptor).st_size > 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
            download.fetch(tmp_path, files.dataset, [server.url])
    assert not list(tmp_path.rglob("*ubyte*"))
    download.fetch(tmp_path, files.dataset, [server.url])
    assert download.load(tmp_path, files.dataset) == files.content


def test_several_at_once_do_not_disturb_each_other(
    tmp_path: Path, files: Files, server: Server
) -> None:
    server.serve(files.content)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: download.fetch(tmp_path, files.dataset, [server.url]), range(8))
        assert all(contents == files.content for contents in found)
    assert {path.name for path in (tmp_path / "MNIST" / "raw").iterdir()} == {*files.dataset.files}


@pytest.mark.parametrize("link", ["MNIST", "MNIST/raw"])
def test_a_link_does_not_lead_a_download_elsewhere(
    tmp_path: Path, files: Files, server: Server, link: str
) -> None:
    server.serve(files.content)
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (data / link).parent.mkdir(parents=True)
    (data / link).symlink_to(elsewhere)
    with pytest.raises(DataError, match="leads out of data_dir"):
        download.fetch(data, files.dataset, [server.url])
    assert not list(elsewhere.iterdir())
    (tmp_path / "linked").symlink_to(tmp_path / "real")  # the folder itself may be anywhere
    (tmp_path / "real").mkdir()
    download.fetch(tmp_path / "linked", files.dataset, [server.url])


def test_a_link_in_a_file_s_place_is_replaced(tmp_path: Path, files: Files, server: Server) -> None:
    server.serve(files.content)
    raw, victim = tmp_path / "data" / "MNIST" / "raw", tmp_path / "victim"
    raw.mkdir(parents=True)
    victim.write_text("precious")
    for name in (*files.dataset.files, ".probe"):
        (raw / name).symlink_to(victim)
    download.fetch(tmp_path / "data", files.dataset, [server.url])
    assert victim.read_text() == "precious"
    assert not any(path.is_symlink() for path in raw.iterdir())


def test_where_only_the_sum_of_the_compressed_file_is_known_that_is_kept(
    tmp_path: Path, files: Files, server: Server
) -> None:
    bodies = {name: gzip.compress(content) for name, content in files.content.items()}
    table = {
        name: IdxFile(hashlib.sha256(body).hexdigest(), len(files.content[name]), compressed=True)
        for name, body in bodies.items()
    }
    dataset = IdxDataset("KMNIST", table)
    for name, body in bodies.items():
        server.answers[f"/{name}.gz"] = sending(body)
    files.write(tmp_path)  # extracted, which nobody can verify
    with pytest.raises(MissingDataError, match="train-images-idx3-ubyte is not in"):
        download.load(tmp_path, dataset)
    assert download.fetch(tmp_path, dataset, [server.url]) == files.content
    kept = {path.name: path.read_bytes() for path in (tmp_path / "KMNIST" / "raw").iterdir()}
    assert kept == {f"{name}.gz": body for name, body in bodies.items()}
    assert download.load(tmp_path, dataset) == files.content
    (tmp_path / "KMNIST" / "raw" / FIRST[1:]).write_bytes(gzip.compress(b"other"))
    with pytest.raises(MissingDataError, match=r"damaged .its content is not that of KMNIST's"):
        download.load(tmp_path, dataset)


def test_mirrors_are_those_given_else_those_of_the_environment_then_the_built_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built_in = MNIST.mirrors
    assert all(url.startswith("https://") for url in built_in)
    monkeypatch.setenv("MNIST_MIRRORS", "http://a/, file:///b")
    assert download.check_mirrors(None, MNIST) == ("http://a/", "file:///b", *built_in)
    assert download.check_mirrors("https://c/,http://d", MNIST) == (
        "https://c/",
        "http://d",
        *built_in,
    )
    assert download.check_mirrors(["https://c/"], MNIST) == ("https://c/", *built_in)
    monkeypatch.delenv("MNIST_MIRRORS")
    assert download.check_mirrors(None, MNIST) == built_in


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "a.example", "/data", "file://data", "://", "http://[::1"]
)
def test_mirrors_are_checked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(f"mirrors is '{url}'; a mirror")):
        download.check_mirrors([url], MNIST)
    monkeypatch.setenv("MNIST_MIRRORS", url)
    with pytest.raises(InvalidArgumentError, match=re.escape(f"MNIST_MIRRORS is '{url}'")):
        download.check_mirrors(None, MNIST)


def test_a_folder_that_cannot_be_written_is_no_download_error(tmp_path: Path, files: Files) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(DataError, match=f"{folder} cannot be written") as caught:
            download.fetch(folder, files.dataset, [])
        assert not isinstance(caught.value, MissingDataError)

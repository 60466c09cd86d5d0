"""Files of URLs, from a server on this machine."""

import contextlib
import io
import logging
import multiprocessing
import os
import socketserver
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from tables_of_things import failure, load, rows, write_csv

from automm.data import downloads
from automm.data.cell_files import CellFiles
from automm.data.downloads import Downloads
from automm.errors import DataError, MissingExtra
from automm.runtime.audio import decode as decode_clip
from automm.runtime.images import decode, image_size
from automm.runtime.wav import wav_bytes


def png(shade=0):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 5), (shade, 0, 0)).save(buffer, format="PNG")
    return buffer.getvalue()


def noise():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


class Site:
    """A server whose answers a test may change: by path, (status, headers, body)."""

    def __init__(self):
        self.answers, self.asked, self.silent = {}, [], threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                status, headers, body = site.answers.get(self.path, (404, {}, b"none"))
                if body is None:
                    site.silent.wait(20)
                    body = b""
                self.send_response(status)
                if "Transfer-Encoding" not in headers:
                    headers = {"Content-Length": str(len(body)), **headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                with contextlib.suppress(OSError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        if self._thread.is_alive():
            self.silent.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


@pytest.fixture
def site(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    site = Site()
    yield site
    site.close()


@pytest.fixture
def table(site, tmp_path):
    """A table of URLs, two rows for each picture."""
    linked = [{**row, "picture": f"{site.url}/{row['picture']}"} for row in rows()]
    for at, row in enumerate(rows()):
        site.answers[f"/{row['picture']}"] = 200, {}, png(at // 2)
    write_csv(tmp_path / "t.csv", linked)
    return tmp_path / "t.csv"


def kept(folder):
    return sorted(path for path in folder.glob("downloads/**/*") if path.is_file())


def test_urls_are_refused_unless_allowed(site, table, tmp_path):
    said = failure(table)
    assert f"row 1: {site.url}/img/0.png is a URL, and nothing is downloaded unless data.urls=true says so" in said
    assert site.asked == []
    assert kept(tmp_path) == []


def test_each_is_downloaded_once_and_kept(site, table, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        splits = load(table, urls=True)
    assert "downloads: 20 of 20 files, into" in caplog.text
    assert splits.train.schema["picture"].modality == "image"
    assert sorted(site.asked) == sorted({f"/{row['picture']}" for row in rows()})
    for part in (splits.train, splits.valid, splits.test):
        for at, row in enumerate(part.ids):
            assert decode(part.row(at)["picture"]).getpixel((0, 0)) == (row // 2, 0, 0)
    site.close()
    again = load(table, urls=True)
    assert [t.ids for t in (again.train, again.valid, again.test)] == [
        t.ids for t in (splits.train, splits.valid, splits.test)
    ]
    assert len(kept(tmp_path)) == 20


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_without_a_network_what_is_kept_serves_and_the_rest_is_named(variable, site, table, monkeypatch, caplog):
    monkeypatch.setenv(variable, "1")
    assert f"img/0.png is not among what was downloaded before, and {variable} forbids" in failure(table, urls=True)
    assert "none of its 40 records can be used" in failure(table, urls=True, on_error="skip")
    assert site.asked == []
    monkeypatch.delenv(variable)
    site.answers["/img/3.png"] = 404, {}, b"gone"
    assert load(table, urls=True, on_error="skip")
    monkeypatch.setenv(variable, "1")
    with caplog.at_level(logging.WARNING):
        load(table, urls=True, on_error="skip")
    assert "skipped 2 of 40" in caplog.text


BAD = {
    "not there": ((404, {}, b"gone"), "/img/2.png cannot be downloaded: the answer is 404 Not Found"),
    "a failure": ((500, {}, b""), "the answer is 500"),
    "cut short": ((200, {"Content-Length": "999"}, png()), "the answer was cut short"),
    "cut short in chunks": ((200, {"Transfer-Encoding": "chunked"}, b"fff\r\nabc"), "cannot be downloaded: "),
    "no image": ((200, {}, b"<html>please log in</html>"), "/img/2.png' cannot be read: UnidentifiedImageError"),
    "empty": ((200, {}, b""), "/img/2.png' cannot be read"),
    "a damaged image": ((200, {}, noise()[:-1000]), "/img/2.png' cannot be read"),
    "a file": (
        (302, {"Location": "file:///etc/passwd"}, b""),
        "Redirection to url 'file:///etc/passwd' is not allowed",
    ),
    "another service": ((302, {"Location": "ftp://127.0.0.1/a.png"}, b""), "unknown url type: ftp"),
    "a circle": ((302, {"Location": "/img/2.png"}, b""), "the answer is 302"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_download_that_fails_is_named_or_skipped_and_counted(site, table, case, tmp_path, caplog):
    site.answers["/img/2.png"], said = BAD[case]
    found = failure(table, urls=True)
    assert "row 5: " in found
    assert said in found
    assert site.url in found
    assert str(tmp_path / "downloads") not in found
    with caplog.at_level(logging.WARNING):
        splits = load(table, urls=True, on_error="skip")
    assert {i for t in (splits.train, splits.valid, splits.test) for i in t.ids} == set(range(40)) - {4, 5}
    assert "skipped 2 of 40" in caplog.text
    assert len(kept(tmp_path)) == 19
    site.answers["/img/2.png"] = 200, {}, png()
    assert load(table, urls=True)


def test_what_is_kept_and_damaged_is_downloaded_anew(site, table, tmp_path, monkeypatch):
    site.answers["/img/2.png"] = 200, {}, noise()[:-1000]  # opens, and does not decode
    assert load(table, urls=True, check_images="header")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert failure(table, urls=True).count("anew") == 0
    monkeypatch.delenv("HF_HUB_OFFLINE")
    said = failure(table, urls=True)
    assert f"row 5: image file '{site.url}/img/2.png' cannot be read: OSError: " in said
    assert "; what was kept of it is deleted, and the next run downloads it anew. Next: " in said
    assert str(tmp_path / "downloads") not in said
    assert len(kept(tmp_path)) == 19
    site.answers["/img/2.png"] = 200, {}, png()
    assert load(table, urls=True)
    assert site.asked.count("/img/2.png") == 2


def test_what_is_kept_and_damaged_and_cannot_be_deleted_is_named(site, tmp_path, monkeypatch):
    site.answers["/a"] = 200, {}, noise()[:-1000]
    asked = {"picture": [f"{site.url}/a"]}, {"picture": "image"}, tmp_path, tmp_path
    CellFiles("header", outside=False, urls=True, stop=False).examine(*asked)

    def read_only(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", read_only)
    broken = CellFiles("decode", outside=False, urls=True, stop=False).examine(*asked)[1]
    ((path, why),) = broken["picture"].items()
    assert why.startswith(f"image file '{site.url}/a' cannot be read")
    assert why.endswith(f"; it would be downloaded anew without {path}, which cannot be deleted")


def test_a_file_that_one_column_cannot_read_is_gone_for_the_others_too(site, tmp_path):
    site.answers["/a"] = 200, {}, png()
    files, url = CellFiles("decode", outside=False, urls=True, stop=False), f"{site.url}/a"
    assert files.examine({"picture": [url]}, {"picture": "image"}, tmp_path, tmp_path)[1] == {"picture": {}}
    both = {"picture": [url], "clip": [url]}
    columns, broken = files.examine(both, {"picture": "image", "clip": "audio"}, tmp_path, tmp_path)[:2]
    assert set(broken["picture"]) == set(broken["clip"]) == set(columns["picture"])
    assert kept(tmp_path) == []


def test_tables_that_share_one_name_its_url(site, table, tmp_path):
    write_csv(tmp_path / "v.csv", [{**row, "picture": f"{site.url}/img/3.png"} for row in rows(8, 100)])
    said = failure(table, valid=str(tmp_path / "v.csv"), urls=True)
    assert f"the train and validation sets share 1 'picture' image(s), such as {site.url}/img/3.png: " in said


def test_the_first_that_fails_ends_it(site, table, tmp_path):
    site.answers["/img/0.png"] = site.answers["/img/19.png"] = 404, {}, b""
    assert "row 1: " in failure(table, urls=True)
    wanted = {f"{site.url}/img/{at}.png": image_size for at in (1, 0, 2, 19)}
    assert list(Downloads(tmp_path).fetch(wanted, stop=True)) == [f"{site.url}/img/0.png"]
    assert list(Downloads(tmp_path).fetch(wanted, stop=False)) == [f"{site.url}/img/{at}.png" for at in (0, 19)]


def test_few_wait_for_their_turn(tmp_path, monkeypatch):
    """A job takes 2 KB, and a table may have a million of them."""
    alive, most = weakref.WeakSet(), []

    class Pool(ThreadPoolExecutor):
        def submit(self, *args):
            job = super().submit(*args)
            alive.add(job)
            most.append(len(alive))
            return job

    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(downloads, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(downloads, "_AHEAD", 10)
    urls = [f"http://[{at}" for at in range(200)]
    assert list(Downloads(tmp_path).fetch(dict.fromkeys(urls, image_size), stop=False)) == urls
    assert max(most) < 40


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://example.org/a.png", "s3://bucket/a.png"])
def test_other_services_are_never_used(site, table, url):
    linked = [{**row, "picture": f"{site.url}/{row['picture']}"} for row in rows()]
    linked[0]["picture"] = url
    write_csv(table, linked)
    said = f"row 1: {url} is a URL that is never opened: http and https alone are, with data.urls=true"
    for allowed in ({}, {"outside": True, "urls": True}):
        assert said in failure(table, columns={"picture": "image"}, **allowed)


def test_a_redirection_to_another_place_is_followed(site, tmp_path):
    site.answers["/a"] = 301, {"Location": "/b"}, b""
    site.answers["/b"] = 200, {}, png(7)
    here = Downloads(tmp_path)
    assert here.fetch({f"{site.url}/a": image_size}, stop=True) == {}
    assert here.path(f"{site.url}/a").read_bytes() == png(7)


def test_the_body_of_a_redirection_is_not_read(site, tmp_path):
    site.answers["/a"] = 302, {"Location": "/b", "Content-Length": "30000000"}, b"less than that"
    site.answers["/b"] = 200, {}, png(7)
    assert Downloads(tmp_path, largest=1000).fetch({f"{site.url}/a": image_size}, stop=True) == {}


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("/50% off.png", "/50%25%20off.png"),
        ("/50%25%20off.png", "/50%25%20off.png"),
        ("/a?share=100%&of=%C3%A9", "/a?share=100%25&of=%C3%A9"),
        ("/é.png", "/%C3%A9.png"),
    ],
)
def test_what_a_url_may_not_hold_is_quoted_once(written, sent, site, tmp_path):
    site.answers[sent] = 200, {}, png()
    assert Downloads(tmp_path).fetch({site.url + written: image_size}, stop=True) == {}


def test_a_file_may_not_be_too_large_whether_it_says_so_or_not(site, tmp_path):
    site.answers["/says"] = 200, {}, png()
    site.answers["/does%20not%20say"] = 200, {"Transfer-Encoding": "chunked"}, b"80\r\n" + bytes(128) + b"\r\n0\r\n\r\n"
    urls = [f"{site.url}/{name}" for name in ("says", "does not say")]
    failed = Downloads(tmp_path, largest=60).fetch(dict.fromkeys(urls, image_size), stop=False)
    assert failed == {url: f"{url} cannot be downloaded: it has more than 6e-05 MB" for url in urls}
    assert kept(tmp_path.parent) == []


def test_a_server_that_is_silent_or_too_slow_or_not_there_is_given_up(site, tmp_path):
    site.answers["/silent"] = 200, {}, None
    assert Downloads(tmp_path, silence=0.05).fetch({f"{site.url}/silent": image_size}, stop=False) == {
        f"{site.url}/silent": f"{site.url}/silent cannot be downloaded: nothing came for 0.05 s"
    }
    site.answers["/slow"] = 200, {}, png()
    (why,) = Downloads(tmp_path, longest=0).fetch({f"{site.url}/slow": image_size}, stop=False).values()
    assert "it is not complete after 0 s" in why
    site.close()
    (why,) = Downloads(tmp_path).fetch({f"{site.url}/gone": image_size}, stop=False).values()
    assert "Connection refused" in why


class Trickle:
    """A server that answers `first` and then `again` without an end, a little at a time."""

    MOST = 500  # times, 5 s: one that nobody gives up ends too

    def __init__(self, first, again):
        self.sent, self.began = 0, threading.Event()
        trickle = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(1000)
                trickle.began.set()
                with contextlib.suppress(OSError):
                    self.request.sendall(first)
                    while trickle.sent < trickle.MOST:
                        self.request.sendall(again)
                        trickle.sent += 1
                        time.sleep(0.01)

        self._server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/a.png"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


TRICKLES = {
    "headers": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
    "answers that say to wait": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "the size of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "what comes after the last chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        b"X: 1\r\n",
    ),
    "the file": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"a"),
}


@pytest.mark.parametrize("case", TRICKLES)
def test_a_server_that_trickles_is_given_up(site, case, tmp_path):
    with Trickle(*TRICKLES[case]) as server:
        failed = Downloads(tmp_path, longest=0.1).fetch({server.url: image_size}, stop=False)
    assert failed == {server.url: f"{server.url} cannot be downloaded: it is not complete after 0.1 s"}
    assert server.sent < server.MOST


def test_what_trickles_ends_with_the_first_that_fails(site, tmp_path):
    site.answers["/gone"] = 404, {}, None  # answers when the other one is on its way
    with Trickle(*TRICKLES["headers"]) as server:
        server.began = site.silent
        failed = Downloads(tmp_path).fetch({f"{site.url}/gone": image_size, server.url: image_size}, stop=True)
    assert list(failed) == [f"{site.url}/gone"]
    assert server.sent < server.MOST


@pytest.mark.parametrize(
    "url", ["http://[1/a.png", "http://x:y/a.png", "http:/a.png", "http://" + "a" * 70 + "é.example"]
)
def test_what_is_no_url_at_all_is_no_end(site, tmp_path, url):
    assert "cannot be downloaded: " in Downloads(tmp_path).fetch({url: image_size}, stop=True)[url]


def test_what_a_kill_left_is_taken_away_and_does_no_harm(site, tmp_path):
    old, young = tmp_path / "unfinished" / "old", tmp_path / "unfinished" / "young"
    old.parent.mkdir()
    for path in (old, young):
        path.write_bytes(png()[:20])
    os.utime(old, (0, 0))
    site.answers["/a.png"] = 200, {}, png()
    here, url = Downloads(tmp_path), f"{site.url}/a.png"
    here.path(url).parent.mkdir()
    here.path(url).touch()  # as a loss of power may leave it
    assert here.fetch({url: image_size}, stop=True) == {}
    assert here.path(url).read_bytes() == png()
    assert (old.exists(), young.exists()) == (False, True)


def _fetch(folder, urls):
    return Downloads(folder).fetch(dict.fromkeys(urls, image_size), stop=False)


def test_two_processes_at_once(site, tmp_path):
    urls = [f"{site.url}/{at}.png" for at in range(12)]
    site.answers |= {f"/{at}.png": (200, {}, png(at)) for at in range(12)}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(_fetch, [(tmp_path, urls)] * 2) == [{}, {}]
    for at, url in enumerate(urls):
        assert Downloads(tmp_path).path(url).read_bytes() == png(at)
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_no_bad_row(site, table):
    (table.parent / "downloads").write_text("in the way")
    with pytest.raises(DataError, match=r"downloads cannot be kept in .*downloads.* Next: .*cache_dir"):
        load(table, urls=True, on_error="skip")


def test_addresses_with_a_query_or_without_an_extension(site, tmp_path, caplog):
    table = [{**row, "picture": f"{site.url}/get?width=200&file={at}.png#top"} for at, row in enumerate(rows())]
    site.answers |= {f"/get?width=200&file={at}.png": (200, {}, png(at)) for at in range(40)}
    write_csv(tmp_path / "t.csv", table)
    with caplog.at_level(logging.INFO):
        load(tmp_path / "t.csv")
    assert "all are URLs: data.columns.picture=image reads the files, with data.urls=true" in caplog.text
    assert site.asked == []
    splits = load(tmp_path / "t.csv", urls=True, columns={"picture": "image"})
    assert splits.train.schema["picture"].modality == "image"
    assert len(site.asked) == 40


def test_what_is_served_downloads_nothing(site):
    for read in (decode, decode_clip):
        with pytest.raises(DataError, match=r"is a URL, and nothing is downloaded here. Next: download the file"):
            read(f"{site.url}/a.png")
    assert site.asked == []


def test_clips_that_need_a_package_are_kept_until_it_is_there(site, tmp_path, monkeypatch):
    clip = io.BytesIO()
    soundfile.write(clip, np.zeros(50, np.int16), 8000, format="FLAC")
    site.answers["/a"] = 200, {}, clip.getvalue()
    files = CellFiles("decode", outside=False, urls=True, stop=False)
    asked = {"clip": [f"{site.url}/a"]}, {"clip": "audio"}, tmp_path, tmp_path
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "soundfile", None)
        for _ in range(2):
            with pytest.raises(MissingExtra, match=rf"^{site.url}/a is no plain WAV file.*automm\[audio\]"):
                files.examine(*asked)
    assert files.examine(*asked)[1] == {"clip": {}}
    assert site.asked == ["/a"]


def test_clips_may_be_urls_too(site, tmp_path):
    files = CellFiles("decode", outside=False, urls=True, stop=False)
    site.answers |= {"/a": (200, {}, wav_bytes(np.zeros(50, np.int16), 8000)), "/b": (200, {}, png())}
    cells = [f"{site.url}/a", None, f"{site.url}/b"]
    columns, broken, urls = files.examine({"clip": cells}, {"clip": "audio"}, tmp_path, tmp_path)
    assert urls == {columns["clip"][at]: cells[at] for at in (0, 2)}
    assert decode_clip(columns["clip"][0])[1] == 8000
    assert columns["clip"][1] is None
    assert list(broken["clip"]) == columns["clip"][2:]
    assert f"{site.url}/b' cannot be read" in broken["clip"][columns["clip"][2]]

"""The built-in sources: what they hold, where they are found, how they are downloaded."""

import gzip
import hashlib
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rgan.data import download, icu, toy
from rgan.data.builtin_files import LFW, idx_files
from rgan.data.download import RemoteFile, fetch, find_local
from rgan.data.idx import read_idx
from rgan.data.images import _overlaps, resize_area
from rgan.data.sources import SOURCES, LoadOptions, load_builtin
from rgan.errors import ConfigError, SourceError

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get("RGAN_DATA", ROOT.parent / "shared" / "data"))


def real(*parts: str) -> Path:
    path = REAL.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} in the data folder (RGAN_DATA)")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test sees the user's cache or data folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RGAN_DATA", raising=False)


# -- the registry ----------------------------------------------------------------------------


def test_registry_imports_nothing_heavy():
    code = (
        "import sys, rgan.data.sources; print([m for m in ('numpy','torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["icu", "digits", "sines", "gp"])
def test_shape_is_what_the_list_says(name):
    sequences = load_builtin(name)
    shape = tuple(int(part.replace(",", "")) for part in SOURCES[name].shape.split(" x "))
    assert sequences.values.shape == shape
    assert sequences.name == name


@pytest.mark.parametrize("name", ["icu", "digits", "sines", "gp"])
def test_draw_is_seeded_and_the_data_is_not(name):
    def some(seed):
        return load_builtin(name, LoadOptions(max_sequences=50, seed=seed))

    assert len(some(1)) == 50
    assert some(1).fingerprint() == some(1).fingerprint() != some(2).fingerprint()
    assert load_builtin(name).fingerprint() == load_builtin(name, LoadOptions(seed=9)).fingerprint()


def test_unknown_name_names_the_nearest():
    with pytest.raises(SourceError, match='did you mean "mnist"'):
        load_builtin("mnits")


@pytest.mark.parametrize("option", [{"size": "8"}, {"layout": "pixels"}, {"patch": "4"}])
def test_image_options_are_refused_for_series(option):
    with pytest.raises(ConfigError, match="is not images"):
        load_builtin("icu", LoadOptions(**option))


def test_negative_max_sequences():
    with pytest.raises(ConfigError, match="-1"):
        load_builtin("sines", LoadOptions(max_sequences=-1))


# -- the toy sets ----------------------------------------------------------------------------


def test_sines_are_sines_of_the_stated_ranges():
    waves = toy.sines(400)[:, :, 0].astype(np.float64)
    assert 0.8 < np.abs(waves).max() <= 0.9
    # A sampled sine obeys x[t-1] + x[t+1] = 2 cos(w) x[t]: find w, hence the frequency.
    both, middle = waves[:, :-2] + waves[:, 2:], waves[:, 1:-1]
    cosine = (both * middle).sum(axis=1) / (2 * (middle**2).sum(axis=1))
    assert np.abs(both - 2 * cosine[:, None] * middle).max() < 1e-5
    periods = np.arccos(cosine) * 30 / (2 * np.pi)
    assert periods.min() >= 1 - 1e-4 and periods.max() <= 5 + 1e-4
    assert np.ptp(periods) > 3.8


def test_gp_has_the_stated_covariance():
    values = toy.gp(10_000)[:, :, 0].astype(np.float64)
    found = values.T @ values / len(values)
    assert np.abs(found - toy.gp_covariance()).max() < 0.015  # 5 standard errors of 0.2 / 100
    assert np.isclose(toy.gp_covariance()[0, 1], 0.2 * np.exp(-0.1))


# -- the ICU stays ---------------------------------------------------------------------------


def test_icu_is_described_and_plausible():
    stays = load_builtin("icu")
    assert stays.fixed_length and stays.n_steps == 48 and stays.step_unit == "h"
    assert stays.label_name == "died" and stays.classes.tolist() == [0, 1]
    assert 0.13 < stays.labels.mean() < 0.15
    assert len(np.unique(stays.subjects)) == len(stays)
    assert [info.name for info in stays.static_info] == ["age", "sex", "unit"]
    assert 0.25 < stays.share_observed < 0.4
    for column, feature in enumerate(icu.FEATURES):
        known = stays.values[:, :, column][stays.observed[:, :, column]].astype(np.float64)
        top = 4 * feature.high if feature.rule == "sum" else feature.high
        assert known.min() >= feature.low - 1e-6 and known.max() <= top
        assert len(np.unique(known)) > 5
        codes = known / feature.resolution
        assert np.abs(codes - codes.round()).max() < 1e-2


def test_icu_file_is_the_one_that_was_counted():
    file = icu.BUNDLED.read_bytes()
    report = json.loads(icu.BUNDLED.with_suffix(".json").read_text())
    assert hashlib.sha256(file).hexdigest() == report["sha256"]
    assert len(file) < 2_000_000
    counts = report["counts_over_all_stays_read"]
    stays = load_builtin("icu")
    assert counts["values written"] == stays.observed.sum()
    assert counts["deaths written"] == stays.labels.sum()


def test_icu_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "icu.npz", features=np.array(["HR"]))
    with pytest.raises(SourceError, match="its features are others"):
        icu.read_icu(tmp_path / "icu.npz")
    with pytest.raises(SourceError, match="is not the bundled ICU file"):
        icu.read_icu(tmp_path / "none" / "icu.npz")


def build_script():
    import importlib.util

    spec = importlib.util.spec_from_file_location("build_icu", ROOT / "scripts" / "build_icu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["build_icu"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_icu_rules_on_a_stay_made_by_hand():
    from collections import Counter

    lines = [
        "Time,Parameter,Value",
        *("00:00,RecordID,7", "00:00,Age,54", "00:00,Gender,0", "00:00,ICUType,4"),
        *("00:07,HR,70", "00:59,HR,81", "01:00,HR,0", "02:00,,3"),
        *("03:00,NISysABP,120", "03:30,SysABP,110", "04:00,NISysABP,130", "04:10,SysABP,0"),
        *("05:00,Urine,30", "05:30,Urine,40", "06:00,GCS,9", "06:30,GCS,14", "48:00,HR,99"),
    ]
    counts = Counter()
    stay = build_script().read_stay("\n".join(lines), counts)
    column = {feature.name: i for i, feature in enumerate(icu.FEATURES)}

    def at(hour, name):
        return stay.codes_TF[hour, column[name]]

    assert (at(0, "HR"), at(1, "HR")) == (755, -1)  # a mean; a heart rate of 0 is not one
    assert (at(3, "SysBP"), at(4, "SysBP")) == (1100, 1300)  # invasive first, else the cuff
    assert (at(5, "Urine"), at(6, "GCS")) == (70, 14)  # a sum, and the last
    assert (stay.codes_TF >= 0).sum() == 5
    assert counts["rows without a parameter's name"] == counts["values at 48:00"] == 1
    assert counts["HR outside 20 to 300 bpm"] == counts["SysABP outside 30 to 300 mmHg"] == 1


def test_icu_is_rebuilt_byte_for_byte(tmp_path):
    build_script().build(real("physionet2012"), tmp_path)
    for name in ("icu.npz", "icu.json"):
        assert (tmp_path / name).read_bytes() == icu.BUNDLED.with_name(name).read_bytes()


# -- idx -------------------------------------------------------------------------------------


def as_idx(array):
    kinds = {"uint8": 8, "int16": 11, "float32": 13}
    head = bytes([0, 0, kinds[str(array.dtype)], array.ndim])
    sizes = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_idx_gives_back_what_was_written(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    found = read_idx(as_idx(array))
    assert found.dtype == array.dtype and np.array_equal(found, array)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begins with nothing"),
        (b"\x1f\x8b\x08\x00", "begins with 1f8b0800"),
        (b"\0\0\x08\x03\0\0", "its header alone has 16"),
        (as_idx(np.zeros((2, 2), np.uint8))[:-1], "cut short"),
        (as_idx(np.zeros((2, 2), np.uint8)) + b"x", "takes 16 bytes"),
    ],
)
def test_idx_damage_is_named(data, says):
    with pytest.raises(SourceError, match=says):
        read_idx(data, "file")


# -- images ----------------------------------------------------------------------------------


def test_area_resampling_is_exact():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    assert np.allclose(resize_area(image, (2, 2))[0, :, :, 0], [[2.5, 4.5], [10.5, 12.5]])
    assert np.array_equal(resize_area(image, (4, 4)), image)
    rng = np.random.default_rng(0)
    odd = rng.uniform(size=(3, 28, 28, 1))
    small = resize_area(odd, (9, 5))
    assert small.shape == (3, 9, 5, 1)
    assert np.allclose(small.mean(axis=(1, 2)), odd.mean(axis=(1, 2)), atol=1e-6)
    assert np.allclose(_overlaps(5, 13).sum(axis=1), 1)


def test_area_resampling_agrees_with_pillow():
    from PIL import Image

    image = np.random.default_rng(1).uniform(0, 255, size=(28, 28)).astype(np.float32)
    theirs = Image.fromarray(image).resize(
        (14, 7), Image.Resampling.BOX
    )  # both exact: sides divide
    assert np.allclose(resize_area(image[None, :, :, None], (7, 14))[0, :, :, 0], theirs, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (8, 8)),
        ({"layout": "columns", "size": "6x4"}, (4, 6)),
        ({"layout": "pixels", "size": "5"}, (25, 1)),
        ({"layout": "patches", "patch": "4x2"}, (8, 8)),
        ({"size": "16"}, (16, 16)),
    ],
)
def test_digits_in_every_layout(options, shape):
    digits = load_builtin("digits", LoadOptions(max_sequences=20, **options))
    assert digits.values.shape == (20, *shape)
    assert digits.labels.dtype.kind == "i" and set(digits.labels) <= set(range(10))
    assert digits.layout.high == 16
    assert digits.values.min() >= 0 and digits.values.max() <= 16
    if "size" not in options:
        plain = load_builtin("digits", LoadOptions(max_sequences=20))
        assert np.array_equal(digits.to_images(), plain.to_images())


def test_mnist_files_as_they_are():
    real("mnist")
    images = load_builtin("mnist", LoadOptions(data_dir=str(REAL)))
    assert images.values.shape == (70_000, 28, 28) and images.values.max() == 255
    assert (images.part == "test").sum() == 10_000
    assert images.labels[:5].tolist() == [5, 0, 4, 1, 9] and images.labels[60_000] == 7


def test_fashion_mnist_by_the_variable(monkeypatch):
    real("fashion-mnist")
    monkeypatch.setenv("RGAN_DATA", str(REAL))
    images = load_builtin("fashion-mnist", LoadOptions(max_sequences=500, size="14"))
    assert images.values.shape == (500, 14, 14)
    assert set(images.labels) == set(range(10)) and set(images.part) == {"train", "test"}


def test_mnist_is_not_taken_for_fashion(tmp_path):
    (tmp_path / "fashion-mnist").symlink_to(real("mnist"))
    with pytest.raises(SourceError, match="SHA-256 ba891046"):
        load_builtin("fashion-mnist", LoadOptions(data_dir=str(tmp_path)))


def test_lfw_subjects_are_people():
    real("lfwcrop")
    faces = load_builtin("lfw", LoadOptions(data_dir=str(REAL), size="16"))
    assert faces.values.shape == (13_233, 16, 16) and faces.labels is None
    people, counts = np.unique(faces.subjects, return_counts=True)
    assert len(people) == 5_749 and (counts >= 20).sum() == 62
    assert "George_W_Bush" in people


def test_lfw_of_another_content_is_refused(tmp_path):
    path = tmp_path / "lfwcrop_grey.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(SourceError, match="is not a zip archive"):
        load_builtin("lfw", LoadOptions(data_dir=str(tmp_path)))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lfwcrop_grey/faces/A_B_0001.pgm", b"P5\n64 64\n255\n" + bytes(4096))
    with pytest.raises(SourceError, match=r"holds 1 \.pgm"):
        load_builtin("lfw", LoadOptions(data_dir=str(tmp_path)))


# -- finding and downloading -----------------------------------------------------------------

CONTENT = np.random.default_rng(3).integers(0, 256, 300_000, dtype=np.uint8).tobytes()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves ``packed``; cuts the connection after ``cut`` bytes each time until ``cuts`` is 0."""

    packed = gzip.compress(CONTENT, mtime=0)
    cut, cuts, ranges, seen = 100_000, 0, True, []

    def do_GET(self):
        asked = self.headers.get("Range", "")
        type(self).seen.append(asked)
        if self.path != "/data.gz":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start >= len(self.packed):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.packed)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.packed[start:]
        self.send_response(206 if start else 200)
        if start:
            total = len(self.packed)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if type(self).cuts and len(body) > self.cut:
            type(self).cuts -= 1
            body = body[: self.cut]
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    handler = type("OneServer", (Server,), {"seen": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as tcp:
        thread = threading.Thread(target=tcp.serve_forever)
        thread.start()
        handler.url = f"http://127.0.0.1:{tcp.server_address[1]}"
        yield handler
        tcp.shutdown()
        thread.join()


def remote(*urls, content=CONTENT):
    digest = hashlib.sha256(content).hexdigest()
    return RemoteFile("data.gz", urls, ("things",), sha256=digest, size=len(content))


def test_download_is_checked_and_cached(server):
    path, data = fetch(remote(f"{server.url}/data.gz"), quiet=True)
    assert data == CONTENT and server.seen == [""]
    assert path.parent == download.cache_folder() / "things"
    assert fetch(remote(f"{server.url}/data.gz"), quiet=True) == (path, CONTENT)
    assert server.seen == [""]  # the second time it was in the cache


def test_a_cut_connection_is_resumed(server):
    server.cuts = 2
    _, data = fetch(remote(f"{server.url}/data.gz"), quiet=True)
    assert data == CONTENT
    starts = [int(asked.strip("bytes=-") or 0) for asked in server.seen]
    assert len(starts) == 3 and 0 == starts[0] < starts[1] < starts[2]


def test_a_later_call_goes_on_where_the_first_one_died(server, monkeypatch):
    monkeypatch.setattr("rgan.data.resume.CONNECTIONS", 1)
    server.cuts = 1
    with pytest.raises(SourceError, match="could not be downloaded"):
        fetch(remote(f"{server.url}/data.gz"), quiet=True)
    assert len(list(download.cache_folder().rglob("*.part"))) == 1
    assert fetch(remote(f"{server.url}/data.gz"), quiet=True)[1] == CONTENT
    assert server.seen[1].startswith("bytes=") and server.seen[1] != "bytes=0-"
    assert not list(download.cache_folder().rglob("*.part"))


def test_a_server_without_ranges_starts_again(server):
    server.cuts, server.ranges = 1, False
    assert fetch(remote(f"{server.url}/data.gz"), quiet=True)[1] == CONTENT


def test_a_whole_part_file_needs_nothing_more(server, tmp_path):
    from rgan.data.resume import ResumingDownloader

    part = tmp_path / "x.part"
    part.write_bytes(server.packed)
    ResumingDownloader(part, quiet=True)(f"{server.url}/data.gz", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == server.packed and not part.exists()
    part.write_bytes(server.packed + b"too much")
    ResumingDownloader(part, quiet=True)(f"{server.url}/data.gz", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == server.packed


def test_the_next_mirror_is_tried(server):
    file = remote(f"{server.url}/gone.gz", f"{server.url}/data.gz")
    assert fetch(file, quiet=True)[1] == CONTENT


def test_another_content_is_refused_and_not_kept(server):
    file = replace(remote(f"{server.url}/data.gz"), sha256="0" * 64)
    with pytest.raises(SourceError, match=r"(?s)could not be downloaded.*SHA-256"):
        fetch(file, quiet=True)
    assert not list(download.cache_folder().rglob("data.gz"))


def test_without_a_network_it_says_what_to_put_where():
    closed = remote("http://127.0.0.1:9/data.gz")
    with pytest.raises(SourceError) as caught:
        fetch(closed, quiet=True)
    assert "FOLDER/things/data.gz" in caught.value.repair
    assert "RGAN_DATA" in caught.value.repair and "127.0.0.1:9" in caught.value.found


@pytest.mark.parametrize("place", ["things/data.gz", "data.gz", "things/data", "data"])
def test_local_copies_packed_or_not(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(CONTENT, 1) if place.endswith("gz") else CONTENT)
    assert fetch(remote(), str(tmp_path)) == (path, CONTENT)


def test_system_folder_and_cache_are_looked_into(tmp_path):
    file = replace(remote(), system=(str(tmp_path / "system"),))
    assert find_local(file) is None
    for folder in (download.cache_folder() / "things", tmp_path / "system"):
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(CONTENT)
        assert find_local(file) == folder / "data"
    assert "/usr/share/datasets/fashion-mnist" in idx_files("fashion-mnist")["test labels"].system


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(CONTENT)[:-1000], "cannot be read: EOFError"),
        (gzip.compress(CONTENT + b"x"), "more than 300,000 bytes"),
        (gzip.compress(CONTENT[:-1]), "holds 299,999 bytes"),
        (b"", "holds 0 bytes"),
    ],
)
def test_damaged_local_copies_are_named(tmp_path, content, says):
    (tmp_path / "data.gz").write_bytes(content)
    with pytest.raises(SourceError, match=says) as caught:
        fetch(remote(), str(tmp_path))
    assert str(tmp_path / "data.gz") in caught.value.message


def test_a_data_folder_that_is_not_there(monkeypatch):
    with pytest.raises(SourceError, match="--data-dir"):
        find_local(LFW, "/no/such/folder")
    monkeypatch.setenv("RGAN_DATA", "/no/such/folder")
    with pytest.raises(SourceError, match="RGAN_DATA"):
        find_local(LFW)

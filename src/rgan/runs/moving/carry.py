"""Carrying bytes from one end to the other, so that a broken transfer goes on where it was cut.

Where files can be renamed, bytes gather under a temporary name that tells which content they are
the beginning of; the file gets its own name once its SHA-256 is right. A checkpoint gathers in a
temporary folder. An object store shows a file only when it is whole, and there state.json, without
which no checkpoint is one, comes last.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rgan.runs.moving import rsync
from rgan.runs.moving.ends import PARTIAL, Entry, joined
from rgan.runs.moving.faults import Damaged
from rgan.runs.moving.manifest import Copied, Manifest
from rgan.runs.moving.plan import CheckpointJob, FileJob
from rgan.runs.moving.seals import STATE
from rgan.runs.moving.survey import CHECKPOINTS, Copy

_WORTH_NOTING = 8 << 20
_WORTH_RSYNC = 1 << 20  # below, SFTP is done before rsync has begun
_MD5 = re.compile(r"[0-9a-f]{32}")


class Carrier:
    """Copies files of one run.

    Args:
        source, dest: the two copies.
        manifest: where each copy is noted.
        progress: is told how many bytes more have been dealt with.
    """

    def __init__(
        self, source: Copy, dest: Copy, manifest: Manifest, progress: Callable[[int], None]
    ) -> None:
        self.source, self.dest, self.manifest = source, dest, manifest
        self.progress = progress
        self.sent = 0  # bytes that went over the line
        self._noted = 0  # of these, before the manifest was last written

    # -- one file ----------------------------------------------------------------------------

    def file(self, job: FileJob) -> None:
        """Copies a file that nothing vouches for but its source.

        Raises:
            FileNotFoundError: it has gone meanwhile.
            Damaged: it was changed while it was copied.
        """
        path, size = job.path, job.entry.size
        digest = self._digest_here(path, size)
        if self.dest.end.renames:
            folder, _, name = path.rpartition("/")
            self.dest.end.make_folder(self.dest.at(folder))
            known = digest or hashlib.sha256(job.entry.stamp.encode()).hexdigest()
            partial = self.dest.at(joined(folder, f"{PARTIAL}{known[:16]}-{name[-80:]}"))
            if digest is None:
                self.dest.end.remove(partial)  # nothing says what it is the beginning of
            try:
                digest = self._fill(path, partial, size, digest)
            except (FileNotFoundError, Damaged):
                self.dest.end.remove(partial)
                raise
            self.dest.end.rename(partial, self.dest.at(path))
        else:
            digest = self._put(path, size, digest)
        there = self.dest.end.entry(self.dest.at(path)) or Entry("file")
        self.manifest.note(path, Copied(job.entry.stamp, there.stamp, digest, size))

    def _digest_here(self, path: str, size: int) -> str | None:
        """The SHA-256 of the first ``size`` bytes, where it can be had without the line."""
        if self.source.end.local is None:
            return None
        digest = hashlib.sha256()
        for chunk in _first(size, self.source.end.chunks(self.source.at(path))):
            digest.update(chunk)
        return digest.hexdigest()

    def _fill(self, path: str, partial: str, size: int, digest: str | None) -> str:
        """Makes a file at DEST the source's, going on from what is there, and checks it."""
        end = self.dest.end
        for last in (False, True):
            entry = end.entry(partial)
            have = entry.size if entry is not None and entry.size <= size else 0
            seen = hashlib.sha256()
            self.progress(have)
            if have < size or entry is None or entry.size > size:
                chunks = _first(size - have, self.source.end.chunks(self.source.at(path), have))
                end.write_from(partial, have, self._counted(chunks, seen))
            arrived = end.sha256(partial)
            wanted = digest or seen.hexdigest()
            if arrived == wanted:
                return arrived
            end.remove(partial)
            self.progress(-size)
            if last or have == 0:
                break
        raise Damaged(
            f'"{self.source.at(path)}" in "{self.source.end.shown}" is not what was written, or '
            "was changed while it was copied (SHA-256 differs)",
            rule="what arrives has the SHA-256 that was written down when it was made",
        )

    def _counted(self, chunks: Iterator[bytes], seen: hashlib._Hash) -> Iterator[bytes]:
        for chunk in chunks:
            seen.update(chunk)
            yield chunk
            self.sent += len(chunk)
            self.progress(len(chunk))

    def _put(self, path: str, size: int, digest: str | None) -> str:
        """Puts a whole file into an object store, after it is known to be right."""
        seen, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with tempfile.TemporaryDirectory(prefix="rgan-") as folder:
            whole = Path(folder) / "file"
            with whole.open("wb") as file:
                for chunk in _first(size, self.source.end.chunks(self.source.at(path))):
                    seen.update(chunk)
                    md5.update(chunk)
                    file.write(chunk)
            right = seen.hexdigest() == (digest or seen.hexdigest())
            if right and whole.stat().st_size == size:
                self.dest.end.put_file(self.dest.at(path), whole)
            else:
                right = False
        there = self.dest.end.entry(self.dest.at(path)) if right else None
        tag = there.stamp.partition("-")[2].strip('"') if there is not None else ""
        if there is None or there.size != size or (_MD5.fullmatch(tag) and tag != md5.hexdigest()):
            raise Damaged(
                f'"{self.source.at(path)}" in "{self.source.end.shown}" is not what was written, '
                "or was changed while it was copied",
                rule="what arrives has the SHA-256 that was written down when it was made",
            )
        self.sent += size
        self.progress(size)
        return seen.hexdigest()

    def small(self, path: str, data: bytes, stamp: str = "") -> None:
        """Writes a small file whose content is at hand."""
        self.dest.end.put(self.dest.at(path), data)
        self.sent += len(data)
        self.progress(len(data))
        there = self.dest.end.entry(self.dest.at(path)) or Entry("file")
        digest = hashlib.sha256(data).hexdigest()
        self.manifest.note(path, Copied(stamp, there.stamp, digest, len(data)))

    def note(self) -> None:
        """Writes the manifest, where so much has been copied that it is worth it."""
        if self.sent - self._noted >= _WORTH_NOTING:
            self.manifest.write(self.dest.end, self.dest.path)
            self._noted = self.sent

    # -- one checkpoint ----------------------------------------------------------------------

    def checkpoint(self, job: CheckpointJob) -> None:
        """Copies a checkpoint, that appears whole.

        Raises:
            FileNotFoundError: it has been pruned meanwhile.
            Damaged: it is damaged at the source.
        """
        path = f"{CHECKPOINTS}/{job.name}"
        if self.dest.end.renames:
            folder = self.dest.at(f"{CHECKPOINTS}/{PARTIAL}{job.seal.sha256[:16]}")
            try:
                self._gather(job, path, folder)
            except (FileNotFoundError, Damaged):
                self.dest.end.remove(folder)  # nothing will ever complete it
                raise
        else:
            self._put_checkpoint(job, path)
        marker = path if self.dest.end.renames else f"{path}/{STATE}"
        there = self.dest.end.entry(self.dest.at(marker)) or Entry("folder")
        self.manifest.note(path, Copied(job.stamp, there.stamp, job.seal.sha256, job.seal.bytes))

    def _gather(self, job: CheckpointJob, path: str, folder: str) -> None:
        end = self.dest.end
        end.make_folder(folder)
        if job.seal.bytes >= _WORTH_RSYNC:
            by_rsync = rsync.fetch(
                *(self.source.end, self.source.at(path), end, folder),
                list(job.seal.files),
                self.progress,
            )
            self.sent += by_rsync
            self.progress(-by_rsync)  # each file is counted when it has been checked
        for name, (size, digest) in job.seal.files.items():
            self._fill(joined(path, name), joined(folder, name), size, digest)
        end.write_from(joined(folder, STATE), 0, [job.seal.data])
        if end.sha256(joined(folder, STATE)) != job.seal.sha256:
            raise Damaged(f'"{folder}/{STATE}" in "{end.shown}" did not arrive as it was sent')
        self.sent += len(job.seal.data)
        self.progress(len(job.seal.data))
        end.replace_folder(folder, self.dest.at(path))

    def _put_checkpoint(self, job: CheckpointJob, path: str) -> None:
        end = self.dest.end
        end.remove(self.dest.at(joined(path, STATE)))
        for name, (size, digest) in job.seal.files.items():
            file = joined(path, name)
            there = end.entry(self.dest.at(file))
            noted = self.manifest.copied.get(file)
            if noted and there and (noted.sha256, noted.dest) == (digest, there.stamp):
                self.progress(size)  # put before the last transfer broke
                continue
            self._put(file, size, digest)
            there = end.entry(self.dest.at(file)) or Entry("file")
            self.manifest.note(file, Copied("", there.stamp, digest, size))
            self.manifest.write(end, self.dest.path)
        end.put(self.dest.at(joined(path, STATE)), job.seal.data)
        self.sent += len(job.seal.data)
        self.progress(len(job.seal.data))
        for name in job.seal.files:
            self.manifest.copied.pop(joined(path, name), None)


def _first(size: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The first ``size`` bytes: a file may grow while it is read."""
    for chunk in chunks:
        if size <= 0:
            return
        yield chunk[:size]
        size -= len(chunk)

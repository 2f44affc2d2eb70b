"""Fetch a public data set as a zip archive, for the modules of single data sets, which convert it."""

import http.client
import io
import json
import sys
import time
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pcka_mmdet.demo.folder import write_once
from pcka_mmdet.demo.reproducible import SPLITS

from .command import make_parser, run

CHUNK = 1 << 16
"""Bytes that are read at once."""

TIMEOUT = 30.0
"""Seconds without an answer."""


DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, SyntaxError, TypeError)
"""What zipfile and the converters raise for damaged content; broken XML is a `SyntaxError`."""


@dataclass(frozen=True)
class PublicSet:
    """A public data set."""

    name: str
    url: str
    """Its repository's zip archive."""
    description: str
    """What each annotation file of a converted set says about itself."""
    convert: Callable[["Archive", Path], None]
    """Writes the data set from the archive into a new folder; raises ValueError for another archive."""

    def fetch(self, root: str | Path, archive: str | Path | None = None) -> Path:
        """Write the data set, unless it is there already.

        `root` then holds `images/`, `train.json`, `val.json`, `test.json` and the data set's licence. It appears only
        when it is complete: an interrupted call leaves nothing behind.

        Args:
            root: The folder, which must be missing or empty.
            archive: The zip archive: a URL, or a file that was downloaded before. Default: `url`.

        Returns:
            `root` as an absolute path.

        Raises:
            FileExistsError: `root` is a file, or holds anything else. Nothing is changed.
            ConnectionError: The archive cannot be downloaded.
            ValueError: The archive is not the data set's.
        """
        return write_once(root, f"{self.name} set", self.is_complete, partial(self._write, archive or self.url))

    def _write(self, archive: str | Path, folder: Path) -> None:
        content = archive if Path(archive).is_file() else self._download(str(archive))
        try:
            with zipfile.ZipFile(content) as opened:
                self.convert(Archive(opened, f"the repository of {self.name}, as at {self.url}"), folder)
        except DAMAGED as error:
            raise ValueError(
                f"{archive} is no complete zip archive, or a file in it is damaged ({error}): download {self.url} again"
            ) from error

    def is_complete(self, root: Path) -> bool:
        """Whether a folder holds the converted set with all its images."""
        try:
            contents = [json.loads((root / f"{split}.json").read_bytes()) for split in SPLITS]
            ours = all(content["info"]["description"] == self.description for content in contents)
            names = [image["file_name"] for content in contents for image in content["images"]]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return ours and all((root / "images" / name).is_file() for name in names)

    def _download(self, url: str) -> io.BytesIO:
        """The content at a URL; prints every second how much has arrived."""
        content, shown = io.BytesIO(), time.monotonic()
        say(f"downloading {url}")
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                size = response.headers["Content-Length"]  # absent when GitHub packs the archive on demand
                whole = f" of {int(size) / 1e6:.1f}" if size else ""
                while chunk := response.read(CHUNK):
                    content.write(chunk)
                    if time.monotonic() - shown >= 1:
                        shown = time.monotonic()
                        say(f"  {content.tell() / 1e6:.1f}{whole} MB")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ConnectionError(
                f"{url!r} is no file and cannot be downloaded ({error}). Where there is no network, download "
                f"{self.url} on another machine and give the file by --archive FILE"
            ) from error
        return content

    def run(self, arguments: Sequence[str] | None, module: str, description: str) -> None:
        """Run the command line `python -m MODULE ROOT`."""
        parser = make_parser(module, description)
        parser.add_argument(
            "--archive", default=self.url, metavar="FILE_OR_URL", help="zip archive (default: %(default)s)"
        )
        run(parser, arguments, lambda options: f"{self.name} is in {self.fetch(options.root, options.archive)}")


class Archive:
    """An opened zip archive of a repository.

    Args:
        content: The archive.
        of: What it should be, for messages.
    """

    def __init__(self, content: zipfile.ZipFile, of: str):
        self._content = content
        self._of = of

    def folder_of(self, marker: str) -> str:
        """Folder that holds the file `marker`, with a slash at its end.

        Raises:
            ValueError: The archive holds no such file.
        """
        parents = [entry.removesuffix(marker) for entry in self._content.namelist() if entry.endswith(f"/{marker}")]
        if not parents:
            raise ValueError(f"the archive holds no {marker}: expected {self._of}")
        return parents[0]

    def read(self, entry: str) -> bytes:
        """Content of a file.

        Raises:
            ValueError: The archive lacks it.
        """
        try:
            return self._content.read(entry)
        except KeyError as error:
            raise ValueError(f"the archive lacks {entry}: expected {self._of}") from error

    def copy_licence(self, folder: Path) -> None:
        """Write the repository's licence into a folder."""
        for entry in self._content.namelist():
            if entry.count("/") == 1 and entry.endswith("/LICENSE"):
                (folder / "LICENSE").write_bytes(self._content.read(entry))


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)

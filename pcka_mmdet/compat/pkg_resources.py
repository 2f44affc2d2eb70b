"""MMEngine imports `pkg_resources`, which setuptools no longer has.

Trap: setuptools 82 dropped the module, and pip installs the newest setuptools or none. MMEngine 0.10.7 asks it where
MMDetection is whenever a config has an `mmdet::` base, and fails with "No module named 'pkg_resources'".

Where nothing else has that name, Python imports this file. It knows no distribution; `mmengine.utils.package_utils`
then asks Python where the module is.

Delete when: an MMEngine release uses `importlib.metadata`.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location


class DistributionNotFound(Exception):
    """A distribution is not known."""


def get_distribution(name: str) -> None:
    """Raise `DistributionNotFound`."""
    raise DistributionNotFound(name)


class Finder:
    """Finds this file as `pkg_resources`. MMEngine reloads it, so an entry in `sys.modules` is not enough."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, __file__) if name == "pkg_resources" else None


def apply() -> None:
    """Search this file after all else: a real `pkg_resources` goes first."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)

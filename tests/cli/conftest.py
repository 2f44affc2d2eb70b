"""The commands are run as a user runs them."""

from tests.programs import command  # noqa: F401  (a fixture)

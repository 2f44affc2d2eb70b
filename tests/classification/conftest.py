"""These tests need MMPretrain, which has an environment of its own (`make classification`); elsewhere they skip."""

from tests.programs import command  # noqa: F401  (a fixture)

"""Gains of pairs of every family. See PROTOCOL.md."""

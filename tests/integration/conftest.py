"""The fixtures of support.program, for every test here."""

from support.program import emulator, sidecar

__all__ = ["emulator", "sidecar"]

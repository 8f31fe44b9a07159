"""The wheel's tag, which pyproject.toml cannot say: any Python 3 where the library is not inside, and any Python 3 on
the systems that the library can run on where it is."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.dist import Distribution

LIBRARY = Path(__file__).parent / "src" / "rasp" / "librasp.so.1"
# Names of wheels for what an ELF file says it is for: its class and its machine.
MACHINES = {(2, 62): "x86_64", (2, 183): "aarch64", (1, 3): "i686", (1, 40): "armv7l", (2, 243): "riscv64"}


def platform(library: bytes) -> str:
    """The platform of a library: its processor, and the newest glibc that it asks for (PEP 600)."""
    if library[:4] != b"\x7fELF" or library[5] != 1:
        raise SystemExit(f"{LIBRARY} is no ELF file of a little-endian machine")
    machine = library[4], struct.unpack_from("<H", library, 18)[0]
    if machine not in MACHINES:
        raise SystemExit(f"{LIBRARY} is for a machine (ELF {machine}) that setup.py has no name for")
    versions = [(int(major), int(minor)) for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", library)]
    if not versions:
        raise SystemExit(f"{LIBRARY} asks for no glibc: musl is not served")
    major, minor = max(versions)
    return f"manylinux_{major}_{minor}_{MACHINES[machine]}"


class Native(Distribution):
    """A distribution with a library in it, which is not "pure"."""

    def has_ext_modules(self) -> bool:
        return True


class TaggedWheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", platform(LIBRARY.read_bytes())


if LIBRARY.exists():
    setup(distclass=Native, cmdclass={"bdist_wheel": TaggedWheel})
else:
    setup()

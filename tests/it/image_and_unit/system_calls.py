"""Runs a program with the system calls that a systemd unit allows, as systemd would: UNIT PROGRAM [ARGUMENT…].

For x86_64. systemd itself says what its groups hold, and the system's headers say which number a call has.
"""

import ctypes
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

HEADERS = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"]
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM = 1
X86_64 = 0xC000003E
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def calls(name: str) -> set[str]:
    """The calls of a group, or the one call."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True
    ).stdout
    lines = [line.strip() for line in listed.splitlines()[1:]]
    return set().union(*(calls(line) for line in lines if line and not line.startswith("#")))


def allowed(unit: str) -> set[str]:
    """The calls that a unit allows: its lines in their order, each adds some or takes some away."""
    # These systemd always allows.
    found = calls("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        named = set().union(*(calls(name) for name in line.removeprefix("~").split()))
        found = found - named if line.startswith("~") else found | named
    return found


def numbers() -> dict[str, int]:
    """The numbers of all calls."""
    header = next(Path(path) for path in HEADERS if Path(path).exists()).read_text()
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header)}


def program(unit: str) -> bytes:
    """A filter of the Berkeley packet kind that answers each call with what the unit says."""
    denied = ERRNO | EPERM if "SystemCallErrorNumber=EPERM" in unit else KILL_PROCESS
    known = numbers()
    load_arch, load_number = (0x20, 0, 0, 4), (0x20, 0, 0, 0)
    steps = [load_arch, (0x15, 1, 0, X86_64), (0x06, 0, 0, KILL_PROCESS), load_number]
    for name in sorted(allowed(unit)):
        if name in known:
            steps += [(0x15, 0, 1, known[name]), (0x06, 0, 0, ALLOW)]
    steps.append((0x06, 0, 0, denied))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def main() -> None:
    """Installs the filter, and becomes the program."""
    unit = Path(sys.argv[1]).read_text()
    filter_ = program(unit)
    held = ctypes.create_string_buffer(filter_, len(filter_))
    whole = struct.pack("HxxxxxxQ", len(filter_) // 8, ctypes.addressof(held))
    libc = ctypes.CDLL(None, use_errno=True)
    path, arguments = sys.argv[2], sys.argv[2:]
    for call in [
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(whole), 0, 0),
    ]:
        if libc.prctl(*call) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execv(path, arguments)


main()

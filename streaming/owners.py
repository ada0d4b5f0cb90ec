"""The names of processes in leases, and whether their bearers still live."""

import socket
from pathlib import Path

import psutil


def _namespace() -> str:
    """Two containers may share a host name and a process number, but not this; nor may
    two machines, whose first namespaces have the same number everywhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{str(Path('/proc/self/ns/pid').readlink()).strip('pid:[]')}"
    except OSError:
        return "0"


def name_of(pid: int) -> str:
    """Return the name of a process of this host, which no other ever has had.

    Raises psutil.Error where there is no such process.
    """
    return f"{socket.gethostname()}/{_namespace()}/{pid}/{_born(pid)}"


def _born(pid: int) -> str:
    """When a process began, by a clock that nobody sets: one that is told the right time
    would give each process here another name than it has written into its leases."""
    known = psutil.Process(pid).create_time()
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return f"{known:.2f}"
    # Ticks since the machine has started; the name before may have blanks and brackets.
    return stat.rpartition(b")")[2].split()[19].decode()


def is_dead(owner: str) -> bool:
    """Is the process that bears this name known to have ended? False where that cannot
    be seen from here: then the lease tells."""
    host, _, rest = owner.partition("/")
    namespace, _, rest = rest.partition("/")
    pid = rest.partition("/")[0]
    if (host, namespace) != (socket.gethostname(), _namespace()) or not pid.isdigit():
        return False
    try:
        if psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE:
            return True
        return name_of(int(pid)) != owner
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False

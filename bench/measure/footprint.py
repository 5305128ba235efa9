"""What a server costs: the CPU time of all its processes, those that ended included, and their memory. From a control group of its own
where one can be made, else from /proc."""
import os
import pathlib
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Footprint:
    """Processes started with `wrap(command)` and everything they start are counted."""

    def __init__(self, name):
        self.group, self.kind, self.roots = None, "/proc", []
        unique = f"postroad-bench-{os.getpid()}-{name}"
        for kind, folder in (("cgroup v1", "/sys/fs/cgroup/cpuacct"), ("cgroup v2", "/sys/fs/cgroup")):
            group = pathlib.Path(folder, unique)
            if kind == "cgroup v2" and not pathlib.Path(folder, "cgroup.controllers").exists() or not pathlib.Path(folder).exists():
                continue
            try:
                group.mkdir()
            except OSError:
                continue
            if (group / ("cpuacct.usage" if kind == "cgroup v1" else "cpu.stat")).exists():
                self.group, self.kind = group, kind
                return
            group.rmdir()

    def wrap(self, command):
        if not self.group:
            return command
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.group / "cgroup.procs"), *command]

    def processes(self):
        if self.group:
            return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]
        children = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found, waiting = [], list(self.roots)
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            waiting += children.get(pid, [])
        return found

    def cpu_seconds(self):
        if self.kind == "cgroup v1":
            return int((self.group / "cpuacct.usage").read_text()) / 1e9
        if self.kind == "cgroup v2":
            return int((self.group / "cpu.stat").read_text().split()[1]) / 1e6
        total = 0
        for pid in self.processes():
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            total += sum(int(field) for field in fields[11:15])  # user and system, of the process and of the children it waited for
        return total / TICKS

    def memory_kilobytes(self, only=None):
        """Sum of proportional set sizes: shared pages are counted once."""
        return sum(pss(pid) for pid in self.processes() if not only or only(pid))

    def close(self):
        if self.group:
            for _ in range(50):
                try:
                    return self.group.rmdir()
                except OSError:
                    time.sleep(0.1)


def pss(pid):
    try:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


class Peak:
    """The most memory a footprint had while the block ran, looked at a few times a second."""

    def __init__(self, footprint):
        self.footprint, self.kilobytes, self.done = footprint, 0, threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self):
        while not self.done.wait(0.5):
            self.kilobytes = max(self.kilobytes, self.footprint.memory_kilobytes())

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()

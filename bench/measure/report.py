"""The table: medians with ranges, ratios, and how far from the targets."""
import os
import pathlib
import platform
import statistics
import subprocess
import time

# At 20 sessions and 10 KB, a connection each: what the project wants to reach.
TARGETS = {"intake": {"cpu": 7, "rate": 5}, "end to end": {"cpu": 5, "rate": 4}}


def spread(values, digits=2):
    """`median (lowest–highest)`"""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def rows(results):
    """results[(phase, sessions, kilobytes, kept)][server] = [Run]"""
    yield "| measured | sessions | KB | connections | Postfix CPU ms | Postroad CPU ms | CPU ratio | Postfix msg/s | Postroad msg/s | rate ratio |"
    yield "|---|--:|--:|---|--:|--:|--:|--:|--:|--:|"
    for (phase, sessions, kilobytes, kept), servers in results.items():
        cpu = {name: [run.cpu_ms for run in runs] for name, runs in servers.items()}
        rate = {name: [run.rate for run in runs] for name, runs in servers.items()}
        ours, theirs = cpu.get("Postroad"), cpu.get("Postfix")
        cells = [phase, str(sessions), str(kilobytes), "kept" if kept else "one each"]
        cells += [spread(theirs) if theirs else "–", spread(ours) if ours else "–"]
        cells += [f"1/{statistics.median(theirs) / statistics.median(ours):.1f}" if ours and theirs else "–"]
        cells += [spread(rate["Postfix"], 0) if theirs else "–", spread(rate["Postroad"], 0) if ours else "–"]
        cells += [f"{statistics.median(rate['Postroad']) / statistics.median(rate['Postfix']):.1f} ×" if ours and theirs else "–"]
        yield "| " + " | ".join(cells) + " |"


def against_targets(results):
    for phase, target in TARGETS.items():
        servers = results.get((phase, 20, 10, False))
        if not servers or len(servers) < 2:
            continue
        median = {name: (statistics.median([run.cpu_ms for run in runs]), statistics.median([run.rate for run in runs])) for name, runs in servers.items()}
        cpu, rate = median["Postfix"][0] / median["Postroad"][0], median["Postroad"][1] / median["Postfix"][1]
        yield f"- {phase}: CPU 1/{cpu:.1f} of Postfix's (wanted 1/{target['cpu']}: {'reached' if cpu >= target['cpu'] else 'missed'}), " \
              f"rate {rate:.1f} × (wanted {target['rate']} ×: {'reached' if rate >= target['rate'] else 'missed'})"
    signed, bare = (results.get((phase, 20, 10, False), {}).get("Postroad") for phase in ("end to end, RSA-2048 signature", "end to end"))
    if signed and bare:
        added = statistics.median([run.cpu_ms for run in signed]) - statistics.median([run.cpu_ms for run in bare])
        yield f"- an RSA-2048 signature adds {added:.2f} ms of CPU"


def machine(place):
    cpu = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), platform.machine())
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    disk = subprocess.run(["stat", "-f", "-c", "%T", str(place)], capture_output=True, text=True, check=False).stdout.strip()
    return f"{os.cpu_count()} × {cpu}, {memory:.0f} GB, Linux {platform.release()}, {disk}, one fsync of 10 KB takes {fsync_ms(place):.2f} ms"


def fsync_ms(place):
    """What the disk charges for a promise."""
    path, times = pathlib.Path(place, "fsync-probe"), []
    with open(path, "wb") as file:
        for _ in range(100):
            file.write(b"x" * 10240)
            begin = time.perf_counter()
            file.flush()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    path.unlink()
    return statistics.median(times)


def revision(root):
    done = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def file_name(folder):
    label = "".join(c if c.isalnum() else "-" for c in f"{os.cpu_count()}-cores-{platform.machine()}").lower()
    return pathlib.Path(folder) / f"{time.strftime('%Y-%m-%d')}-{label}.md"

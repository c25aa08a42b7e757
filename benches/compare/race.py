"""Runs each query on all engines in turn, and measures time, CPU time and memory."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

# The engines that make the reference result, in this order.
REFERENCES = ("duckdb", "polars", "datafusion", "ours")


class Engine:
    """The process of an engine."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.start()

    def start(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        if not self.process.stdout.readline():
            raise SystemExit(f"{self.name} does not start: {self.last_words()}")

    def last_words(self):
        """The end of what the process wrote to standard error."""
        self.errors.seek(0)
        return " ".join(self.errors.read().split())[-300:]

    def run(self, sql, to=None):
        """The answer, with CPU seconds and bytes of peak memory."""
        tree = Tree(self.process.pid)
        tree.reset_peaks()
        before = tree.cpu()
        try:
            print(json.dumps({"sql": sql, "to": to}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            error = f"ended with status {self.process.wait()}: {self.last_words()}"
            self.start()
            return {"error": error}
        answer = json.loads(line)
        if "error" not in answer:
            answer["cpu"] = tree.cpu() - before
            answer["peak"] = tree.peaks()
        return answer

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Tree:
    """A process and its descendants, as Linux shows them in /proc."""

    TICKS = os.sysconf("SC_CLK_TCK")

    def __init__(self, root):
        self.pids = [root]
        for pid in self.pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                children = task.read_text().split()
                self.pids.extend(int(child) for child in children if int(child) not in self.pids)

    def cpu(self):
        """Seconds of user and system time, with those of children that have ended."""
        total = 0
        for pid in self.pids:
            fields = self.read(pid, "stat").rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
        return total / self.TICKS

    def reset_peaks(self):
        for pid in self.pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peaks(self):
        """The sum of the peaks of resident memory."""
        total = 0
        for pid in self.pids:
            for line in self.read(pid, "status").splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
        return total

    @staticmethod
    def read(pid, name):
        return Path(f"/proc/{pid}/{name}").read_text()


class Race:
    """The engines, and what was measured: `runs[number][engine]` is a list of answers."""

    def __init__(self, commands):
        self.engines = {name: Engine(name, command) for name, command in commands.items()}
        self.runs, self.wrong = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for engine in self.engines.values():
            engine.stop()

    def run(self, number, sql, rounds):
        """Checks a query on all engines, and runs it `rounds` times on those that answer it."""
        self.check(number, sql)
        names = [name for name in self.engines if name not in self.wrong[number]]
        self.runs[number] = {name: [] for name in names}
        for round_ in range(rounds):
            first = round_ % max(len(names), 1)
            for name in names[first:] + names[:first]:
                self.runs[number][name].append(self.engines[name].run(sql))
                time.sleep(0.01)

    def check(self, number, sql):
        from same import difference, read

        self.wrong[number] = wrong = {}
        with tempfile.TemporaryDirectory() as folder:
            results = {}
            for name, engine in self.engines.items():
                file = str(Path(folder) / f"{len(results)}.arrow")
                answer = engine.run(sql, to=file)
                if "error" in answer:
                    wrong[name] = answer["error"]
                else:
                    results[name] = read(file)
            references = [name for name in REFERENCES if name in results] or list(results)
            for name, result in results.items():
                found = [difference(results[other], result) for other in references if other != name]
                # One of the others may be wrong: most must agree.
                agreed = sum(1 for difference_ in found if difference_ is None)
                if found and agreed * 2 < len(found):
                    wrong[name] = "other rows: " + next(text for text in found if text)

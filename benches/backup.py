#!/usr/bin/env python3
"""Measures backups to another Sediment, and restic doing the same with the same tree, and prints a Markdown table.

    benches/backup.py BINARY [tree] [restic] [load] [--unique-mib N] [--copies N] [--load-seconds N] [--rounds N] [--split] [--work DIR]

A tree of noise, a fifth of it files of 128 KiB and the rest of 64 MiB, is stored under several names; then about 1 % of it
changes. Both gateways, the clients and restic share this machine and its disk: seconds are what all of them reach together.
Needs free space of about six times the unique bytes under --work. `load` compares the same paced load with a backup and without:
there the remote stands for one elsewhere, its data in memory and its process at the lowest priority. `--split` leaves the gateways that are
compared a processor of their own, one of them idle at a time, and the remote and all clients the others.
"""
import argparse, json, os, random, shutil, statistics, subprocess, sys, tempfile, threading, time, urllib.request
from gateway import KEY, MIB, SECRET, Client, Server, noise, noise_pieces

BIG, SMALL = 64 * MIB, 128 * 1024


class Tree:
    """Files that several names share, so that a program that walks it reads each several times."""

    def __init__(self, directory, unique, copies, generator):
        self.directory, self.copies, self.generator = directory, copies, generator
        small = unique // 5 // SMALL
        self.sizes = {f"small/{n:05}": SMALL for n in range(small)} | {f"big/{n:04}": BIG for n in range((unique - small * SMALL) // BIG)}
        for name, size in self.sizes.items():
            for copy in range(copies):
                path = f"{directory}/copy{copy}/{name}"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if copy:
                    os.link(f"{directory}/copy0/{name}", path)
                else:
                    with open(path, "wb") as file:
                        file.writelines(noise_pieces(size))

    def unique(self):
        return sum(self.sizes.values())

    def change(self):
        """A tenth of each tenth large file, and each hundredth small one: yields what changed, with the bytes that are new."""
        changed, new = [], 0
        for number, (name, size) in enumerate(self.sizes.items()):
            part = size if size == SMALL and number % 100 == 0 else size // 10 if size == BIG and number % 10 == 0 else 0
            if part:
                with open(f"{self.directory}/copy0/{name}", "r+b") as file:
                    file.seek(self.generator.randrange(size - part + 1))
                    file.write(noise(part))
                changed.append(name)
                new += part
        return changed, new

    def put(self, server, names):
        work = [(copy, name) for copy in range(self.copies) for name in names]
        lock, failed = threading.Lock(), []

        def run():
            client = Client(server.host)
            while not failed:
                with lock:
                    if not work:
                        return
                    copy, name = work.pop()
                try:
                    with open(f"{self.directory}/copy{copy}/{name}", "rb") as file:
                        client.put(f"/tree/copy{copy}/{name}", file, self.sizes[name])
                except Exception as error:
                    failed.append(error)
        threads = [threading.Thread(target=run) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        if failed:
            raise failed[0]


class Backup:
    def __init__(self, binary, remote, work):
        self.binary, self.work = binary, work
        subprocess.run([binary, "backup", "key", "--out", work + "/key"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        settings = dict(ENDPOINT=remote.endpoint, BUCKET="backups", PREFIX="one", ACCESS_KEY=KEY, SECRET_KEY=SECRET, KEY_FILE=work + "/key")
        self.env = {"SEDIMENT_BACKUP__" + name: value for name, value in settings.items()}

    def rpo_seconds(self, data):
        """`None` where nothing can be restored. The process that asks gives way to all others."""
        out = subprocess.check_output([self.binary, "backup", "status", "--data", data, "--json"], env=dict(os.environ, **self.env), preexec_fn=lambda: os.nice(19))
        return json.loads(out)["rpo_seconds"]

    def command(self, *args, data):
        env = dict(os.environ, **self.env)
        began, before = time.monotonic(), os.times()
        done = subprocess.run([self.binary, *args, "--data", data, "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            sys.exit(done.stderr.decode())
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return time.monotonic() - began, cpu, json.loads(done.stdout.splitlines()[-1])


class Gateway(Server):
    """A server that can be stopped and started on the same data, with other settings."""

    def __init__(self, binary, data, env=(), aside=False, processors=None):
        saved, here = dict(os.environ), os.sched_getaffinity(0)
        os.environ.update(env)
        os.sched_setaffinity(0, processors or here)
        try:
            super().__init__(binary, data)
        finally:
            os.environ.clear()
            os.environ.update(saved)
            os.sched_setaffinity(0, here)
        if aside:
            subprocess.run(["renice", "-n", "19", "-p", *os.listdir(f"/proc/{self.process.pid}/task")], check=True, stdout=subprocess.DEVNULL)


def size_of(server, bucket):
    client, total, token = Client(server.host), 0, ""
    while True:
        answer = client.request("GET", f"/{bucket}", (f"continuation-token={token}&" if token else "") + "list-type=2").read().decode()
        total += sum(int(part.split("<", 1)[0]) for part in answer.split("<Size>")[1:])
        if "<IsTruncated>true" not in answer:
            return total
        token = urllib.request.quote(answer.split("<NextContinuationToken>")[1].split("<")[0], safe="")


def growth(server, bucket, work):
    before = size_of(server, bucket)
    result = work()
    return result, size_of(server, bucket) - before


def cost(seconds, cpu, sent, new):
    return f"{seconds:.1f} s, {new / 1e6 / seconds:.0f} MB/s of new bytes, {cpu:.1f} CPU s of its own; {sent / 1e6:.0f} MB sent, {sent / new:.3f} × what is new"


def sediment(binary, tree, remote, backup, work):
    data = work + "/data"
    with Gateway(binary, data) as server:
        Client(server.host).put("/tree", b"")
        began = time.monotonic()
        tree.put(server, list(tree.sizes))
        seconds = time.monotonic() - began
        yield "stored by PUT, 4 connections", f"{tree.unique() * tree.copies / 1e6 / seconds:.0f} MB/s of {tree.copies} names each; {server.stats()['stored_bytes'] / tree.unique():.3f} × the unique bytes on disk"
    (seconds, cpu, _), sent = growth(remote, "backups", lambda: backup.command("backup", "run", data=data))
    yield "`backup run`, first", cost(seconds, cpu, sent, tree.unique())
    changed, new = tree.change()
    with Gateway(binary, data) as server:
        stored = server.stats()["stored_bytes"]
        tree.put(server, changed)
        new_stored = server.stats()["stored_bytes"] - stored
    (seconds, cpu, _), sent = growth(remote, "backups", lambda: backup.command("backup", "run", data=data))
    yield f"`backup run`, {len(changed)} of {len(tree.sizes)} files changed", cost(seconds, cpu, sent, new) + f" ({sent / new_stored:.3f} × what the store had to keep)"
    (seconds, cpu, _), sent = growth(remote, "backups", lambda: backup.command("backup", "run", data=data))
    yield "`backup run`, nothing changed", f"{seconds:.2f} s, {sent / 1e3:.0f} kB sent"


def restores(binary, tree, backup, work):
    there = work + "/restored"
    seconds, cpu, _ = backup.command("restore", "--latest", data=there)
    yield "`restore --latest`", f"{seconds:.1f} s, {tree.unique() / 1e6 / seconds:.0f} MB/s, {cpu:.1f} CPU s of its own"
    with Gateway(binary, there) as server:
        compare(tree, server)
    shutil.rmtree(there)
    began = time.monotonic()
    backup.command("restore", "--latest", "--lazy", data=there)
    rows = time.monotonic() - began
    with Gateway(binary, there, dict(backup.env)) as server:
        ready = time.monotonic() - began
        client, took = Client(server.host), []
        for name in random.Random(2).sample(list(tree.sizes), 40):
            at = time.monotonic()
            response = client.request("GET", f"/tree/copy0/{name}")
            assert response.read(1)
            took.append(time.monotonic() - at)
            if len(took) == 1:
                first = time.monotonic() - began
            response.read()
    shutil.rmtree(there)
    yield ("`restore --latest --lazy`", f"rows {rows:.1f} s, served {ready:.1f} s, first byte of the first GET {first:.1f} s after the command; "
           f"GETs meanwhile: first byte {statistics.median(took) * 1e3:.0f} ms median, {max(took) * 1e3:.0f} ms slowest of {len(took)}")


def compare(tree, server):
    """Every file that changed and a sample of the others, byte for byte."""
    client = Client(server.host)
    for name in list(tree.sizes)[::37]:
        with open(f"{tree.directory}/copy0/{name}", "rb") as file:
            response = client.request("GET", f"/tree/copy{tree.copies - 1}/{name}")
            assert response.read() == file.read(), name


def load(server, options):
    env = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    command = [options.binary, "bench", "mixed", "--size", "64KiB", "--objects", "500", "--concurrency", "16", "--rate", "300",
               "--duration", f"{options.load_seconds}s", "--endpoint", server.endpoint, "--json"]
    report = json.loads(subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
    return {name: figures["p99_ms"] for name, figures in report["servers"][0]["runs"][0]["by_operation"].items()}


def stats(binary, server):
    subprocess.run([binary, "stats", "--json", "--data", server.data], check=True, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.nice(19))


def under_load(options, work):
    """The same paced load with the backup's shipping and without, in turns, and how far behind the backup was."""
    ages, rounds, over = [], [], threading.Event()
    memory = tempfile.mkdtemp(prefix="sediment-remote-", dir="/dev/shm")
    processors = sorted(os.sched_getaffinity(0))
    own, others = (processors[:1], processors[1:]) if options.split else (processors, processors)
    assert others, "one processor is not enough to split"
    os.sched_setaffinity(0, others)
    with Gateway(options.binary, memory + "/data", aside=True) as remote, Gateway(options.binary, work + "/alone", processors=own) as alone:
        Client(remote.host).put("/backups", b"")
        backup = Backup(options.binary, remote, memory)
        with Gateway(options.binary, work + "/shipped", backup.env, processors=own) as shipped:
            while backup.rpo_seconds(shipped.data) is None:
                time.sleep(0.2)

            def sample():
                while not over.wait(0.5):
                    ages.append(backup.rpo_seconds(shipped.data))

            # Asked as well, so that asking is no part of the difference.
            def sample_nothing():
                while not over.wait(0.5):
                    stats(options.binary, alone)
            def looked_at(server, look):
                over.clear()
                thread = threading.Thread(target=look)
                thread.start()
                try:
                    return load(server, options)
                finally:
                    over.set()
                    thread.join()
            for number in range(options.rounds):
                with_backup = looked_at(shipped, sample)
                # Until it has sent the rest, which is no part of the other's.
                time.sleep(15)
                rounds.append((looked_at(alone, sample_nothing), with_backup))
    os.sched_setaffinity(0, processors)
    shutil.rmtree(memory)
    ages.sort()
    yield ("what could be lost under load, `interval_seconds` 5", f"p50 {ages[len(ages) // 2]:.1f} s, p99 {ages[len(ages) * 99 // 100]:.1f} s, most {ages[-1]:.1f} s of {len(ages)} looks")
    for operation in ("put", "get"):
        quiet, busy = (statistics.median(pair[at][operation] for pair in rounds) for at in (0, 1))
        ratio = statistics.median(pair[1][operation] / pair[0][operation] for pair in rounds)
        yield f"{operation.upper()} of 64 KiB, 300 a second, p99", f"{quiet:.1f} ms without a backup, {busy:.1f} ms with: {ratio:.2f} ×"


def restic(tree, remote, work, changes):
    env = dict(os.environ, RESTIC_PASSWORD="x", RESTIC_REPOSITORY=f"s3:{remote.endpoint}/restic", RESTIC_CACHE_DIR=work + "/cache",
               AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)

    def run(*args):
        began, before = time.monotonic(), os.times()
        subprocess.run(["restic", *args], env=env, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return time.monotonic() - began, after.children_user + after.children_system - before.children_user - before.children_system
    run("init")
    (seconds, cpu), sent = growth(remote, "restic", lambda: run("backup", tree.directory))
    yield "restic, first", cost(seconds, cpu, sent, tree.unique())
    changed, new = changes()
    (seconds, cpu), sent = growth(remote, "restic", lambda: run("backup", tree.directory))
    yield f"restic, {len(changed)} of {len(tree.sizes)} files changed", cost(seconds, cpu, sent, new)
    seconds, cpu = run("restore", "latest", "--target", work + "/restic-restored", "--include", tree.directory + "/copy0")
    shutil.rmtree(work + "/restic-restored")
    yield "restic, restore of one of the copies", f"{seconds:.1f} s, {tree.unique() / 1e6 / seconds:.0f} MB/s, {cpu:.1f} CPU s of its own"


def measure(options, work):
    if "tree" in options.cases or "restic" in options.cases:
        tree = Tree(work + "/tree", options.unique_mib * MIB, options.copies, random.Random(1))
        with Server(options.binary) as remote:
            for bucket in ("backups", "restic"):
                Client(remote.host).put("/" + bucket, b"")
            if "tree" in options.cases:
                backup = Backup(options.binary, remote, work)
                yield from sediment(options.binary, tree, remote, backup, work)
                yield from restores(options.binary, tree, backup, work)
                shutil.rmtree(work + "/data")
            if "restic" in options.cases:
                yield from restic(tree, remote, work, tree.change)
    if "load" in options.cases:
        yield from under_load(options, work)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("cases", nargs="*", default=["tree", "restic", "load"])
    parser.add_argument("--unique-mib", type=int, default=5120)
    parser.add_argument("--copies", type=int, default=4)
    parser.add_argument("--load-seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--split", action="store_true")
    parser.add_argument("--work", help="where to put all of it: a directory on the disk that is to be measured")
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    work = tempfile.mkdtemp(prefix="sediment-backup-", dir=options.work)
    print("| what | measured |\n|---|---|")
    try:
        for what, result in measure(options, work):
            print(f"| {what} | {result} |", flush=True)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()

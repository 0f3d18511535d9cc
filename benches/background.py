#!/usr/bin/env python3
"""Measures what background work does to clients, and prints a Markdown table.

    benches/background.py BINARY [BINARY ...] [--client BINARY] [--rounds N] [--garbage-mib N] [--rate N] [--seconds N]
                          [--size SIZE] [--connections N,N]

For each binary a server is started on a store of its own. In each round and for each number of connections it is given new
garbage, and then the same paced load (`sediment bench mixed --rate`) twice: alone, and while `sediment gc` collects what is
unused, punches, moves and removes. A third of the garbage's packs keep one object of three (they are written anew), a third one of two (they
are punched), a third nothing (they are removed). The index's and the metadata's checkpoints are made under load either way:
to see them, compare with a build that makes none. Printed are medians over the rounds, what is above 1.5 x is marked, and the
collections' own time and speed, under load and alone. Client and servers share the machine: quote what else it does.
"""
import argparse, json, os, statistics, subprocess, threading, time, urllib.request
from gateway import KEY, MIB, SECRET, Client, Server


def bench(client, server, *args):
    env = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    command = [client, "bench", *map(str, args), "--endpoint", server.endpoint, "--json"]
    return json.loads(subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)


def metric(server, name):
    text = urllib.request.urlopen(json.load(open(server.dir + "/ready"))["admin"] + "/metrics").read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


def make_garbage(client, server, mib):
    seed = int.from_bytes(os.urandom(4), "big")
    bench(client, server, "put", "--size", "1MiB", "--operations", mib, "--concurrency", 1, "--keep", "--seed", seed, "--bucket", "garbage")
    deleter = Client(server.host)
    for number in range(mib):
        kept = (number % 3 == 0, number % 2 == 0, False)[min(2, number * 3 // mib)]
        if not kept:
            answer = deleter.request("DELETE", f"/garbage/bench-{seed:016x}/0/loaded/0000/{number:010}")
            answer.read()
            assert answer.status == 204, answer.status
    while metric(server, "sediment_index_lag_records") > 0:
        time.sleep(0.2)


def collect(server):
    began = time.monotonic()
    out = subprocess.check_output([server.binary, "gc", "--data", server.data, "--json"], env=server.env, stderr=subprocess.DEVNULL)
    report = json.loads(out.splitlines()[-1])
    report = report.get("report", report)
    return time.monotonic() - began, report["freed_bytes"] / 1e6, report["moved_bytes"] / 1e6


def load(options, server, connections, beside=None):
    """One paced load; `beside` begins once it has begun, and is given as long as it takes."""
    asked, done, over = 'sediment_s3_requests_total{operation="HeadObject"', [], threading.Event()

    def follow(before):
        while metric(server, asked) <= before:
            if over.wait(0.05):
                return
        done.append(beside(server))

    before = metric(server, asked)
    thread = beside and threading.Thread(target=follow, args=(before,))
    thread and thread.start()
    try:
        report = bench(options.client, server, "mixed", "--size", options.size, "--objects", 200, "--concurrency", connections,
                       "--rate", options.rate, "--duration", f"{options.seconds}s")
    finally:
        over.set()
        thread and thread.join()
    if beside and not done:
        raise RuntimeError("nothing ran beside the load: that failed, or the load ended before its first HEAD was seen")
    run = report["servers"][0]["runs"][0]
    figures = dict(run["figures"], put_p99_ms=run["by_operation"]["put"]["p99_ms"], get_p99_ms=run["by_operation"]["get"]["p99_ms"])
    return figures, done and done[0]


def measure(options, servers):
    runs, alone = {}, {}
    for number in range(options.rounds):
        for connections in options.connections:
            for name, server in servers.items():
                make_garbage(options.client, server, options.garbage_mib)
                quiet, _ = load(options, server, connections)
                busy, collected = load(options, server, connections, collect)
                runs.setdefault((name, connections), []).append((quiet, busy, collected))
    for name, server in servers.items():
        make_garbage(options.client, server, options.garbage_mib)
        alone[name] = collect(server)
    return runs, alone


def rows(runs, alone):
    yield "| server, connections | p50 alone | with gc | p99 alone | with gc | ratio | PUT p99 alone | with gc | ratio | max alone | with gc | not begun | gc |"
    yield "|---" * 13 + "|"
    for (name, connections), pairs in runs.items():
        quiet = lambda figure: statistics.median(pair[0][figure] for pair in pairs)
        busy = lambda figure: statistics.median(pair[1][figure] for pair in pairs)
        cells = []
        for figure in ("p50_ms", "p99_ms", "put_p99_ms", "max_ms"):
            cells += [f"{quiet(figure):.2f}", f"{busy(figure):.2f}"]
            if "p99" in figure:
                ratio = statistics.median(pair[1][figure] / pair[0][figure] for pair in pairs)
                cells.append(f"{ratio:.2f} ×" + (" !" if ratio > 1.5 else ""))
        gc = [statistics.median(pair[2][at] for pair in pairs) for at in range(3)]
        cells += [f"{busy('not_begun'):.0f}", f"{gc[0]:.1f} s, {gc[1] / gc[0]:.0f} MB/s freed, {gc[2]:.0f} MB moved"]
        yield f"| {name}, {connections} | " + " | ".join(cells) + " |"
    for name, (seconds, freed, moved) in alone.items():
        yield f"\n{name} alone: {seconds:.1f} s, {freed / seconds:.0f} MB/s freed, {moved:.0f} MB moved"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binaries", nargs="+")
    parser.add_argument("--client")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--garbage-mib", type=int, default=1024)
    parser.add_argument("--rate", type=int, default=400)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--size", default="16KiB")
    parser.add_argument("--connections", type=lambda text: [int(part) for part in text.split(",")], default=[8, 32])
    options = parser.parse_args()
    options.client = os.path.abspath(options.client or options.binaries[0])
    servers = {binary: Server(os.path.abspath(binary)) for binary in options.binaries}
    try:
        for row in rows(*measure(options, servers)):
            print(row, flush=True)
    finally:
        [server.stop() for server in servers.values()]


if __name__ == "__main__":
    main()

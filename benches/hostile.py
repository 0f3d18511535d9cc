#!/usr/bin/env python3
"""Measures what floods and stalled clients do to everybody else, and prints a Markdown table.

    benches/hostile.py BINARY [BINARY ...] [--client BINARY] [--attacks NAME,NAME] [--connections N] [--rate N] [--seconds N]
                       [--size SIZE] [--objects N] [--rounds N] [--apart] [--split]

A good client, the root user, does a paced mix of GET, HEAD, PUT and DELETE (`sediment bench mixed --rate`), first alone and then
beside each attack, which is made with the keys of an account from the same machine, at the lowest priority so that the attackers take
what the server and the good client leave. Printed are the good client's times, what failed of it, the server's peak memory and descriptors
while the attack lasted, and what the attackers got. Floods: `list`, `put`, `get`, `head` (`--connections` of them, always at work). Stalled:
`idle`, `heads`, `bodies`, `readers` (they begin and then do nothing). Client and servers share the machine: quote what else it does.
`--apart` runs the good client before everybody. `--split` leaves the server one processor of its own and everybody else the others, as clients on
machines of their own do: what the attackers' own work costs is not the server's.
"""
import argparse, asyncio, datetime, hashlib, hmac, json, os, statistics, subprocess, threading, time, urllib.request
import gateway
from gateway import KEY, SECRET, Server

FLOODS = ("list", "put", "get", "head")
STALLED = ("idle", "heads", "bodies", "readers")
ACCOUNT, ACCOUNT_SECRET = "flood", "flood-secret-key"
ACCOUNTS = f'[{{ id = "flood", name = "flood", access_key = "{ACCOUNT}", secret_key = "{ACCOUNT_SECRET}" }}]'
LONG_BYTES = 64 << 20


def aside():
    """The lowest priority, in a session of its own."""
    os.setsid()
    os.nice(19)
    try:
        open("/proc/self/autogroup", "w").write("19")
    except OSError:
        pass


def apart():
    """Before everybody: as a client on a machine of its own."""
    os.setsid()
    os.nice(-20)
    try:
        open("/proc/self/autogroup", "w").write("-20")
    except OSError:
        pass


def bench(client, server, key, *args, **how):
    env = dict(os.environ, AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=SECRET if key == KEY else ACCOUNT_SECRET)
    command = [client, "bench", *map(str, args), "--endpoint", server.endpoint, "--json"]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **how)


def metric(server, name):
    text = urllib.request.urlopen(json.load(open(server.dir + "/ready"))["admin"] + "/metrics").read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))


class Watch:
    """The most descriptors and memory of a process for as long as it is watched. Peaks of memory are forgotten first."""

    def __init__(self, server):
        self.server, self.descriptors, self.over = server, 0, threading.Event()
        try:
            open(f"/proc/{server.process.pid}/clear_refs", "w").write("5")
        except OSError:
            pass
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.wait(0.1):
            # Since Linux 6.2 that is how many there are; to list ten thousand would be felt by the good client.
            count = os.stat(f"/proc/{self.server.process.pid}/fd").st_size
            assert count, "this kernel does not say how many descriptors there are"
            self.descriptors = max(self.descriptors, count)

    def end(self):
        self.over.set()
        self.thread.join()
        return self.server.peak_mib(), self.descriptors


class Flood:
    def __init__(self, options, server, operation):
        name = {"list": "ListObjectsV2", "put": "PutObject", "get": "GetObject", "head": "HeadObject"}[operation]
        count = f'sediment_s3_requests_total{{operation="{name}"'
        # What it prepares is not the flood: that has begun when there is more than the good client asked for before.
        begun = metric(server, count) + 1
        size = "256B" if operation == "list" else options.size
        self.process = bench(options.client, server, ACCOUNT, operation, "--size", size, "--concurrency", options.connections,
                             "--objects", options.objects, "--bucket", "flood", "--duration", f"{options.seconds + 6}s", preexec_fn=aside)
        while self.process.poll() is None and metric(server, count) < begun:
            time.sleep(0.05)
        time.sleep(1)

    def end(self):
        assert self.process.poll() is None, "the flood was over before what was measured beside it"
        run = json.loads(self.process.communicate()[0])["servers"][0]["runs"][0]
        figures = run["figures"]
        failed = run["errors"]
        return f"{figures['ops_per_second']:.0f}/s, p99 {figures['p99_ms']:.0f} ms, {json.dumps(failed)}"


class Stalled(threading.Thread):
    """Connections that begin something and leave it."""

    def __init__(self, options, server, kind):
        super().__init__(daemon=True)
        self.options, self.server, self.kind = options, server, kind
        self.ready, self.over, self.answers, self.begun = threading.Event(), threading.Event(), {}, 0
        self.start()
        assert self.ready.wait(60), "the attackers have not begun within a minute"
        time.sleep(1)

    def run(self):
        asyncio.run(self.all())

    def bytes(self, number):
        if self.kind == "idle":
            return b""
        if self.kind == "heads":
            return b"GET /flood/x HTTP/1.1\r\nhost: "
        if self.kind == "bodies":
            return request(self.server, "PUT", f"/flood/slow{number}", LONG_BYTES) + os.urandom(64 << 10)
        return request(self.server, "GET", "/flood/long")

    async def one(self, number):
        try:
            reader, writer = await asyncio.open_connection(*self.server.host.split(":"), limit=1024)
            writer.transport.pause_reading() if self.kind == "readers" else None
            writer.write(self.bytes(number))
            self.begun += 1
            await self.ended.wait()
            if self.kind == "readers":
                writer.transport.resume_reading()
            told = await asyncio.wait_for(reader.read(64), 1) if self.kind in ("bodies", "readers") else b""
            self.answers[told[9:12]] = self.answers.get(told[9:12], 0) + 1
            writer.transport.abort()
        except (OSError, asyncio.TimeoutError) as error:
            self.answers[type(error).__name__] = self.answers.get(type(error).__name__, 0) + 1

    async def all(self):
        self.ended = asyncio.Event()
        tasks = [asyncio.create_task(self.one(number)) for number in range(self.options.connections)]
        # All of them stand there before anything is measured.
        while self.begun + sum(self.answers.values()) < len(tasks):
            await asyncio.sleep(0.1)
        self.ready.set()
        while not self.over.is_set():
            await asyncio.sleep(0.1)
        self.ended.set()
        await asyncio.gather(*tasks)

    def end(self):
        self.over.set()
        self.join()
        return str({(key.decode() if isinstance(key, bytes) else key) or "none": n for key, n in self.answers.items()})


def request(server, method, path, length=None):
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    key = ("AWS4" + ACCOUNT_SECRET).encode()
    scope = f"{day}/{gateway.REGION}/s3/aws4_request"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = (f"{method}\n{path}\n\nhost:{server.host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{stamp}\n\n{names}\nUNSIGNED-PAYLOAD")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    head = (f"{method} {path} HTTP/1.1\r\nhost: {server.host}\r\nx-amz-date: {stamp}\r\nx-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"
            f"authorization: AWS4-HMAC-SHA256 Credential={ACCOUNT}/{scope}, SignedHeaders={names}, Signature={signature}\r\n")
    return (head + ("" if length is None else f"content-length: {length}\r\n") + "\r\n").encode()


def prepare(server):
    import socket
    for head, body in ((request(server, "PUT", "/flood", 0), b""), (request(server, "PUT", "/flood/long", LONG_BYTES), os.urandom(LONG_BYTES))):
        with socket.create_connection(server.host.split(":")) as connection:
            connection.sendall(head + body)
            answer = connection.recv(1000)
            assert b" 200 " in answer, answer


def good(options, server):
    out = bench(options.client, server, KEY, "mixed", "--size", options.size, "--objects", 200, "--concurrency", 16, "--rate", options.rate,
                "--duration", f"{options.seconds}s", "--bucket", "good", preexec_fn=apart if options.apart else None).communicate()[0]
    run = json.loads(out)["servers"][0]["runs"][0]
    by = run["by_operation"]
    failed = run["errors"]
    return dict(get=by["get"]["p99_ms"], put=by["put"]["p99_ms"], p50=run["figures"]["p50_ms"], p99=run["figures"]["p99_ms"],
                failed=json.dumps(failed), not_begun=run["figures"]["not_begun"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binaries", nargs="+")
    parser.add_argument("--client")
    parser.add_argument("--attacks", type=lambda text: text.split(","), default=list(FLOODS + STALLED))
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--size", default="4KiB")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--split", action="store_true")
    options = parser.parse_args()
    options.client = os.path.abspath(options.client or options.binaries[0])
    os.environ["SEDIMENT_S3__ACCOUNTS"] = ACCOUNTS
    processors = sorted(os.sched_getaffinity(0))
    own, others = (processors[:1], processors[1:]) if options.split else (processors, processors)
    assert others, "one processor is not enough to split"
    os.sched_setaffinity(0, own)
    servers = {binary: Server(os.path.abspath(binary)) for binary in options.binaries}
    os.sched_setaffinity(0, others)
    try:
        print("| server | attack | p50 | p99 | GET p99 | PUT p99 | ratio of p99 | failed | not begun | peak MiB | descriptors | the attackers got |")
        print("|---" * 12 + "|", flush=True)
        for server in servers.values():
            prepare(server)
        for _ in range(options.rounds):
            for attack in options.attacks:
                for name, server in servers.items():
                    watch = Watch(server)
                    alone = good(options, server)
                    show(name, "none", alone, alone, watch.end(), "")
                    watch = Watch(server)
                    attackers = (Flood if attack in FLOODS else Stalled)(options, server, attack)
                    beside = good(options, server)
                    show(name, f"{attack} {options.connections}", beside, alone, watch.end(), attackers.end())
    finally:
        [server.stop() for server in servers.values()]


def show(name, attack, now, alone, peaks, got):
    cells = [os.path.basename(name), attack] + [f"{now[key]:.1f}" for key in ("p50", "p99", "get", "put")]
    cells += [f"{now['p99'] / alone['p99']:.2f} ×", now["failed"], f"{now['not_begun']:.0f}", f"{peaks[0]:.0f}", f"{peaks[1]}", got]
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

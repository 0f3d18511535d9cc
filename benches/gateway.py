#!/usr/bin/env python3
"""Measures a release binary as its users meet it, and prints a Markdown table.

    benches/gateway.py BINARY [case ...] [--keys N] [--big-gib N] [--repository DIR] [--data DIR]

Cases: versions names tars large big small list (default: these), and listings, which needs a store as `benches/listing.rs` fills it. Needs the aws CLI for `large` and `tars`; `tars` also git,
zstd and restic. Client and server share the machine: rates are what both together reach. Nothing is cached away: every
body is random and new unless the case says otherwise, and every PUT is durable when it is answered.
"""
import argparse, datetime, hashlib, hmac, http.client, json, multiprocessing, os, random, shutil, signal
import socket, subprocess, sys, tempfile, threading, time

KEY, SECRET, REGION = "measure", "measure-secret", "us-east-1"
MIB = 1 << 20


class Server:
    def __init__(self, binary, data=None):
        self.binary, self.dir = binary, tempfile.mkdtemp(prefix="sediment-measure-")
        self.data, ready = data or self.dir + "/data", self.dir + "/ready"
        self.env = dict(os.environ, SEDIMENT_ROOT_USER=KEY, SEDIMENT_ROOT_PASSWORD=SECRET)
        self.process = subprocess.Popen(
            [binary, "serve", "--data", self.data, "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--ready-file", ready],
            env=self.env, stderr=open(self.dir + "/log", "w"), stdout=subprocess.DEVNULL)
        deadline = time.time() + (600 if data else 30)
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.time() > deadline:
                sys.exit("the server did not start: " + open(self.dir + "/log").read())
            time.sleep(0.02)
        addresses = json.load(open(ready))
        self.endpoint, self.admin = addresses["s3"], addresses["admin"]
        self.host = self.endpoint.removeprefix("http://")
        self.aws_env = dict(os.environ, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_DEFAULT_REGION=REGION,
                            AWS_ENDPOINT_URL=self.endpoint, AWS_EC2_METADATA_DISABLED="true")

    def aws(self, *args):
        subprocess.run(["aws", *args], env=self.aws_env, check=True, stdout=subprocess.DEVNULL)

    def stats(self):
        return json.loads(subprocess.check_output([self.binary, "stats", "--json", "--data", self.data], env=self.env))

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        shutil.rmtree(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Client:
    """One keep-alive connection; signs with UNSIGNED-PAYLOAD."""

    def __init__(self, host):
        self.host, self.connection = host, http.client.HTTPConnection(host, timeout=600)
        self.day = None

    def headers(self, method, path, query):
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        if day != self.day:
            key = ("AWS4" + SECRET).encode()
            for part in (day, REGION, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self.day, self.key = day, key
        headers = "host;x-amz-content-sha256;x-amz-date"
        canonical = (f"{method}\n{path}\n{query}\nhost:{self.host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\n"
                     f"x-amz-date:{stamp}\n\n{headers}\nUNSIGNED-PAYLOAD")
        scope = f"{day}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self.key, text.encode(), "sha256").hex()
        return {"x-amz-date": stamp, "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
                "authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={headers}, Signature={signature}"}

    def request(self, method, path, query="", body=None, size=None):
        sent = self.headers(method, path, query)
        if body is not None or method == "PUT":
            sent["content-length"] = str(size if size is not None else len(body or b""))
        self.connection.request(method, path + ("?" + query if query else ""), body=body, headers=sent)
        return self.connection.getresponse()

    def put(self, path, body, size=None):
        response = self.request("PUT", path, body=body, size=size)
        answer = response.read()
        assert response.status == 200, (path, response.status, answer[:300])

    def get(self, path):
        response, total = self.request("GET", path), 0
        assert response.status == 200, (path, response.status)
        while piece := response.read(MIB):
            total += len(piece)
        return total


def noise(size):
    return os.urandom(size)


def noise_pieces(size):
    left = size
    while left:
        piece = noise(min(MIB, left))
        left -= len(piece)
        yield piece


def versions(binary, _):
    with Server(binary) as server:
        client = Client(server.host)
        client.put("/bench", b"")
        body, rng = bytearray(noise(64 * MIB)), random.Random(1)
        for number in range(10):
            client.put(f"/bench/version{number}", bytes(body))
            for _ in range(5):
                at = rng.randrange(len(body))
                body[at:at + rng.randrange(20)] = noise(rng.randrange(100))
        stored = server.stats()["stored_bytes"]
    yield "ten versions of 64 MiB, five small edits or insertions each", f"stored {stored / (64 * MIB):.3f} × one version"


def names(binary, _):
    with Server(binary) as server:
        client, body = Client(server.host), noise(256 * MIB)
        client.put("/bench", b"")
        for number in range(5):
            client.put(f"/bench/name{number}", body)
        stored = server.stats()["stored_bytes"]
    yield "the same 256 MiB under five names", f"stored {stored / len(body):.4f} × one"


def tars(binary, options):
    work = tempfile.mkdtemp(prefix="sediment-tars-")
    commits = subprocess.check_output(["git", "-C", options.repository, "rev-list", "--first-parent", "HEAD"], text=True).split()
    step = max(1, len(commits) // 10)
    raw = squeezed = 0
    with Server(binary) as server:
        server.aws("s3", "mb", "s3://bench")
        for number, commit in enumerate(reversed(commits[::step][:10])):
            tar = f"{work}/{number}.tar"
            subprocess.run(["git", "-C", options.repository, "archive", "-o", tar, commit], check=True)
            raw += os.path.getsize(tar)
            squeezed += len(subprocess.check_output(["zstd", "-3", "-c", "-q", tar]))
            server.aws("s3", "cp", tar, f"s3://bench/{number}.tar")
        stored = server.stats()["stored_bytes"]
    env = dict(os.environ, RESTIC_PASSWORD="x", RESTIC_REPOSITORY=work + "/restic")
    quiet = dict(env=env, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["restic", "init", "-q"], **quiet)
    for number in range(10):
        subprocess.run(["restic", "backup", "-q", f"{work}/{number}.tar"], **quiet)
    restic = int(subprocess.check_output(["du", "-sb", work + "/restic"]).split()[0])
    shutil.rmtree(work)
    yield (f"tars of ten commits, {raw / MIB:.1f} MiB",
           f"Sediment {stored / MIB:.2f} MiB, zstd -3 of each {squeezed / MIB:.2f} MiB, restic {restic / MIB:.2f} MiB")


def rate(server, what, size, work):
    cpu, began = server.cpu_seconds(), time.monotonic()
    work()
    seconds, cpu = time.monotonic() - began, server.cpu_seconds() - cpu
    return what, f"{size / 1e6 / seconds:.0f} MB/s, {cpu / (size / 1e9):.2f} server CPU s/GB, peak RSS {server.peak_mib():.0f} MiB"


def large(binary, _):
    size = 1024 * MIB
    with Server(binary) as server:
        path = server.dir + "/random"
        with open(path, "wb") as file:
            file.writelines(noise_pieces(size))
        server.aws("s3", "mb", "s3://bench")
        yield rate(server, "1 GiB random PUT, aws CLI", size, lambda: server.aws("s3", "cp", path, "s3://bench/cli"))
        yield rate(server, "1 GiB random GET, aws CLI", size, lambda: server.aws("s3", "cp", "s3://bench/cli", path + ".back"))
        assert subprocess.run(["cmp", path, path + ".back"]).returncode == 0
    with Server(binary) as server:
        path = server.dir + "/random"
        with open(path, "wb") as file:
            file.writelines(noise_pieces(size))
        client = Client(server.host)
        client.put("/bench", b"")
        with open(path, "rb") as file:
            yield rate(server, "1 GiB random PUT, one keep-alive connection", size, lambda: client.put("/bench/one", file, size))
        yield rate(server, "1 GiB random GET, one keep-alive connection", size, lambda: client.get("/bench/one"))


def big(binary, options):
    size = options.big_gib * 1024 * MIB
    with Server(binary) as server:
        client = Client(server.host)
        client.put("/bench", b"")
        yield rate(server, f"{options.big_gib} GiB object up", size, lambda: client.put("/bench/big", noise_pieces(size), size))
        yield rate(server, f"{options.big_gib} GiB object down", size, lambda: client.get("/bench/big"))


def put_many(host, connections, per_connection, name, size):
    def run(connection):
        client, body = Client(host), bytearray(noise(size))
        for number in range(per_connection):
            body[:8] = noise(8)
            client.put(name(connection, number), bytes(body))
    threads = [threading.Thread(target=run, args=(c,)) for c in connections]
    [t.start() for t in threads]
    [t.join() for t in threads]


def spread(host, connections, per_connection, name, size, processes=4):
    groups = [range(connections)[p::processes] for p in range(processes)]
    workers = [multiprocessing.Process(target=put_many, args=(host, g, per_connection, name, size)) for g in groups]
    began = time.monotonic()
    [w.start() for w in workers]
    [w.join() for w in workers]
    assert all(w.exitcode == 0 for w in workers)
    return connections * per_connection / (time.monotonic() - began)


def small_name(connection, number):
    return f"/bench/{connection}/{number}"


def small(binary, _):
    with Server(binary) as server:
        Client(server.host).put("/bench", b"")
        reached = spread(server.host, 16, 625, small_name, 4096)
        cpu = server.cpu_seconds() / 10_000
    yield "10,000 × 4 KiB PUT at 16 connections, durable", f"{reached:.0f} per second, {cpu * 1e6:.0f} µs of server CPU each"


def list_name(connection, number):
    return f"/bench/folder{number % 100:02}/{connection:02}-{number:07}"


def list_(binary, options):
    with Server(binary) as server:
        client = Client(server.host)
        client.put("/bench", b"")
        spread(server.host, 32, options.keys // 32, list_name, 16)
        # The first connection has been idle for too long.
        client, took = Client(server.host), []
        for _ in range(20):
            began = time.monotonic()
            answer = client.request("GET", "/bench", "delimiter=%2F&list-type=2").read()
            took.append(time.monotonic() - began)
            assert answer.count(b"<CommonPrefixes>") == 100
    took.sort()
    yield f"{options.keys // 32 * 32} keys in 100 folders: root with delimiter", f"{took[10] * 1e3:.1f} ms median of 20"


class Raw:
    """One keep-alive connection and no library, whose own time would be a good part of an answer's."""

    def __init__(self, host):
        name, port = host.split(":")
        self.host, self.signer = host, Client(host)
        self.socket = socket.create_connection((name, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def time(self, query):
        head = self.signer.headers("GET", "/bucket", query)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        sent = f"GET /bucket?{query} HTTP/1.1\r\nhost: {self.host}\r\n{lines}\r\n".encode()
        began = time.monotonic()
        self.socket.sendall(sent)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(1 << 20)
        head, body = answer.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200"), answer[:500]
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        pieces, left = [body], size - len(body)
        while left:
            pieces.append(self.socket.recv(1 << 20))
            left -= len(pieces[-1])
        took, body = time.monotonic() - began, b"".join(pieces)
        return took, sum(body.count(element) for element in (b"<CommonPrefixes>", b"<Contents>", b"<Version>"))


def listings(binary, options):
    keys, times = options.keys, 1000
    directories = keys // 100 // 100
    deep = lambda n: f"folder-{n % 100:02}%2F{n // 100 % directories:06}%2F"
    behind = lambda n: f"folder-{n % 100:02}%2F{n // 100 % directories:06}%2Fobject-0050.dat"
    questions = {
        "root with delimiter": lambda n: "delimiter=%2F&list-type=2",
        "deep prefix with delimiter": lambda n: f"delimiter=%2F&list-type=2&prefix={deep(n)}",
        "keys from the middle on": lambda n: f"list-type=2&start-after={behind(n)}",
        "versions, root with delimiter": lambda n: "delimiter=%2F&versions=",
        "versions, deep prefix": lambda n: f"delimiter=%2F&prefix={deep(n)}&versions=",
        "versions from the middle on": lambda n: f"key-marker={behind(n)}&versions=",
    }
    with Server(binary, options.data) as server:
        raw = Raw(server.host)
        for what, query in questions.items():
            took, rng = [], random.Random(1)
            for turn in range(2):
                asked = [raw.time(query(rng.randrange(keys))) for _ in range(times)]
            took = sorted(seconds for seconds, _ in asked)
            entries = sorted(count for _, count in asked)[times // 2]
            yield (f"{keys} keys: {what}, {entries} entries",
                   f"p50 {took[times // 2] * 1e3:.2f} ms, p99 {took[times * 99 // 100] * 1e3:.2f} ms of {times}")


def main():
    measured = dict(versions=versions, names=names, tars=tars, large=large, big=big, small=small, list=list_)
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("cases", nargs="*", default=list(measured))
    parser.add_argument("--data", help="a store that is there already")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--big-gib", type=int, default=5)
    parser.add_argument("--repository", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    options, cases = parser.parse_args(), dict(measured, listings=listings)
    print("| what | measured |\n|---|---|")
    for name in options.cases:
        for what, result in cases[name](os.path.abspath(options.binary), options):
            print(f"| {what} | {result} |", flush=True)


if __name__ == "__main__":
    main()

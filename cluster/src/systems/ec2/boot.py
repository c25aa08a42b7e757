# Receives the worker's program from the driver and runs it; see boot.rs for the conversation.
import base64, json, os, selectors, socket, ssl, struct, subprocess, sys, threading, time, urllib.request

HOME = os.environ["HOME"]
with open(os.path.join(HOME, "config.json")) as config:
    CONFIG = json.load(config)
os.remove(config.name)
CHANNEL, STDOUT, STDERR, END, NOTICE, ENROLLED, PROGRAM = range(7)
DRIVER_WAIT, PEER_WAIT, HANDSHAKE_WAIT, PROGRAM_WAIT, LAST_WORDS_WAIT = 300, 20, 5, 60, 2
AMISS = os.environ.pop("DISKS_AMISS", "")
IMDS = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def imds(path):
    def ask(path, method, headers):
        request = urllib.request.Request(IMDS + "/latest/" + path, method=method, headers=headers)
        return DIRECT.open(request, timeout=2).read().decode()

    token = ask("api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    return ask("meta-data/" + path, "GET", {"X-aws-ec2-metadata-token": token})


def context():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    tls.num_tickets = 0
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(cadata=base64.b64decode(CONFIG["root"]))
    path = os.path.join(HOME, "enrolment.pem")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as pem:
        pem.write(CONFIG["enrolment"])
    tls.load_cert_chain(path)
    os.remove(path)
    return tls


def await_caller(tls, name, wait):
    """The first caller with the certificate of that name. The port is closed after it."""
    until = time.monotonic() + wait
    with socket.create_server((imds("local-ipv4"), CONFIG["port"])) as listener:
        while True:
            listener.settimeout(max(until - time.monotonic(), 0.001))
            tcp, caller = listener.accept()
            tcp.settimeout(HANDSHAKE_WAIT)
            try:
                peer = tls.wrap_socket(tcp, server_side=True)
                if ("URI", name) in peer.getpeercert().get("subjectAltName", ()):
                    return peer
                peer.close()
                why = "it is not " + name
            except OSError as refusal:
                tcp.close()
                why = refusal
            print("refused", caller[0], why, file=sys.stderr, flush=True)


def receive(driver, size):
    while size:
        data = driver.recv(min(size, 1 << 18))
        if not data:
            raise EOFError("the driver is gone")
        size -= len(data)
        yield data


def take(driver, what, path, size, sha256, mode):
    import hashlib

    digest = hashlib.sha256()
    os.umask(0o022)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        for data in receive(driver, size):
            digest.update(data)
            file.write(data)
    os.umask(0o077)
    if digest.hexdigest() != sha256:
        raise ValueError(what + " that arrived is not the one that was announced")
    os.chmod(path, mode)
    return path


def start_unit(path):
    unit = os.path.basename(path)
    for command in ["systemctl", "link", path], ["systemctl", "start", unit]:
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError("could not start %s: %s" % (unit, ran.stderr.strip()))


def take_program(tls, driver, order, path):
    def arrive(source, wait):
        source.settimeout(wait)
        take(source, "the program", path, order["size"], CONFIG["sha256"], 0o700)

    if order["from"]:
        try:
            with await_caller(tls, order["from"], PEER_WAIT) as peer:
                arrive(peer, PEER_WAIT)
            print("the program came from", order["from"], flush=True)
            return send(driver, PROGRAM, b"")
        except Exception as why:
            send(driver, PROGRAM, repr(why).encode())
    arrive(driver, PROGRAM_WAIT)
    print("the program came from the driver", flush=True)


def take_all(tls, driver):
    # Other callers may come first; the boot timer limits the time.
    driver.settimeout(None)
    (length,) = struct.unpack(">I", b"".join(receive(driver, 4)))
    driver.settimeout(PROGRAM_WAIT)
    order, units = json.loads(b"".join(receive(driver, length))), []
    for file in order["files"]:
        path = os.path.join(HOME, "units" if file["unit"] else "work", file["name"])
        take(driver, file["name"], path, file["size"], file["sha256"], file["mode"])
        if file["unit"]:
            units.append(path)
    path = os.path.join(HOME, "program")
    take_program(tls, driver, order, path)
    for unit in units:
        start_unit(unit)
    return path, order["env"]


def oom_kills():
    with open("/proc/vmstat") as counters:
        return next((int(l.split()[1]) for l in counters if l.startswith("oom_kill ")), 0)


def watch_notices(pipe):
    """Reports spot interruptions and rebalance hints, each once."""
    told = set()
    while True:
        for path in "spot/instance-action", "events/recommendations/rebalance":
            try:
                if path not in told:
                    os.write(pipe, (path + " " + imds(path)).encode())
                    told.add(path)
            except OSError:
                pass
        time.sleep(CONFIG["notice_period"])


def sound(child, kills):
    code = child.wait()
    if code == -9 and oom_kills() > kills:
        return "killed by the kernel: the machine is out of memory"
    return "killed by signal %d" % -code if code < 0 else "ended with status %d" % code


def send(driver, kind, data):
    # Forever: a driver whose user reads a pager takes no output, but is alive.
    driver.settimeout(None)
    driver.sendall(struct.pack(">BI", kind, len(data)) + data)
    driver.settimeout(0)


def relay(driver, near, child, kills):
    def take(frames):
        """Handles complete frames and returns the rest."""
        while len(frames) >= 5:
            kind, size = struct.unpack(">BI", frames[:5])
            if len(frames) < 5 + size:
                break
            if kind == CHANNEL:
                near.sendall(frames[5 : 5 + size])
            elif kind == ENROLLED:
                subprocess.call(["systemctl", "stop", "bigslice-boot.timer"])
            frames = frames[5 + size :]
        return frames

    notices, pipe = os.pipe()
    if CONFIG["spot"]:
        threading.Thread(target=watch_notices, args=(pipe,), daemon=True).start()
    ready = selectors.DefaultSelector()
    sources = {driver: None, near: CHANNEL, child.stdout: STDOUT, child.stderr: STDERR, notices: NOTICE}
    for source, kind in sources.items():
        ready.register(source, selectors.EVENT_READ, kind)
    if AMISS:
        send(driver, STDERR, (AMISS + "\n").encode())
    outputs, frames, dead_at = 3, b"", None
    driver.settimeout(0)
    while outputs and (dead_at is None or time.monotonic() < dead_at + LAST_WORDS_WAIT):
        for key, _ in ready.select(timeout=0.5):
            if key.fileobj is driver:
                try:
                    while True:
                        data = driver.recv(1 << 16)
                        if not data:
                            raise EOFError("the driver is gone")
                        frames = take(frames + data)
                except ssl.SSLWantReadError:
                    continue
            try:
                data = os.read(key.fd, 1 << 16)
            except ConnectionError:
                data = b""
            if data:
                send(driver, key.data, data)
            else:
                ready.unregister(key.fileobj)
                outputs -= 1
        if dead_at is None and child.poll() is not None:
            dead_at = time.monotonic()
    send(driver, END, sound(child, kills).encode())


def main():
    tls = context()
    driver = await_caller(tls, CONFIG["driver"], DRIVER_WAIT)
    try:
        path, env = take_all(tls, driver)
    except Exception as why:
        send(driver, END, str(why).encode())
        raise
    near, far = socket.socketpair()
    scratch = os.path.join(HOME, CONFIG["machine"])
    os.mkdir(scratch, 0o700)
    work = os.path.join(HOME, "work")
    os.makedirs(work, exist_ok=True)
    kills = oom_kills()
    child = subprocess.Popen(
        [path, "--bigslice-worker", CONFIG["machine"], scratch], stdin=far, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": HOME, **env}, cwd=work,
    )
    far.close()
    try:
        relay(driver, near, child, kills)
    finally:
        near.close()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()


main()

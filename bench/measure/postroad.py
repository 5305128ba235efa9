"""`postroad up` with its embedded PostgreSQL, as an operator would start it: relay mode to the sink, a verified domain, and a credential
for the loopback network, because smtp-source cannot log in."""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from .footprint import Footprint, pss
from .world import Dns, free_port

SENDER_DOMAIN = "sender.test"


class Postroad:
    name = "Postroad"

    def __init__(self, place, sink, binary):
        self.place, self.binary, self.port, self.api = pathlib.Path(place), str(binary), free_port(), free_port()
        self.place.mkdir(parents=True, exist_ok=True)
        self.place.chmod(0o755)
        self.footprint, self.dns = Footprint("postroad"), Dns()
        self.dns.add("postroad.bench.test", "A", "127.0.0.1")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("POSTROAD_", "DATABASE_URL", "REDIS_URL", "OTEL_"))}
        self.env.update({
            "POSTROAD_DATA_DIR": str(self.place / "data"),
            "POSTROAD_SMTP__LISTEN": f"127.0.0.1:{self.port}",
            "POSTROAD_SMTP__HOSTNAME": "postroad.bench.test",
            "POSTROAD_SMTP__MAX_CONNECTIONS_PER_ADDRESS": "100000",
            "POSTROAD_SMTP__MAX_MESSAGES_PER_CONNECTION": "100000000",
            "POSTROAD_API__LISTEN": f"127.0.0.1:{self.api}",
            "POSTROAD_OPS__LISTEN": f"127.0.0.1:{free_port()}",
            "POSTROAD_DNS__SERVERS": f"127.0.0.1:{self.dns.port}",
            "POSTROAD_DELIVERY__MODE": "relay",
            "POSTROAD_DELIVERY__RELAY_URL": f"smtp://127.0.0.1:{sink.port}",
            "POSTROAD_DELIVERY__RELAY_TLS": "never",
            "POSTROAD_DELIVERY__ALLOW_NETWORKS": "127.0.0.0/8",
        })
        with open(self.place / "log", "wb") as log:
            self.process = subprocess.Popen(self.footprint.wrap([self.binary, "up"]), env=self.env, stdout=log, stderr=log, start_new_session=True)
        self.footprint.roots = [self.process.pid]
        self._wait_until_ready()
        self.key = subprocess.run([self.binary, "api-key", "create", "--name", "bench"], env=self.env, capture_output=True, text=True, check=True).stdout.strip()
        self.domain = self.call("POST", "/domains", {"name": SENDER_DOMAIN})
        self.dns.publish(self.call("GET", f'/domains/{self.domain["id"]}/dns-records')["data"])
        verified = self.call("POST", f'/domains/{self.domain["id"]}/verify')
        if verified["status"] != "active":
            raise SystemExit(f"the domain did not verify: {verified}")
        self.call("POST", "/smtp-credentials", {"name": "bench", "type": "network", "networks": ["127.0.0.0/8"]})

    def _wait_until_ready(self):
        end = time.time() + 90
        while time.time() < end and self.process.poll() is None:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=5)
                connection.request("GET", "/api/v1/health/readiness")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("postroad did not start:\n" + (self.place / "log").read_text(errors="replace")[-3000:])

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=30)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, "/api/v1" + path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        if not 200 <= answer.status < 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:500]}")
        return json.loads(text) if text else None

    def url(self):
        """What postroad-load connects to."""
        number = (self.place / "data/instance-id").read_text().strip()
        return f"postgres://postroad@localhost:5432/postroad?host=/tmp/postroad-{number}"

    def sql(self, statement):
        """Between the measurements only: what no operator has a command for."""
        command = [self._psql(), self.url(), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{statement}: {done.stderr}")
        return done.stdout.strip()

    def _psql(self):
        postmaster = next((pathlib.Path(f"/proc/{pid}/exe").resolve() for pid in self.footprint.processes()
                           if pathlib.Path(f"/proc/{pid}/exe").resolve().name == "postgres"), None)
        return str(postmaster.parent / "psql") if postmaster else "psql"

    def keep(self, how):
        """Holds back (`deferred`, `hold`: here the same) or serves the lanes that there are; one message makes the lane of the bench."""
        if how:
            self.sql("update lane set paused_until = now() + interval '1 day', pause_reason = 'bench'")
        else:
            self.sql("update lane set paused_until = null, pause_reason = null")
        # A worker reads the pause with its next look at the queue.
        time.sleep(3)

    def clear(self):
        """Forgets what intake left to do; what was accepted stays in the history, as it would."""
        self.sql("truncate queue")

    def sign(self, on):
        self.sql(f"update domain set sign = {'true' if on else 'false'}")
        # Longer than anything that the worker keeps of a domain.
        time.sleep(20)

    def version(self):
        return f"Postroad {self._version()}, PostgreSQL {self.sql('show server_version').split()[0]}"

    def _version(self):
        return subprocess.run([self.binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]

    def services_kilobytes(self):
        """Memory of our process alone, PostgreSQL left out."""
        return pss(self._own_pid())

    def _own_pid(self):
        binary = pathlib.Path(self.binary).resolve()
        return next(pid for pid in self.footprint.processes() if pathlib.Path(f"/proc/{pid}/exe").resolve() == binary)

    def idle_session_bytes(self, count=2000):
        """Opens sessions that have said EHLO and now wait."""
        before, sessions = self.services_kilobytes(), []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self.port), 10)
            connection.recv(1000)
            connection.sendall(b"EHLO bench.test\r\n")
            connection.recv(4000)
            sessions.append(connection)
        time.sleep(1)
        after = self.services_kilobytes()
        for connection in sessions:
            connection.close()
        return (after - before) * 1024 / count

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.footprint.close()

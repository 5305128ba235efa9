"""Postfix from a private configuration: own queue, own data, loopback only, no chroot, no reverse look-ups, everything to the sink. The
system's own Postfix is not touched."""
import pathlib
import shutil
import subprocess
import time

from .footprint import Footprint
from .world import free_port

MAIN = """
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.bench.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_peername_lookup = no
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 300
message_size_limit = 30000000
alias_maps =
local_recipient_maps =
biff = no
"""

# How Postfix keeps mail that it accepts and must not deliver. `deferred` is an ordinary queue whose deliveries wait, as Postroad's do; in
# `hold` a message is put aside by the receiving process itself, which is the least that Postfix can do.
KEEPING = {
    None: "",
    "deferred": "defer_transports = smtp\n",
    "hold": "smtpd_client_restrictions = check_client_access static:HOLD\n",
}

MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


class Postfix:
    """Accepts on `port`, and delivers to the sink unless told to keep."""

    name = "Postfix"

    def __init__(self, place, sink):
        self.place, self.port = pathlib.Path(place), free_port()
        self.footprint = Footprint("postfix")
        queue, data = self.place / "queue", self.place / "data"
        for folder in (self.place, queue, data):
            folder.mkdir(parents=True, exist_ok=True)
        self.place.chmod(0o755)
        shutil.chown(data, "postfix")
        daemons = next(folder for folder in ("/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix") if pathlib.Path(folder, "master").exists())
        self.settings = MAIN.format(queue=queue, data=data, daemons=daemons, sink=sink.port, place=self.place)
        (self.place / "main.cf").write_text(self.settings)
        (self.place / "master.cf").write_text(MASTER.format(port=self.port))
        self.command("start", wrapped=True)
        self.footprint.roots = [int((queue / "pid/master.pid").read_text())]

    def command(self, *words, wrapped=False):
        command = ["postfix", "-c", str(self.place), *words]
        done = subprocess.run(self.footprint.wrap(command) if wrapped else command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: {done.stderr or done.stdout}")

    def keep(self, how):
        """One of KEEPING, from the next connection on."""
        (self.place / "main.cf").write_text(self.settings + KEEPING[how])
        self.command("reload")
        time.sleep(1)

    def clear(self):
        """Forgets what intake left."""
        subprocess.run(["postsuper", "-c", str(self.place), "-d", "ALL"], capture_output=True, check=True)

    def version(self):
        return "Postfix " + subprocess.run(["postconf", "-c", str(self.place), "-h", "mail_version"], capture_output=True, text=True, check=True).stdout.strip()

    def stop(self):
        subprocess.run(["postfix", "-c", str(self.place), "stop"], capture_output=True, check=False)
        self.footprint.close()

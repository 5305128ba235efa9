"""Verifies messages with dkimpy. Input: lines `name<TAB>TXT record`, an empty line, then one message a line in base64.
Output: for each message a line of `pass` or `fail`, one word per DKIM-Signature from the top."""
import base64, sys

try:
    import dkim, nacl.signing
except ImportError as missing:
    sys.exit(f"{missing}: install Debian's python3-dkim and python3-nacl (scripts/bootstrap.sh does)")

records = {}
for line in sys.stdin.buffer:
    line = line.rstrip(b"\n")
    if not line:
        break
    name, record = line.split(b"\t", 1)
    records[name.rstrip(b".") + b"."] = record

for line in sys.stdin.buffer:
    message = dkim.DKIM(base64.b64decode(line), minkey=2048)
    results = []
    for index in range(sum(name.lower() == b"dkim-signature" for name, _ in message.headers)):
        try:
            good = message.verify(idx=index, dnsfunc=lambda name, timeout=5: records.get(name))
        except dkim.DKIMException as problem:
            print(problem, file=sys.stderr)
            good = False
        results.append("pass" if good else "fail")
    print(*results)

"""Signs or verifies many messages with dkimpy, in one process.
`sign KEYFILE`: each line of the input is `canonicalization<TAB>message in base64`; out comes the signed message in base64.
`verify`: the first line is the TXT record of sel._domainkey.author.test, each other one a message in base64; out comes, a line each, what
the signature of author.test under that selector is: pass, fail or none."""
import base64, sys

try:
    import dkim
except ImportError as missing:
    sys.exit(f"{missing}: install Debian's python3-dkim (scripts/bootstrap.sh does)")

SELECTOR, DOMAIN = b"sel", b"author.test"
lines = [line.rstrip(b"\n") for line in sys.stdin.buffer]


def sign(key):
    for line in lines:
        canonicalization, message = line.split(b"\t")
        header, body = (word.strip() for word in canonicalization.split(b"/"))
        message = base64.b64decode(message)
        signature = dkim.sign(message, SELECTOR, DOMAIN, key, canonicalize=(header, body))
        print(base64.b64encode(signature + message).decode())


def tags(value):
    return set(b"".join(value.split()).split(b";"))


def verify(record):
    for line in lines[1:]:
        message = dkim.DKIM(base64.b64decode(line), minkey=2048)
        signatures = [value for name, value in message.headers if name.lower() == b"dkim-signature"]
        ours = [at for at, value in enumerate(signatures) if {b"d=author.test", b"s=sel"} <= tags(value)]
        if len(ours) != 1:
            print("none")
            continue
        try:
            good = message.verify(idx=ours[0], dnsfunc=lambda name, timeout=5: record if name == b"sel._domainkey.author.test." else None)
        except dkim.DKIMException as problem:
            print(problem, file=sys.stderr)
            good = False
        print("pass" if good else "fail")


if sys.argv[1] == "sign":
    sign(open(sys.argv[2], "rb").read())
else:
    verify(lines[0])

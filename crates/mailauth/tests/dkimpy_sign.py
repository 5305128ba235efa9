"""Signs messages with dkimpy. Input, JSON: {"keys": {selector: bits | PEM | "ed25519"}, "jobs": [{"message", "key", "domain"?, "canonicalize"?,
"length"?, "expires"?, "identity"?, "also"?: [key]}]}, messages in base64; a number of bits asks for a new RSA key (small ones only).
Output, JSON: {"records": {selector: TXT record}, "signed": [base64]}; the records of PEM keys are the caller's."""
import base64, json, random, sys

try:
    import dkim, nacl.encoding, nacl.signing
except ImportError as missing:
    sys.exit(f"{missing}: install Debian's python3-dkim and python3-nacl (scripts/bootstrap.sh does)")


def prime(bits):
    while True:
        n = random.getrandbits(bits) | 3 << bits - 2 | 1
        if n % 65537 != 1 and all(pow(a, n - 1, n) == 1 for a in (2, 3, 5, 7)):
            return n


def der(tag, body):
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    return bytes([tag, 0x82]) + size.to_bytes(2, "big") + body


def integers(*numbers):
    return der(48, b"".join(der(2, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in numbers))


def rsa(bits):
    p, q = prime(bits // 2), prime(bits // 2)
    n, d = p * q, pow(65537, -1, (p - 1) * (q - 1))
    private = integers(0, n, 65537, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    pem = b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.b64encode(private) + b"\n-----END RSA PRIVATE KEY-----\n"
    algorithm = der(48, der(6, bytes.fromhex("2a864886f70d010101")) + der(5, b""))
    wrapped = der(48, algorithm + der(3, b"\0" + integers(n, 65537)))
    return pem, "v=DKIM1; k=rsa; p=" + base64.b64encode(wrapped).decode()


class Signer(dkim.DKIM):
    expires = None

    def gen_header(self, fields, *rest, **named):
        if self.expires:
            fields.insert(2, (b"x", str(self.expires).encode()))
            fields[:] = [(k, b"1000000000" if k == b"t" else v) for k, v in fields]
        return super().gen_header(fields, *rest, **named)


task = json.load(sys.stdin)
keys, records = {}, {}
for selector, wanted in task["keys"].items():
    if wanted == "ed25519":
        key = nacl.signing.SigningKey.generate()
        public = key.verify_key.encode(nacl.encoding.Base64Encoder).decode()
        keys[selector] = key.encode(nacl.encoding.Base64Encoder), b"ed25519-sha256"
        records[selector] = "v=DKIM1; k=ed25519; p=" + public
    elif isinstance(wanted, int):
        pem, records[selector] = rsa(wanted)
        keys[selector] = pem, b"rsa-sha256"
    else:
        keys[selector] = wanted.encode(), b"rsa-sha256"

signed = []
for job in task["jobs"]:
    message = base64.b64decode(job["message"])
    for selector in [job["key"], *job.get("also", [])]:
        signer = Signer(message)
        signer.expires = job.get("expires")
        private, algorithm = keys[selector]
        identity = job.get("identity")
        message = signer.sign(
            selector.encode(),
            job.get("domain", "a.test").encode(),
            private,
            signature_algorithm=algorithm,
            identity=identity and identity.encode(),
            canonicalize=tuple(part.encode() for part in job.get("canonicalize", "relaxed/relaxed").split("/")),
            length=job.get("length", False),
        ) + message
    signed.append(base64.b64encode(message).decode())
json.dump({"records": records, "signed": signed}, sys.stdout)

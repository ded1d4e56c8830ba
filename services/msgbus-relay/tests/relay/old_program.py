"""An old program of the bus, by hand: Redis' protocol on a socket, a client and a service as their libraries are.

    old_program.py service SOCKET TWIN COMMAND     serves until it is killed
    old_program.py client SOCKET DESTINATIONS COMMAND TEXT...     prints an answer a line
"""

import base64, json, socket, sys, time, uuid


class Redis:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.socket.sendall(b"*%d\r\n" % len(words) + parts)
        return self.read()

    def read(self):
        line = self.lines.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.lines.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        return rest.decode()


def service(path, twin, command):
    redis = Redis(path)
    while True:
        _, item = redis.call("BLPOP", "msgbus." + command, 0)
        message = json.loads(item)
        text = base64.b64decode(message["dat"]).decode()
        message["dat"] = base64.b64encode(text.upper().encode()).decode()
        message["src"], message["dst"] = int(twin), [message["src"]]
        message["now"] = int(time.time())
        redis.call("LPUSH", message["ret"], json.dumps(message))


def client(path, destinations, command, *texts):
    redis, ret, twins = Redis(path), str(uuid.uuid4()), [int(twin) for twin in destinations.split(",")]
    for text in texts:
        message = {
            "ver": 1, "uid": "", "cmd": command, "exp": 60, "try": 2,
            "dat": base64.b64encode(text.encode()).decode(), "tag": "a text of mine", "src": 0, "dst": twins,
            "ret": ret, "shm": "", "now": int(time.time()), "err": "",
        }
        redis.call("RPUSH", "msgbus.system.local", json.dumps(message))
    for _ in range(len(texts) * len(twins)):
        answer = json.loads(redis.call("BLPOP", ret, 20)[1])
        print(answer["src"], answer["err"] or base64.b64decode(answer["dat"]).decode(), flush=True)


if __name__ == "__main__":
    {"service": service, "client": client}[sys.argv[1]](*sys.argv[2:])

"""Logs in to a circle, runs a script and follows its log.

    python3 -m venv v && v/bin/pip install eth-account websockets
    v/bin/python docs/login.py ws://127.0.0.1:8080 <private key in hex>
"""
import asyncio, itertools, json, sys
import websockets
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys import keys


async def main(server, private):
    pubkey = keys.PrivateKey(bytes.fromhex(private)).public_key.to_compressed_bytes().hex()
    numbers = itertools.count(1)
    async with websockets.connect(f"{server}/{pubkey}") as ws:

        async def call(method, *params):
            await ws.send(json.dumps({"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}))
            answer = json.loads(await ws.recv())
            return answer["result"] if "result" in answer else sys.exit(answer["error"])

        nonce = await call("fetch_nonce", pubkey)
        signature = Account.sign_message(encode_defunct(text=nonce), private).signature.hex()
        assert await call("authenticate", pubkey, signature, nonce), "not a member"
        print(await call("whoami"))
        script = 'for n in 1..4 { print("line " + n); } 40 + 2'
        job, ended = await call("submit_job", {"script": script, "script_type": "OSIS"}), None
        await call("subscribe_logs", job)
        while not ended:
            news = json.loads(await ws.recv())["params"]["result"]
            for line in news["lines"]:
                print(line["text"])
            ended = news["ended"]
        print(await call("get_job_output", job))


asyncio.run(main(*sys.argv[1:]))

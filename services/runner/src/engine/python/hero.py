"""What a script and its runner have to say to each other."""

import json as _json
import os as _os
import threading as _threading

#: The job's arguments: its env_vars, each a text.
args = {}
#: The job's id, who asked for it, and where it belongs.
job_id = caller_id = context_id = ""

_MESSAGES = 3
_PIECE = 8_000
_lock = _threading.Lock()


def log(*values, sep=" "):
    """Writes a line to the job's log, beside those of print."""
    text = sep.join(map(str, values))
    for at in range(0, len(text) or 1, _PIECE):
        _tell({"log": text[at : at + _PIECE]})


def progress(fraction, text=""):
    """Tells how far the job is: a fraction from 0 to 1, and a few words."""
    fraction = float(fraction)
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction lies between 0 and 1, this is {fraction}")
    _tell({"progress": {"fraction": fraction, "text": str(text)[:_PIECE]}})


def result(value):
    """Gives the job a result beside its output: anything that JSON can say. The last one counts."""
    _tell({"result": value})


def _tell(message):
    line = _json.dumps(message, allow_nan=False).encode() + b"\n"
    with _lock:
        while line:
            line = line[_os.write(_MESSAGES, line) :]

"""Runs a job in this interpreter. HERO, the source of the module `hero`, is put before this text."""

import json
import os
import resource
import sys
import types

MESSAGES = 3
JOB = 4
NAME = "script.py"


def main():
    """Runs the job behind descriptor 4 and ends the process."""
    with open(JOB, "rb") as file:
        run(json.load(file))


def helper():
    """The module that scripts import as `hero`."""
    module = types.ModuleType("hero")
    exec(compile(HERO, "hero.py", "exec", dont_inherit=True), module.__dict__)
    sys.modules["hero"] = module
    return module


def run(job):
    """Runs a job as the main program of this process, which ends with it."""
    end(perform(job))


def perform(job):
    """Runs a job as the main program and says with which status it ends."""
    hero = sys.modules.get("hero") or helper()
    hero.args = job["args"]
    script = types.ModuleType("__main__")
    scope = script.__dict__
    for name in ("caller_id", "context_id", "job_id"):
        scope[name.upper()] = job[name]
        setattr(hero, name, job[name])
    scope.update(__file__=NAME, __builtins__=__builtins__, hero=hero)
    sys.modules["__main__"] = script
    sys.argv = [NAME]
    return status_of(job["script"], scope, hero)


def status_of(source, scope, hero):
    """Runs the source and says with which status it ends."""
    try:
        code = compile(source, NAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        # Not the script's to say by an exit status: it has not run yet.
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        place = f"line {line}, column {column}: " if line else ""
        hero._tell({"invalid": (place + str(getattr(error, "msg", None) or error))[:4000]})
        return 1
    try:
        exec(code, scope)
        return 0
    except SystemExit as error:
        return status_of_exit(error.code)
    except BaseException as error:
        tell(error, source)
        return 1


def status_of_exit(code):
    """The status of sys.exit(code)."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def tell(error, source):
    """Prints a traceback with the script's own lines only, each with its text."""
    import linecache
    import traceback

    linecache.cache[NAME] = (len(source), None, source.splitlines(True), NAME)
    traceback.print_exception(type(error), error, error.__traceback__.tb_next)


def end(status):
    """Ends the process as an interpreter would: threads first, then what asked to be called."""
    import atexit

    try:
        threading = sys.modules.get("threading")
        if threading and threading.active_count() > 1:
            threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = status or 1
    finally:
        part(status)


def part(status):
    """Says with which status this process ends, so that nobody waits until the kernel has cleared it away. One that has
    started others says nothing: its runner ends them first."""
    try:
        if not has_had_children():
            os.write(MESSAGES, b'{"ended":%d}\n' % status)
            for number in (1, 2, MESSAGES):
                os.close(number)
    finally:
        os._exit(status)


def has_had_children():
    """Whether this process has, or had, processes of its own."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt > 0
    return True

def _run_job():
    """Runs the job's script as __main__, so that it looks to the script as if it had been started itself."""
    import os
    import sys

    path = os.path.abspath("script.py")
    with open(path, "rb") as file:
        source = file.read()
    scope = sys.modules["__main__"].__dict__
    del scope["_run_job"]
    scope["__file__"] = path
    for name in ("CALLER_ID", "CONTEXT_ID", "JOB_ID"):
        scope[name] = os.environ[name]
    sys.argv = ["script.py"]
    try:
        code = compile(source, "script.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        # Not the script's to say by an exit status: it has not run yet.
        line = getattr(error, "lineno", None)
        column = getattr(error, "offset", None)
        place = f"line {line}, column {column}: " if line else ""
        with open(".invalid", "w", encoding="utf-8") as file:
            file.write(place + str(getattr(error, "msg", None) or error))
        sys.exit(1)
    try:
        exec(code, scope)
    except SystemExit:
        raise
    except BaseException:
        kind, error, trace = sys.exc_info()
        # Without the frame of this function: the script's own lines only.
        sys.excepthook(kind, error.with_traceback(trace.tb_next), trace.tb_next)
        sys.exit(1)


_run_job()

# Started once, with the text above before this. It forks a child for each job: the interpreter and what it has
# imported are there already. Each child puts its own layers of the sandbox on before it runs its job.

CONTROL = 3
MOST_BYTES = 64 << 10
# Output, error output, messages, job, file rules, control groups.
DESCRIPTORS = 8
# What children would otherwise import each for themselves.
PRELOADED = ["atexit", "linecache", "threading", "traceback"]

# Numbers of the kernel.
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP = 1, 4, 8, 22
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 36, 47
PR_CAP_AMBIENT_RAISE = 2
SECCOMP_MODE_FILTER = 2
CAPABILITIES_3 = 0x20080522
SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 445, 446
RULE_PATH_BENEATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3


class Server:
    """Forks children, ends them, and says how they ended."""

    def __init__(self, setup):
        import ctypes
        import gc
        import importlib
        import resource
        import signal
        import socket
        import struct

        for name in PRELOADED + setup["preload"]:
            importlib.import_module(name)
        self.pack = struct.pack

        self.setup, self.resource, self.signal = setup, resource, signal
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.ctypes = ctypes
        self.filter = self.program(bytes.fromhex(setup["filter"]))
        self.control = socket.socket(fileno=CONTROL)
        self.socket = socket
        self.pid = os.getpid()
        self.jobs = {}
        helper()
        # Orphans of a job come here, so that nothing is left of it in the table of processes.
        self.prctl(PR_SET_CHILD_SUBREAPER, 1)
        # Children share these pages for longer when nobody counts their objects.
        gc.collect()
        gc.freeze()

    def serve(self):
        """Works until the runner is gone."""
        import select

        wake, waker = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(waker, False)
        self.signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self.signal.signal(self.signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        self.inner = (wake, waker)
        self.say({"ready": True})
        while True:
            for fd, _ in poll.poll():
                if fd == wake:
                    drain(wake)
                    self.reap()
                elif not self.obey():
                    return

    def obey(self):
        """Does what the runner wants next; false when it is gone."""
        text, fds, _, _ = self.socket.recv_fds(self.control, MOST_BYTES, DESCRIPTORS)
        if not text:
            return False
        order = json.loads(text)
        if "kill" in order:
            pid = self.jobs.get(order["kill"])
            if pid:
                self.kill(pid)
            return True
        try:
            pid = os.fork()
        except OSError as error:
            self.say({"failed": order["start"], "error": str(error)})
        else:
            if pid == 0:
                self.become(order, fds)
            self.jobs[order["start"]] = pid
        for fd in fds:
            os.close(fd)
        return True

    def kill(self, pid):
        """Ends a child and all that it has started."""
        try:
            os.killpg(pid, self.signal.SIGKILL)
        except OSError:
            # It does not lead its group yet, so it has started nothing.
            try:
                os.kill(pid, self.signal.SIGKILL)
            except OSError:
                pass

    def reap(self):
        """Says which children have ended. Their number is theirs until the rest of their group is dead."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            job = next((job for job, pid in self.jobs.items() if pid == ended.si_pid), None)
            if job is not None:
                self.kill(ended.si_pid)
            _, status = os.waitpid(ended.si_pid, 0)
            if job is not None:
                del self.jobs[job]
                self.say({"ended": job, "status": status})

    def say(self, words):
        self.control.send(json.dumps(words).encode())

    def become(self, order, fds):
        """Turns this child into the process of a job. It does not come back."""
        try:
            self.confine(order, fds)
            with open(JOB, "rb") as file:
                job = json.load(file)
            os.environ.clear()
            os.environ.update(PATH=self.setup["path"], LANG="C.UTF-8")
            os.environ.update(job["args"])
            os.environ.update(HOME=order["home"], TMPDIR=order["home"])
            for name in ("caller_id", "context_id", "job_id"):
                os.environ[name.upper()] = job[name]
        except BaseException as error:
            os.write(2, f"the job's process could not be prepared: {error!r}\n".encode())
            os._exit(1)
        run(job)

    def confine(self, order, fds):
        """Puts the layers on, each while those before it still allow that."""
        os.setsid()
        self.signal.set_wakeup_fd(-1)
        self.signal.signal(self.signal.SIGCHLD, self.signal.SIG_DFL)
        self.control.detach()
        for fd in self.inner:
            os.close(fd)
        rest = fds[4:]
        rules = rest.pop(0) if order["rules"] else None
        for group in rest:
            os.write(group, b"0")
            os.close(group)
        place(fds[:4])
        os.chdir(order["home"])
        for kind, most in order["limits"]:
            kind = getattr(self.resource, "RLIMIT_" + kind)
            self.resource.setrlimit(kind, (most, most))
        if order["user"] is not None:
            self.become_user(order["user"])
        # A change of the user takes the wish back, so it is told after it.
        self.prctl(PR_SET_PDEATHSIG, int(self.signal.SIGKILL))
        if os.getppid() != self.pid:
            os._exit(1)
        if rules is not None:
            self.restrict(rules)
            os.close(rules)
        if self.filter:
            self.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self.filter)

    def become_user(self, user):
        kept = self.setup["kept"]
        self.prctl(PR_SET_KEEPCAPS, 1 if kept else 0)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        low, high = kept & 0xFFFFFFFF, kept >> 32
        sets = self.pack("6I", *[low] * 3, *[high] * 3)
        self.call(self.setup["capset"], self.pack("Ii", CAPABILITIES_3, 0), sets)
        for number in range(64):
            if kept >> number & 1:
                self.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
        # Its own entries in /proc are its own again.
        self.prctl(PR_SET_DUMPABLE, 1)

    def restrict(self, rules):
        itself = os.open("/proc/self", os.O_PATH)
        rule = self.pack("=Qi", READ_FILE | READ_DIR, itself)
        self.call(SYS_LANDLOCK_ADD_RULE, rules, RULE_PATH_BENEATH, rule, 0)
        os.close(itself)
        self.call(SYS_LANDLOCK_RESTRICT_SELF, rules, 0)

    def program(self, instructions):
        """The address of a filter, as the kernel wants it."""
        if not instructions:
            return None
        self.kept = self.ctypes.create_string_buffer(instructions, len(instructions))
        address = self.ctypes.addressof(self.kept)
        self.header = self.ctypes.create_string_buffer(self.pack("@HP", len(instructions) // 8, address))
        return self.ctypes.addressof(self.header)

    def prctl(self, *arguments):
        self.check(self.libc.prctl(*map(self.word, arguments), *[self.word(0)] * (5 - len(arguments))))

    def call(self, *arguments):
        self.check(self.libc.syscall(*map(self.word, arguments)))

    def word(self, value):
        return value if isinstance(value, bytes) else self.ctypes.c_long(value)

    def check(self, returned):
        if returned < 0:
            number = self.ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def place(fds):
    """Gives descriptors the numbers that a job knows them by: 1 to 4."""
    # First out of each other's way.
    import fcntl

    out_of_the_way = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds]
    for fd in fds:
        os.close(fd)
    for number, fd in enumerate(out_of_the_way, 1):
        os.dup2(fd, number)
        os.close(fd)


def drain(fd):
    """Empties a pipe that only wakes."""
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


Server(json.loads(sys.argv[1])).serve()

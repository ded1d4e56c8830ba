# Started once, with the text above before this. It keeps a few children ready: copies of this interpreter, with what
# it has imported, that have done all that can be done before their job is known. The runner's next order wakes one of
# them: it puts its own layers of the sandbox on and runs the job, and another takes its place.
#
# A job costs what its child touches of these pages. So a child does little, by the shortest way, and what it does was
# done here before: names are found, caches are filled, functions have their quick form.

import _signal
import atexit
import ctypes
import gc
import importlib
import linecache
import resource
import select
import signal
import socket
import struct
import threading
import traceback

CONTROL, ORDERS = 3, 4
MOST_BYTES = 64 << 10
# Output, error output, messages, job, file rules, control groups.
DESCRIPTORS = 8
# Who has taken which job.
TAKEN = struct.Struct("=iQ")
# Jobs that are to end as soon as somebody takes them: of more, the oldest have ended long ago.
MOST_DOOMED = 1024
# Milliseconds until a fork that has failed is tried again.
PAUSE = 100
# An interpreter gives a function its quick form after fewer calls.
REHEARSALS = 20

# Numbers of the kernel.
PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP = 1, 3, 4, 8, 22
PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 36, 47
PR_CAP_AMBIENT_RAISE = 2
SECCOMP_MODE_FILTER = 2
CAPABILITIES_3 = 0x20080522
SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 445, 446
RULE_PATH_BENEATH = 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3

libc = ctypes.CDLL(None, use_errno=True)
prctl, syscall = libc.prctl, libc.syscall
prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
syscall.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 4
syscall.restype = ctypes.c_long
decode = json.JSONDecoder().raw_decode


class Server:
    """Keeps children ready, ends them, and says how they ended."""

    def __init__(self, setup):
        for name in setup["preload"]:
            importlib.import_module(name)
        self.kept, self.capset, self.most_ready = setup["kept"], setup["capset"], setup["ready"]
        self.filter = self.program(bytes.fromhex(setup["filter"]))
        self.control = socket.socket(fileno=CONTROL)
        self.orders = socket.socket(fileno=ORDERS)
        self.space = socket.CMSG_SPACE(DESCRIPTORS * 4)
        self.pid = os.getpid()
        # Children that wait for a job, who has which job, and which one is to end once somebody has it.
        self.ready, self.jobs, self.doomed = set(), {}, {}
        self.pause = None
        self.wake, self.waker = pipe()
        self.taken, self.taker = pipe()
        # Orphans of a job come here, so that nothing is left of it in the table of processes.
        check(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        # Was for the start of this process; scripts have an environment of their own.
        os.environ.pop("LD_BIND_NOW", None)
        rehearse()
        # Children share these pages for longer when nobody counts their objects.
        gc.collect()
        gc.freeze()

    def serve(self):
        """Works until the runner is gone."""
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        for fd in (CONTROL, self.wake, self.taken):
            poll.register(fd, select.POLLIN)
        self.refill()
        self.say({"ready": True})
        while True:
            for fd, _ in poll.poll(self.pause):
                if fd == self.wake:
                    drain(fd)
                    self.reap()
                elif fd == self.taken:
                    self.hear()
                elif not self.obey():
                    return
            self.refill()

    def refill(self):
        """Forks until enough children are ready: several at a time, for a fork takes this process' pages away."""
        if len(self.ready) > self.most_ready // 2:
            return
        while len(self.ready) < self.most_ready:
            try:
                pid = os.fork()
            except OSError as error:
                if self.pause is None:
                    print(f"no further child can be had: {error}", file=sys.stderr)
                self.pause = PAUSE
                return
            if pid == 0:
                self.attend()
            self.ready.add(pid)
        self.pause = None

    def hear(self):
        """Notes who has taken which job."""
        while True:
            try:
                pid, job = TAKEN.unpack(os.read(self.taken, TAKEN.size))
            except BlockingIOError:
                return
            self.ready.discard(pid)
            self.jobs[job] = pid
            if self.doomed.pop(job, False):
                kill(pid)

    def obey(self):
        """Ends the job that the runner names; false when it is gone."""
        text = self.control.recv(MOST_BYTES)
        if not text:
            return False
        job = json.loads(text)["kill"]
        self.hear()
        if job in self.jobs:
            kill(self.jobs[job])
        else:
            self.doomed[job] = True
            if len(self.doomed) > MOST_DOOMED:
                del self.doomed[next(iter(self.doomed))]
        return True

    def reap(self):
        """Says which children have ended. Their number is theirs until the rest of their group is dead."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # It said what it took before it ended.
            self.hear()
            job = next((job for job, pid in self.jobs.items() if pid == ended.si_pid), None)
            if job is not None:
                kill(ended.si_pid)
            _, status = os.waitpid(ended.si_pid, 0)
            self.ready.discard(ended.si_pid)
            if job is not None:
                del self.jobs[job]
                self.say({"ended": job, "status": status})

    def say(self, words):
        self.control.send(json.dumps(words).encode())

    def attend(self):
        """A child: waits for an order and becomes the process of that job. It does not come back."""
        try:
            os.setsid()
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.close(self.wake)
            os.close(self.waker)
            os.close(self.taken)
            self.die_with_server()
            text, rights, _, _ = self.orders.recvmsg(MOST_BYTES, self.space, socket.MSG_CMSG_CLOEXEC)
            if not text:
                os._exit(0)
            order, _ = decode(text.decode())
            os.write(self.taker, TAKEN.pack(os.getpid(), order["start"]))
            os.close(self.taker)
            self.confine(order, struct.unpack(f"{len(rights[0][2]) // 4}i", rights[0][2]))
            job, _ = decode(os.read(JOB, os.fstat(JOB).st_size).decode())
            environ = os.environ
            for name, value in job["args"].items():
                environ[name] = value
            environ["HOME"] = environ["TMPDIR"] = order["home"]
            for name in ("caller_id", "context_id", "job_id"):
                environ[name.upper()] = job[name]
        except BaseException as error:
            os.write(2, f"the job's process could not be prepared: {error!r}\n".encode())
            os._exit(1)
        run(job)

    def confine(self, order, fds):
        """Puts the layers on, each while those before it still allow that."""
        at = 4
        rules = None
        if order["rules"]:
            rules, at = fds[at], at + 1
        for group in fds[at:]:
            os.write(group, b"0")
            os.close(group)
        # What these numbers were before is closed with this: the sockets among it.
        self.control.detach()
        self.orders.detach()
        for number in (1, 2, 3, 4):
            os.dup2(fds[number - 1], number)
            os.close(fds[number - 1])
        os.chdir(order["home"])
        for kind, most in order["limits"]:
            resource.setrlimit(kind, (most, most))
        if order["user"] is not None:
            self.become_user(order["user"])
        if rules is not None:
            self.restrict(rules)
            os.close(rules)
        if self.filter:
            check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, self.filter, 0, 0))

    def die_with_server(self):
        check(prctl(PR_SET_PDEATHSIG, _signal.SIGKILL, 0, 0, 0))
        if os.getppid() != self.pid:
            os._exit(1)

    def become_user(self, user):
        kept = self.kept
        check(prctl(PR_SET_KEEPCAPS, 1 if kept else 0, 0, 0, 0))
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        low, high = kept & 0xFFFFFFFF, kept >> 32
        sets = struct.pack("6I", low, low, low, high, high, high)
        check(syscall(self.capset, struct.pack("Ii", CAPABILITIES_3, 0), sets, 0, 0))
        if kept:
            for number in range(64):
                if kept >> number & 1:
                    check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0))
        # Its own entries in /proc are its own again.
        check(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
        # A change of the user takes the wish back.
        self.die_with_server()

    def restrict(self, rules):
        itself = os.open("/proc/self", os.O_PATH)
        rule = struct.pack("=Qi", READ_FILE | READ_DIR, itself)
        check(syscall(SYS_LANDLOCK_ADD_RULE, rules, RULE_PATH_BENEATH, rule, 0))
        os.close(itself)
        check(syscall(SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0, 0))

    def program(self, instructions):
        """The address of a filter, as the kernel wants it."""
        if not instructions:
            return 0
        self.instructions = ctypes.create_string_buffer(instructions, len(instructions))
        address = ctypes.addressof(self.instructions)
        self.header = ctypes.create_string_buffer(struct.pack("@HP", len(instructions) // 8, address))
        return ctypes.addressof(self.header)


def rehearse():
    """Does what children do where it changes nothing, so that they find it done."""
    # With other threads, what follows a fork is no rehearsal.
    is_alone = len(sys._current_frames()) == 1
    hero = helper()
    for _ in range(REHEARSALS):
        if is_alone:
            ctypes.pythonapi.PyOS_BeforeFork()
            ctypes.pythonapi.PyOS_AfterFork_Child()
        check(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
        syscall(SYS_LANDLOCK_RESTRICT_SELF, -1, 0, 0, 0)
        decode(json.dumps({"a": [["b", 1]], "c": "\u00e9", "d": None, "e": True}))
        TAKEN.pack(*TAKEN.unpack(bytes(TAKEN.size)))
        os.environ["REHEARSAL"] = ""
        del os.environ["REHEARSAL"]
        os.close(os.open("/proc/self", os.O_PATH))
        # Output goes nowhere yet.
        status_of("print(__name__)", {"__builtins__": __builtins__, "__name__": "__main__"}, hero)


def kill(pid):
    """Ends a child and all that it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        # It does not lead its group yet, so it has started nothing.
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def pipe():
    """A pipe whose reading end does not block."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def drain(fd):
    """Empties a pipe that only wakes."""
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


def check(returned):
    """Raises what a call of the kernel returned as an error."""
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


Server(json.loads(sys.argv[1])).serve()

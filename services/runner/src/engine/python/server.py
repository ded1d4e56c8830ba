# Started once, with the text above before this. It keeps a few children ready: copies of this interpreter, with what
# it has imported, that have done all that can be done before their job is known. The runner has a socket of each: it
# says first which layers of the sandbox a child is to put on, and then which job it has. Another takes its place.
#
# A job costs what its child touches of these pages. So a child does little, by the shortest way, and what it does was
# done here before: names are found, caches are filled, functions have their quick form.

# Those that nothing here uses are for the children, which would otherwise import them each for itself.
import _signal
import _socket
import atexit
import ctypes
import gc
import importlib
import linecache
import select
import signal
import struct
import threading
import traceback

CONTROL = 3
MOST_BYTES = 64 << 10
# Output, error output, messages, job; or file rules and control groups.
DESCRIPTORS = 8
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
        self.control = _socket.socket(fileno=CONTROL)
        self.space = _socket.CMSG_SPACE(DESCRIPTORS * 4)
        self.pid = os.getpid()
        # Children that wait for a job, and those that have one.
        self.ready, self.busy = set(), set()
        self.pause = None
        self.is_lame = False
        self.wake, self.waker = pipe()
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
        for fd in (CONTROL, self.wake):
            poll.register(fd, select.POLLIN)
        self.refill()
        while True:
            for fd, _ in poll.poll(self.pause):
                if fd == self.wake:
                    drain(fd)
                    self.reap()
                elif not self.obey():
                    return
            self.refill()

    def refill(self):
        """Forks a child if there are too few that are ready. One at a time, so that whoever waits for a word of this
        process gets it between two forks: as soon as a job is taken, while that job runs."""
        if len(self.ready) >= self.most_ready:
            # A child that ends or takes a job wakes this process.
            self.pause = None
            return
        if self.is_lame:
            self.is_lame, self.pause = False, PAUSE
            return
        try:
            ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
            pid = os.fork()
        except OSError as error:
            if self.pause != PAUSE:
                print(f"no further child can be had: {error}", file=sys.stderr)
            self.pause = PAUSE
            return
        if pid == 0:
            ours.close()
            self.attend(theirs)
        theirs.close()
        self.ready.add(pid)
        self.say({"ready": pid}, ours)
        ours.close()
        self.pause = 0

    def obey(self):
        """Hears all that the runner has said: who has got a job, and whom to end. False when the runner is gone."""
        while True:
            try:
                text = self.control.recv(MOST_BYTES, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            if not text:
                return False
            words = json.loads(text)
            if "taken" in words:
                pid = words["taken"]
                if pid in self.ready:
                    self.ready.discard(pid)
                    self.busy.add(pid)
            # The number is its own for as long as it is noted here.
            elif words["kill"] in self.ready or words["kill"] in self.busy:
                kill(words["kill"])

    def reap(self):
        """Says which children have ended. Their number is theirs until the rest of their group is dead."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # Whether it had a job was said before it ended.
            self.obey()
            pid = ended.si_pid
            is_ours = pid in self.ready or pid in self.busy
            if is_ours:
                kill(pid)
            _, status = os.waitpid(pid, 0)
            if is_ours:
                if pid in self.ready and status:
                    # It could not put its layers on, and the next one may not either.
                    self.is_lame = True
                self.ready.discard(pid)
                self.busy.discard(pid)
                self.say({"ended": pid, "status": status})

    def say(self, words, door=None):
        """Tells the runner, and gives it a socket."""
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", door.fileno()))] if door else []
        self.control.sendmsg([json.dumps(words).encode()], rights)

    def attend(self, orders):
        """A child: waits for an order and becomes the process of that job. It does not come back."""
        try:
            os.setsid()
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.close(self.wake)
            os.close(self.waker)
            self.die_with_server()
            dress, fds = self.receive(orders)
            self.confine(dress, fds)
            if not has_word(orders):
                rehearse_job()
            order, fds = self.receive(orders)
            os.close(orders.detach())
            # What these numbers were before is closed with this, the server's socket among it.
            self.control.detach()
            for number in (1, 2, 3, 4):
                os.dup2(fds[number - 1], number)
                os.close(fds[number - 1])
            for kind, most in order["limits"]:
                resource.setrlimit(kind, (most, most))
            job, _ = decode(os.read(JOB, os.fstat(JOB).st_size).decode())
            environ = os.environ
            for name, value in job["args"].items():
                environ[name] = value
            environ["HOME"] = environ["TMPDIR"] = dress["home"]
            for name in ("caller_id", "context_id", "job_id"):
                environ[name.upper()] = job[name]
        except BaseException as error:
            os.write(2, f"the job's process could not be prepared: {error!r}\n".encode())
            os._exit(1)
        run(job)

    def receive(self, orders):
        """What the runner says, with its descriptors. A child that nobody wants any more ends."""
        text, rights, _, _ = orders.recvmsg(MOST_BYTES, self.space, _socket.MSG_CMSG_CLOEXEC)
        if not text:
            os._exit(0)
        words, _ = decode(text.decode())
        fds = rights[0][2] if rights else b""
        return words, struct.unpack(f"{len(fds) // 4}i", fds)

    def confine(self, dress, fds):
        """Puts the layers on, each while those before it still allow that."""
        rules = fds[0] if dress["rules"] else None
        for group in fds[1:] if dress["rules"] else fds:
            os.write(group, b"0")
            os.close(group)
        os.chdir(dress["home"])
        for kind, most in dress["limits"]:
            resource.setrlimit(kind, (most, most))
        if dress["user"] is not None:
            self.become_user(dress["user"])
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


def has_word(orders):
    """Whether the runner has said something already."""
    try:
        orders.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True


def rehearse_job():
    """What a job costs is mostly the pages that its process touches for the first time: this touches them before there
    is one. Output goes nowhere yet."""
    job, _ = decode('{"args": {"REHEARSAL": ""}, "caller_id": "", "context_id": "", "job_id": "", "script": "print(1)"}')
    os.environ["REHEARSAL"] = ""
    del os.environ["REHEARSAL"]
    perform(job)
    has_had_children()


def rehearse():
    """Does what children do where it changes nothing, so that they find it done."""
    # With other threads, what follows a fork is no rehearsal.
    is_alone = len(sys._current_frames()) == 1
    for _ in range(REHEARSALS):
        if is_alone:
            ctypes.pythonapi.PyOS_BeforeFork()
            ctypes.pythonapi.PyOS_AfterFork_Child()
        check(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
        syscall(SYS_LANDLOCK_RESTRICT_SELF, -1, 0, 0, 0)
        decode(json.dumps({"a": [["b", 1]], "c": "\u00e9", "d": None, "e": True}))
        rehearse_job()
        for end in _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET):
            os.close(end.detach())
        os.close(os.open("/proc/self", os.O_PATH))


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


try:
    Server(json.loads(sys.argv[1])).serve()
except (BrokenPipeError, ConnectionResetError):
    # The runner went away in mid-sentence.
    pass

//! Scripts that mean harm. Each tries something that no script may do, is refused, and says so; good jobs are
//! served meanwhile. The numbers of system calls are those of x86-64.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hero_runner::{RunnerConfig, sandbox::Mode};
use serde_json::{Value, json};

use crate::{
    client::Client,
    cluster::{Cluster, Shape, until},
};

/// What each attack begins with.
const PRELUDE: &str = include_str!("attacks.py");
/// Of the directory of a job, in these stories.
const MAX_DIR_BYTES: u64 = 16 << 20;
/// Of a file.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Of a log.
const MAX_LOG_BYTES: usize = 1 << 20;

/// Attacks that are refused where they stand: all that they try is said to be kept out.
const REFUSED: &[(&str, &str)] = &[
    (
        "the runner's environment",
        "for pid in (args['RUNNER'], str(os.getppid()), '1'):\n\
         \x20   refused(pid, read, f'/proc/{pid}/environ')\n\
         if any(name.startswith(('CARGO', 'HERO')) for name in os.environ): print('GOT IN: environment')",
    ),
    (
        "files of the system",
        "for path in ('/etc/shadow', '/etc/sudoers', '/root/.bashrc', args['SECRET']): refused(path, read, path)\n\
         for path in ('/', '/root', '/home', '/tmp', '/var', args['OUTSIDE']): refused(path, os.listdir, path)\n\
         for path in ('/usr/evil', '/tmp/evil', '/dev/shm/evil', args['OUTSIDE'] + '/evil'):\n\
         \x20   refused(path, open, path, 'w')",
    ),
    (
        "another job's directory",
        "refused('list', os.listdir, args['VICTIM_HOME'])\n\
         refused('list all', os.listdir, os.path.dirname(args['VICTIM_HOME']))\n\
         refused('read', read, args['VICTIM_HOME'] + '/secret')\n\
         refused('write', open, args['VICTIM_HOME'] + '/evil', 'w')\n\
         refused('remove', os.unlink, args['VICTIM_HOME'] + '/secret')",
    ),
    (
        "the network and local sockets",
        "import socket\n\
         def tcp(): return socket.create_connection(('127.0.0.1', int(args['PORT'])), 2)\n\
         def unix(): s = socket.socket(socket.AF_UNIX); s.connect(args['REDIS'])\n\
         refused('tcp', tcp)\nrefused('redis', unix)\n\
         for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET):\n\
         \x20   refused(str(family), socket.socket, family, socket.SOCK_DGRAM)\n\
         refused('pair', socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)",
    ),
    (
        "signals and tracing",
        "for pid in (int(args['RUNNER']), os.getppid(), int(args['VICTIM_PID']), 1):\n\
         \x20   refused(f'kill {pid}', os.kill, pid, 9)\n\
         \x20   refused(f'ptrace {pid}', syscall, 101, 16, pid, 0, 0)\n\
         \x20   refused(f'memory {pid}', open, f'/proc/{pid}/mem', 'rb')\n\
         \x20   refused(f'limits {pid}', syscall, 302, pid, 7, 0, 0)\n\
         \x20   refused(f'processors {pid}', os.sched_setaffinity, pid, [0])\n\
         \x20   refused(f'priority {pid}', os.setpriority, os.PRIO_PROCESS, pid, 19)",
    ),
    (
        "system calls that no script needs",
        "calls = dict(mount=165, pivot_root=155, chroot=161, setns=308, unshare=272, bpf=321, io_uring_setup=425,\n\
         \x20   keyctl=250, add_key=248, userfaultfd=323, perf_event_open=298, open_by_handle_at=304, reboot=169,\n\
         \x20   init_module=175, kexec_load=246, swapon=167, settimeofday=164, sethostname=170, acct=163,\n\
         \x20   process_vm_readv=310, pidfd_getfd=438, memfd_create=319, shmget=29, msgget=68, fsopen=430, clone3=435)\n\
         for name, number in calls.items(): refused(name, syscall, number, 0, 0, 0, 0, 0)\n\
         refused('a user namespace', syscall, 56, 0x10000000 | 17, 0, 0, 0, 0)\n\
         refused('session', os.setsid)\nrefused('group', os.setpgid, 0, 0)",
    ),
    (
        "ways around by /proc and links",
        // A container engine may put an empty file over what nobody shall read.
        "def some_of(path):\n\
         \x20   if data := read(path): return data\n\
         \x20   raise OSError('it is empty')\n\
         for path in ('/proc/1/root/etc/shadow', '/proc/self/root/etc/shadow', '/proc/self/cwd/../../../etc/shadow',\n\
         \x20   f'/proc/{os.getppid()}/root/etc/shadow', f'/proc/{os.getppid()}/fd/0', '/proc/kcore',\n\
         \x20   '/proc/sysrq-trigger', '/proc/keys'):\n\
         \x20   refused(path, some_of, path)\n\
         refused('sysctl', open, '/proc/sys/kernel/core_pattern', 'w')\n\
         os.symlink('/etc/shadow', 'link')\nrefused('link', read, 'link')\n\
         os.symlink(args['OUTSIDE'], 'dir')\nrefused('dir', os.listdir, 'dir')\n\
         refused('hard link', os.link, args['SECRET'], 'hard')\n\
         refused('rename', os.rename, args['SECRET'], 'mine')\n\
         refused('device', os.mknod, 'sda', 0o60600, os.makedev(8, 0))",
    ),
    (
        "more rights",
        "if os.geteuid() == 0 and args['IS_ROOT'] == '1': print('GOT IN: root')\n\
         if os.geteuid() != 0: refused('setuid', os.setuid, 0)\n\
         for program in ('su', 'sudo', 'mount', 'newgrp', 'passwd'):\n\
         \x20   def start():\n\
         \x20       done = subprocess.run([program, '--version' if program == 'sudo' else '-'], stdin=subprocess.DEVNULL,\n\
         \x20           stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n\
         \x20       if done.returncode: raise OSError(done.stderr)\n\
         \x20       return done.stdout\n\
         \x20   if program != 'sudo': refused(program, start)\n\
         status = subprocess.run(['cat', '/proc/self/status'], stdout=subprocess.PIPE).stdout",
    ),
    (
        "other descriptors, other jobs' results",
        "for fd in range(5, 200): refused(str(fd), os.write, fd, b'{\"ended\": 0, \"status\": 0}')\n\
         for forged in (b'{\"ended\": 0, \"status\": 0}', b'{\"result\": 1, \"job_id\": \"' + args['VICTIM'].encode() + b'\"}'):\n\
         \x20   os.write(3, forged + b'\\n')\n\
         print(repr(sys.stdin.read()))",
    ),
    (
        "memory",
        "refused('at once', bytearray, 1 << 40)\n\
         def hoard():\n\
         \x20   kept = []\n\
         \x20   while True: kept.append(bytearray(64 << 20))\n\
         refused('bit by bit', hoard)",
    ),
    (
        "one large file",
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n\
         def fill():\n\
         \x20   with open('large', 'wb', buffering=0) as file:\n\
         \x20       while True: file.write(bytes(1 << 20))\n\
         refused('file', fill)",
    ),
];

fn config_of_attacked(config: &mut RunnerConfig) {
    config.python.slots = 6;
    config.limits.max_log_bytes = MAX_LOG_BYTES;
    config.sandbox.max_dir_bytes = MAX_DIR_BYTES;
    config.sandbox.max_file_bytes = MAX_FILE_BYTES;
    config.sandbox.max_memory_bytes = 256 << 20;
}

/// Calls for good jobs one after the other, until it is told to end.
struct GoodJobs {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl GoodJobs {
    fn start(client: Client) -> Self {
        let (is_over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (Arc::clone(&is_over), Arc::clone(&served));
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.call("run_job", json!(["print(6 * 7)", "Python"])).await, "42\n");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { is_over, served, task }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("good jobs go well");
        assert!(self.served.load(Ordering::Relaxed) > 10, "good jobs were starved");
    }
}

/// The log of a job so far.
async fn logs(client: &Client, id: &str) -> String {
    let answer = client.call("get_job_logs", json!([id])).await;
    answer["logs"].as_str().unwrap_or_default().to_owned()
}

/// A node under attack.
struct Story {
    client: Client,
    outside: tempfile::TempDir,
    _open: std::net::TcpListener,
    arguments: Value,
    victim: String,
}

impl Story {
    async fn begin(cluster: &Cluster) -> Self {
        let client = cluster.ws().await;
        let outside = tempfile::tempdir().expect("a directory");
        let secret = outside.path().join("secret");
        std::fs::write(&secret, "nobody's business").expect("a file");
        let victim = client
            .submit(json!({ "script_type": "Python", "timeout": 300, "script":
                "import os, time\nopen('secret', 'w').write('mine')\n\
                 print('home', os.getcwd(), os.getpid(), flush=True)\n\
                 while not os.path.exists('over'): time.sleep(0.05)" }))
            .await;
        let line = until("the victim runs", || async {
            let logs = logs(&client, &victim).await;
            logs.lines().find(|line| line.starts_with("home ")).map(str::to_owned)
        })
        .await;
        let words: Vec<_> = line.split(' ').collect();
        // Somebody who would take calls.
        let open = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = open.local_addr().expect("an address").port().to_string();
        let arguments = json!({
            "RUNNER": std::process::id().to_string(),
            "OUTSIDE": outside.path(),
            "SECRET": secret,
            "REDIS": cluster.redis.url().trim_start_matches("unix://"),
            "VICTIM": victim,
            "VICTIM_HOME": words[1],
            "VICTIM_PID": words[2],
            "PORT": port,
            "IS_ROOT": if rustix::process::geteuid().is_root() { "1" } else { "0" },
        });
        Self { client, outside, _open: open, arguments, victim }
    }

    async fn submit(&self, script: &str, timeout: u32) -> String {
        let script = format!("{PRELUDE}\n{script}\n");
        let job = json!({ "script_type": "Python", "script": script, "timeout": timeout, "env_vars": self.arguments });
        self.client.submit(job).await
    }

    async fn run(&self, script: &str, timeout: u32) -> Value {
        let id = self.submit(script, timeout).await;
        self.client.wait(&id).await
    }

    /// The victim has not noticed anything.
    async fn end(self) {
        let victim = self.client.call("get_job", json!([self.victim])).await;
        assert_eq!((&victim["status"], &victim["attempt"]), (&json!("Started"), &json!(1)), "{victim}");
        self.client.call("stop_job", json!([self.victim])).await;
        assert!(self.outside.path().join("secret").exists());
    }
}

async fn everything_is_tried(mode: fn(&mut RunnerConfig)) {
    let cluster = Cluster::with(Shape { runner: mode, ..Shape::default() }).await;
    let story = Story::begin(&cluster).await;
    let good = GoodJobs::start(cluster.ws().await);
    let mut broken = Vec::new();
    for (name, script) in REFUSED {
        let job = story.run(script, 60).await;
        let output = job["output"].as_str().unwrap_or_default();
        if job["status"] != "Finished" || output.contains("GOT IN") || !output.contains("kept out") {
            broken.push(format!("{name}: {}\n{output}", job["error"]));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    memory(&story).await;
    processes(&story).await;
    disk(&story).await;
    floods(&story).await;
    deafness(&story).await;
    links(&story).await;
    assert!(good.served() > 0);
    good.stop().await;
    story.end().await;
    cluster.stop().await;
}

/// Shared memory is no process' own: either it is not given, or the job is ended as a whole.
async fn memory(story: &Story) {
    let script = "import mmap\ndef share():\n    shared = mmap.mmap(-1, 1 << 31)\n\
                  \x20   for at in range(0, 1 << 31, 4096): shared[at] = 1\nrefused('shared', share)";
    let job = story.run(script, 60).await;
    let output = job["output"].as_str().unwrap_or_default();
    let is_refused = output.contains("kept out") && !output.contains("GOT IN");
    let is_ended = job["error"].as_str().is_some_and(|error| error.contains("max_memory_bytes"));
    assert!(is_refused || is_ended, "{job}");
}

/// Fork bombs, and processes that want to outlive their job.
async fn processes(story: &Story) {
    let bomb = story.run("while True:\n    try: os.fork()\n    except OSError: pass", 3).await;
    assert_eq!(bomb["error_kind"], "timeout", "{bomb}");
    let counted = story
        .run(
            "count = 0\ntry:\n    while count < 5000:\n        if os.fork() == 0: time.sleep(100)\n        count += 1\n\
             except OSError: pass\nprint(count)",
            60,
        )
        .await;
    let count: usize = counted["output"].as_str().unwrap_or_default().trim().parse().expect("a number");
    assert!(count > 0 && count < 1_000, "{counted}");
    let daemons = story
        .run(
            "for _ in range(3):\n    if os.fork() == 0:\n        if os.fork() == 0:\n\
             \x20           print(os.getpid(), flush=True)\n            os.close(1); os.close(2); time.sleep(1000)\n\
             \x20       os._exit(0)\nos.wait(); os.wait(); os.wait(); time.sleep(0.5)",
            60,
        )
        .await;
    let pids: Vec<&str> = daemons["output"].as_str().unwrap_or_default().lines().collect();
    assert_eq!(pids.len(), 3, "{daemons}");
    for pid in pids {
        until("a daemon is dead", || async { (!is_alive(pid)).then_some(()) }).await;
    }
}

/// Whether a process lives; a zombie does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn disk(story: &Story) {
    let script = "n = 0\nwhile True:\n    open(f'file{n % 1000}', 'wb').write(bytes(1 << 20))\n    n += 1";
    let job = story.run(script, 60).await;
    assert!(job["error"].as_str().unwrap_or_default().contains("max_dir_bytes"), "{job}");
}

/// A flooded log is cut with a line that says so.
async fn floods(story: &Story) {
    let id = story.submit("for n in range(40_000): hero.log('x' * 100)", 60).await;
    let job = story.client.wait(&id).await;
    assert_eq!(job["status"], "Finished", "{job}");
    let logs = logs(&story.client, &id).await;
    assert!(logs.len() < MAX_LOG_BYTES + (64 << 10), "{}", logs.len());
    let last = logs.lines().last().unwrap_or_default();
    assert!(last.contains("bytes"), "{last}");
}

/// A script that does not hear SIGTERM is stopped within a second of the order.
async fn deafness(story: &Story) {
    let script = "import signal\nfor number in range(1, 65):\n    try: signal.signal(number, signal.SIG_IGN)\n\
                  \x20   except (OSError, ValueError): pass\nos.fork()\nprint('deaf', flush=True)\nwhile True: pass";
    let id = story.submit(script, 60).await;
    until("it is deaf", || async { logs(&story.client, &id).await.contains("deaf").then_some(()) }).await;
    let begun = Instant::now();
    story.client.call("stop_job", json!([id])).await;
    let job = story.client.wait(&id).await;
    assert_eq!(job["error_kind"], "stopped", "{job}");
    // A second is promised; the machine of a test may be busy.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// The runner removes a job's directory, and nothing that its links lead to.
async fn links(story: &Story) {
    let precious = story.outside.path().join("precious");
    std::fs::create_dir(&precious).expect("a directory");
    std::fs::write(precious.join("file"), "x").expect("a file");
    let job =
        story.run("os.symlink(args['OUTSIDE'] + '/precious', 'link')\nprint(os.getcwd(), end='')", 60).await;
    let home = job["output"].as_str().unwrap_or_default().to_owned();
    assert!(!home.is_empty(), "{job}");
    until("the directory is gone", || async { (!Path::new(&home).exists()).then_some(()) }).await;
    assert!(precious.join("file").exists());
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn no_attack_gets_in_with_a_required_sandbox() {
    everything_is_tried(|config| {
        config_of_attacked(config);
        assert_eq!(config.sandbox.mode, Mode::Required, "it is the default");
    })
    .await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test(flavor = "multi_thread")]
async fn no_attack_gets_in_with_a_best_effort_sandbox() {
    everything_is_tried(|config| {
        config_of_attacked(config);
        config.sandbox.mode = Mode::BestEffort;
        // Without the warm interpreter, too.
        config.python.warm = false;
        // Nor with the users of the other story's runner.
        config.sandbox.first_user = 61_000;
        config.sandbox.users = 100;
    })
    .await;
}

//! One running server: started, signalled and ended by the process id we got when we started it.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::{poll_until, Error};

const FAST_SHUTDOWN: Duration = Duration::from_secs(30);
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(10);

/// A postmaster that this process started and has not yet waited for, so its process id is still its own.
pub(crate) struct Postmaster(Child);

impl Postmaster {
    /// Starts `command`. Unless `detached`, the server ends with this process, however that ends.
    pub(crate) fn spawn(mut command: Command, detached: bool) -> Result<Self, Error> {
        let child = if detached {
            command.process_group(0).spawn()
        } else {
            spawn_with_keeper(command)
        };
        child
            .map(Postmaster)
            .map_err(Error::while_doing("cannot start the server"))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Fast shutdown; where that does not come to its end, an immediate one, and `Err` says so.
    pub(crate) fn stop(mut self) -> Result<(), Error> {
        self.signal(Signal::SIGINT);
        if self.ends_within(FAST_SHUTDOWN) {
            return Ok(());
        }
        self.signal(Signal::SIGQUIT);
        if !self.ends_within(IMMEDIATE_SHUTDOWN) {
            self.kill_tree();
        }
        Err(Error::new(format!(
            "the server did not stop within {FAST_SHUTDOWN:?} of a fast shutdown; it was ended by force"
        )))
    }

    /// SIGKILL to the postmaster and all its children, as a machine that loses its power would.
    pub(crate) fn kill_tree(mut self) {
        // Stopped first, so that it starts no child that we do not see.
        self.signal(Signal::SIGSTOP);
        let children = self.children();
        self.signal(Signal::SIGKILL);
        for child in &children {
            send(*child, Signal::SIGKILL);
        }
        let _ = self.0.wait();
        // A new postmaster refuses the data directory while one of them still has its shared memory.
        poll_until(IMMEDIATE_SHUTDOWN, || {
            children
                .iter()
                .all(|child| !is_running(*child))
                .then_some(())
        });
    }

    /// The process ids of its backends and workers.
    pub(crate) fn children(&self) -> HashSet<i32> {
        let Ok(processes) = fs::read_dir("/proc") else {
            return HashSet::new();
        };
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| stat(*pid).is_some_and(|(_, parent)| parent == self.pid()))
            .collect()
    }

    fn ends_within(&mut self, timeout: Duration) -> bool {
        poll_until(timeout, || self.ended()).is_some()
    }

    fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }
}

/// Sends `signal`; a process that is already gone is as good as signalled.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether there is such a process, and it is not a zombie.
pub(crate) fn is_running(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// State and parent of a process, from `/proc/<pid>/stat`: `pid (name) state parent …`.
fn stat(pid: i32) -> Option<(char, i32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = line.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some((state, parent))
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Spawns from a thread that lives as long as this process does: the kernel sends the parent-death signal when the
/// *thread* that spawned ends, and a test's own thread ends with the test.
fn spawn_with_keeper(command: Command) -> std::io::Result<Child> {
    static KEEPER: OnceLock<Sender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                let _ = reply.send(spawn_tied(&mut command));
            }
        });
        orders
    });
    let gone = || std::io::Error::other("the thread that starts servers is gone");
    let (reply, answer) = mpsc::channel();
    keeper.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// The child gets SIGQUIT, an immediate shutdown, when the thread that runs this ends.
fn spawn_tied(command: &mut Command) -> std::io::Result<Child> {
    // SAFETY: between fork and exec the closure makes one system call; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGQUIT).map_err(std::io::Error::from));
    }
    command.spawn()
}

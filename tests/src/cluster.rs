//! The one fixture: a PostgreSQL cluster with a data directory, a socket directory and a port of its own.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use postgres::{Client, Config, NoTls};
use tempfile::TempDir;

use crate::kept::Kept;
use crate::owner::Owner;
use crate::postmaster::{self, Postmaster};
use crate::tools::{self, ToolOutput};
use crate::{places, poll_until, Error, Listener};

const SUPERUSER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOG_TAIL_LINES: usize = 60;

/// What the tests need and the server's own defaults do not give. Given settings come after these and win.
const SETTINGS: [(&str, &str); 8] = [
    // Reached through its socket directory alone, which nobody else may enter: authentication can be `trust`.
    ("listen_addresses", ""),
    // A killed server still finds its files whole; only a machine's crash would lose them.
    ("fsync", "off"),
    ("max_prepared_transactions", "20"),
    // Each database has a worker of its own.
    ("max_worker_processes", "100"),
    // What is heard are alerts; the tests of heartbeats set it themselves.
    ("cloudwalk_monitor.heartbeat_interval", "0"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %b %q%u@%d "),
];

/// How a cluster is to be started.
#[derive(Debug, Default, Clone, Copy)]
pub struct Options<'a> {
    /// Lines of `postgresql.conf`; the last of a name wins.
    pub settings: &'a [(&'a str, &'a str)],
    /// Whether the server may outlive this process; see [`Cluster::keep_running`].
    pub detached: bool,
}

/// A running cluster. Dropping it stops the server and removes its files.
pub struct Cluster {
    /// Removed at the end unless `TESTBED_KEEP` is set. `data` and `log` are inside.
    home: PathBuf,
    /// Apart and short: a socket's path may have 107 bytes.
    socket_dir: PathBuf,
    port: u16,
    programs: PathBuf,
    owner: Owner,
    detached: bool,
    /// `None` while stopped.
    server: Mutex<Option<Postmaster>>,
}

impl Cluster {
    /// A new cluster with the settings that the tests want.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A new cluster with `settings` in its `postgresql.conf`.
    #[track_caller]
    pub fn start_with(settings: &[(&str, &str)]) -> Self {
        let options = Options {
            settings,
            detached: false,
        };
        Self::launch(options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Cluster::start_with`], for callers that do more with an error than to fail.
    pub fn launch(options: Options) -> Result<Self, Error> {
        let cluster = Self::prepare(options.detached)?;
        cluster.run_server_program(cluster.command("initdb").args([
            "--no-sync",
            "--no-locale",
            "--encoding=UTF8",
            "--auth=trust",
            "--username",
            SUPERUSER,
            "--pgdata",
            &cluster.data_dir().to_string_lossy(),
        ]))?;
        cluster.configure(&SETTINGS)?;
        cluster.configure(options.settings)?;
        cluster.launch_server()?;
        Ok(cluster)
    }

    /// A new hot standby of this cluster, streaming from it, with `settings` besides those of its primary.
    #[track_caller]
    pub fn start_standby(&self, settings: &[(&str, &str)]) -> Cluster {
        let build = || {
            let standby = Self::prepare(false)?;
            let mut backup = standby.command("pg_basebackup");
            self.aim(&mut backup);
            backup.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync"]);
            backup.args(["--write-recovery-conf", "--pgdata"]);
            standby.run_server_program(backup.arg(standby.data_dir()))?;
            standby.configure(settings)?;
            standby.launch_server()?;
            Ok(standby)
        };
        build().unwrap_or_else(|error: Error| panic!("{error}"))
    }

    /// The directories and the port of a cluster that has no data yet.
    fn prepare(detached: bool) -> Result<Self, Error> {
        let owner = Owner::find()?;
        let home = directory("cluster-", &places::clusters_directory(&owner)?, &owner)?;
        let socket_dir = directory("pg-", Path::new("/tmp"), &owner)?;
        let programs = places::server_programs(&owner, &home.path().join("server"))?;
        Ok(Cluster {
            port: free_port()?,
            home: home.keep(),
            socket_dir: socket_dir.keep(),
            programs,
            owner,
            detached,
            server: Mutex::new(None),
        })
    }

    /// Appends to `postgresql.conf`, after which this cluster's own port and socket directory come again: a
    /// standby has its primary's file.
    fn configure(&self, settings: &[(&str, &str)]) -> Result<(), Error> {
        let path = self.data_dir().join("postgresql.conf");
        let own = [
            ("port", self.port.to_string()),
            (
                "unix_socket_directories",
                self.socket_dir().to_string_lossy().into_owned(),
            ),
        ];
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let lines: String = settings
            .iter()
            .copied()
            .chain(own)
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(lines.as_bytes()))
            .map_err(Error::while_doing(format!(
                "cannot write {}",
                path.display()
            )))
    }

    fn launch_server(&self) -> Result<(), Error> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data_dir());
        self.log_output_of(&mut command)?;
        let mut server = Postmaster::spawn(command, self.detached)?;
        let mut answer = Err(Error::new(format!(
            "the server did not answer within {START_TIMEOUT:?}"
        )));
        let done = poll_until(START_TIMEOUT, || {
            if let Some(status) = server.ended() {
                answer = Err(Error::new(format!("the server ended at once ({status})")));
                return Some(());
            }
            answer = match self.try_connect_as(SUPERUSER, SUPERUSER) {
                Ok(_) => Ok(()),
                Err(error) => Err(Error::while_doing("the server does not let us in")(error)),
            };
            answer.is_ok().then_some(())
        });
        *self.server() = Some(server);
        match answer {
            Ok(()) if done.is_some() => Ok(()),
            Ok(()) | Err(_) => answer.map_err(|error| self.with_log_tail(error)),
        }
    }

    // ---- talking to it ----

    /// A client connection of the superuser to the database `postgres`.
    #[track_caller]
    pub fn connect(&self) -> Client {
        self.connect_to(SUPERUSER)
    }

    /// A client connection of the superuser to `database`.
    #[track_caller]
    pub fn connect_to(&self, database: &str) -> Client {
        self.connect_as(SUPERUSER, database)
    }

    /// A client connection of `user` to `database`; no password is asked for.
    #[track_caller]
    pub fn connect_as(&self, user: &str, database: &str) -> Client {
        self.try_connect_as(user, database)
            .unwrap_or_else(|error| panic!("{user} cannot connect to {database}: {error}"))
    }

    /// As [`Cluster::connect_as`], for connections that may be refused.
    pub fn try_connect_as(&self, user: &str, database: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host_path(self.socket_dir())
            .port(self.port)
            .user(user)
            .dbname(database)
            .application_name("testbed")
            .connect(NoTls)
    }

    /// Creates an empty database.
    #[track_caller]
    pub fn create_database(&self, name: &str) {
        let quoted = name.replace('"', "\"\"");
        self.connect()
            .batch_execute(&format!("CREATE DATABASE \"{quoted}\""))
            .unwrap_or_else(|error| panic!("cannot create database {name}: {error}"));
    }

    /// A [`Listener`] on `channel` of `database`.
    #[track_caller]
    pub fn listen(&self, database: &str, channel: &str) -> Listener {
        Listener::new(self.connect_to(database), channel).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs `script` in `psql`, without the user's own settings, up to the first error.
    #[track_caller]
    pub fn sql(&self, database: &str, script: &str) -> ToolOutput {
        let mut psql = self.tool("psql");
        psql.args([
            "--no-psqlrc",
            "--set=ON_ERROR_STOP=1",
            "--dbname",
            database,
            "--file=-",
        ]);
        tools::run(&mut psql, script)
    }

    /// Runs `psql` with `args`.
    #[track_caller]
    pub fn psql(&self, args: &[&str]) -> ToolOutput {
        tools::run(self.tool("psql").arg("--no-psqlrc").args(args), "")
    }

    /// Runs `pg_dump` with `args`; the dump is on the standard output.
    #[track_caller]
    pub fn pg_dump(&self, args: &[&str]) -> ToolOutput {
        tools::run(self.tool("pg_dump").args(args), "")
    }

    /// Runs another client program of the server's with `args`.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> ToolOutput {
        tools::run(self.tool(program).args(args), "")
    }

    /// Any client program of the server's, aimed at this cluster's database `postgres` as superuser.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        clean_environment(&mut command);
        self.aim(&mut command);
        command
    }

    fn aim(&self, command: &mut Command) {
        command
            .env("PGHOST", self.socket_dir())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", SUPERUSER);
    }

    // ---- stopping and starting it ----

    /// Stops the server as an administrator does (fast shutdown); the test fails if it does not stop in time.
    #[track_caller]
    pub fn stop(&self) {
        let server = self.running().take();
        server
            .map_or(Ok(()), Postmaster::stop)
            .map_err(|error| self.with_log_tail(error))
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts the server again on the same data, after [`Cluster::stop`] or [`Cluster::kill9_postmaster_tree`].
    #[track_caller]
    pub fn start_again(&self) {
        assert!(self.server().is_none(), "the server is running");
        self.launch_server()
            .unwrap_or_else(|error| panic!("{error}"));
    }

    /// [`Cluster::stop`], then [`Cluster::start_again`].
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// SIGKILL to the postmaster and all its children, as a crash of the machine would; then [`Cluster::start_again`].
    #[track_caller]
    pub fn kill9_postmaster_tree(&self) {
        if let Some(server) = self.running().take() {
            server.kill_tree();
        }
    }

    /// SIGKILL to one backend or worker of this server, upon which the server restarts itself.
    #[track_caller]
    pub fn kill9(&self, pid: i32) {
        self.signal(pid, Signal::SIGKILL);
    }

    /// SIGSTOP to one backend or worker of this server: it does nothing more until it is killed or thawed.
    #[track_caller]
    pub fn freeze(&self, pid: i32) {
        self.signal(pid, Signal::SIGSTOP);
    }

    /// SIGCONT to a process that was frozen.
    #[track_caller]
    pub fn thaw(&self, pid: i32) {
        self.signal(pid, Signal::SIGCONT);
    }

    /// Freezes a process for a while; something else may have ended it by then.
    #[track_caller]
    pub fn freeze_for(&self, pid: i32, time: Duration) {
        self.freeze(pid);
        std::thread::spawn(move || {
            std::thread::sleep(time);
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGCONT);
        });
    }

    #[track_caller]
    fn signal(&self, pid: i32, signal: Signal) {
        let server = self.running();
        let ours = server.as_ref().is_some_and(|s| s.children().contains(&pid));
        assert!(ours, "process {pid} is no child of this server");
        postmaster::send(pid, signal);
    }

    /// Leaves the server running when this process ends; it must have been started `detached`.
    pub fn keep_running(self) -> Kept {
        assert!(
            self.detached,
            "only a detached server can outlive this process"
        );
        let pid = self.running().take().map_or(0, |server| server.pid());
        let kept = Kept {
            pid,
            port: self.port,
            home: self.home.clone(),
            socket_dir: self.socket_dir.clone(),
            programs: self.programs.clone(),
        };
        // Drop would remove the files.
        std::mem::forget(self);
        kept
    }

    // ---- looking at it ----

    /// All that the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// The port, which names the socket; TCP is off unless a test sets `listen_addresses`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the server's socket.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The directory of the server's programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The postmaster's process id; the test fails if the server is not running.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.running().as_ref().map_or(0, Postmaster::pid)
    }

    // ---- inside ----

    fn server(&self) -> MutexGuard<'_, Option<Postmaster>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn running(&self) -> MutexGuard<'_, Option<Postmaster>> {
        let server = self.server();
        assert!(server.is_some(), "the server is not running");
        server
    }

    fn log_path(&self) -> PathBuf {
        self.home.join("log")
    }

    fn log_output_of(&self, command: &mut Command) -> Result<(), Error> {
        let path = self.log_path();
        let open = || -> std::io::Result<(File, File)> {
            let log = OpenOptions::new().create(true).append(true).open(&path)?;
            Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(Error::while_doing(format!(
            "cannot open {}",
            path.display()
        )))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        Ok(())
    }

    /// A server program, to be run as the server's user.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        clean_environment(&mut command);
        self.owner.run(&mut command);
        command.current_dir(&self.home);
        command
    }

    /// Runs a program that makes the data directory.
    fn run_server_program(&self, command: &mut Command) -> Result<(), Error> {
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(Error::while_doing(format!("cannot run {command:?}")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::new(format!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )))
    }

    fn with_log_tail(&self, error: Error) -> Error {
        Error::new(format!("{error}\nthe server's log:\n{}", self.log_tail()))
    }

    /// Stops the server and removes the files, without a panic whatever happens.
    pub(crate) fn tear_down(&self) {
        if let Some(server) = self.server().take() {
            if let Err(error) = server.stop() {
                eprintln!("{}", self.with_log_tail(error));
            }
        }
        if std::env::var_os("TESTBED_KEEP").is_some() {
            eprintln!("kept: {}", self.home.display());
            return;
        }
        for directory in [&self.home, &self.socket_dir] {
            if let Err(error) = fs::remove_dir_all(directory) {
                eprintln!("cannot remove {}: {error}", directory.display());
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log ends with:\n{}", self.log_tail());
        }
        self.tear_down();
    }
}

/// A new directory that only `owner` (and root) may enter.
fn directory(prefix: &str, inside: &Path, owner: &Owner) -> Result<TempDir, Error> {
    let made = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir_in(inside)
        .map_err(Error::while_doing(format!(
            "cannot make a directory in {}",
            inside.display()
        )))?;
    owner.give(made.path())?;
    Ok(made)
}

/// A port nobody listens on now. Without TCP nothing can take it from us later: our socket directory is our own.
fn free_port() -> Result<u16, Error> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(Error::while_doing("cannot find a free port"))
}

/// Nothing from the caller's environment changes what the server says or whom a client talks to.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    // The extension would put a backtrace into every error's DETAIL.
    command.env_remove("RUST_BACKTRACE");
    command.env("LC_ALL", "C.UTF-8");
}

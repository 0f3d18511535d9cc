//! A real Redis server for one test, on a free port of the loopback interface.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// Ends with the test.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    args: Vec<String>,
    dir: tempfile::TempDir,
}

impl RedisServer {
    pub fn start(args: &[&str]) -> Self {
        let mut server = Self {
            child: None,
            port: 0,
            args: args.iter().map(ToString::to_string).collect(),
            dir: tempfile::tempdir().unwrap(),
        };
        // The port is free when it is asked for and may be taken a moment later: then another one is tried.
        for _ in 0..10 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.run() {
                return server;
            }
        }
        panic!("redis-server started on none of ten free ports");
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A plain connection, to look at what is stored and to change it.
    pub fn connect(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// An empty server on the same port.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.run(), "redis-server did not start again on port {}", self.port);
    }

    /// It keeps its connections and answers nothing.
    pub fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("the server runs"))
    }

    /// Whether the server came up and accepts connections.
    fn run(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        // It tells who subscribes of every key that is set.
        command.args(["--notify-keyspace-events", "E$"]);
        command.args(["--appendonly", "no", "--dir"]).arg(self.dir.path()).args(&self.args);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| {
                panic!("this test needs redis-server (apt-get install redis-server): {error}")
            });
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        let is_up =
            log.by_ref().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        self.child = Some(child);
        if !is_up {
            self.kill();
        }
        // Somebody must read on, or the server would block once the pipe is full.
        std::thread::spawn(move || log.for_each(drop));
        is_up
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

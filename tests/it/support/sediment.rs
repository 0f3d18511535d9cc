//! The built binary, started and stopped as a person would.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

pub const USER: &str = "test-access";
pub const PASSWORD: &str = "test-secret-key";
/// Far above anything that is not stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// `sediment` with the arguments, knowing nothing of this environment's settings. `SEDIMENT_TEST_BIN` names another
/// binary than the one built with the tests, such as a release.
pub fn command(data: &Path, args: &[&str]) -> Command {
    let built = env!("CARGO_BIN_EXE_sediment");
    let mut command = Command::new(std::env::var_os("SEDIMENT_TEST_BIN").unwrap_or_else(|| built.into()));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SEDIMENT_") {
            command.env_remove(name);
        }
    }
    command.arg("--data").arg(data).args(args).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub fn run(data: &Path, args: &[&str]) -> Output {
    command(data, args).output().unwrap()
}

/// Asserts a refusal: the exit code, and one line on standard error, which is returned.
pub fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "one clear line: {said}");
    lines[0].to_owned()
}

pub struct Sediment {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    /// `http://address:port`
    pub s3: String,
    pub admin: String,
}

impl Sediment {
    /// Serves on free ports with the tests' credentials; returns when it is ready.
    pub fn serve(data: &Path, args: &[&str]) -> Self {
        let mut command = command(data, &["serve"]);
        command.env("SEDIMENT_ROOT_USER", USER).env("SEDIMENT_ROOT_PASSWORD", PASSWORD);
        Self::start(command, args)
    }

    /// As [`Self::serve`], from a command that says `serve` already.
    pub fn start(command: Command, args: &[&str]) -> Self {
        let mut this = Self::spawn(command, args);
        let serving = this.wait_for("serving");
        let text = |name: &str| serving[name].as_str().unwrap().to_owned();
        (this.s3, this.admin) = (text("s3"), text("admin"));
        this
    }

    /// As [`Self::start`], without waiting for anything.
    pub fn spawn(mut command: Command, args: &[&str]) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let (s3, admin) = (String::new(), String::new());
        Self { child, log, seen: Vec::new(), s3, admin }
    }

    /// The next line of the log with that message.
    pub fn wait_for(&mut self, message: &str) -> Value {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        parsed(&self.wait_until(message, |line| parsed(line)["message"] == message))
    }

    /// The next line on standard error that holds the text.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        self.wait_until(text, |line| line.contains(text))
    }

    fn wait_until(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        loop {
            let Ok(line) = self.log.recv_timeout(PATIENCE) else {
                let _ = self.child.kill();
                panic!("no `{what}` in the log:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if is_it(&line) {
                return line;
            }
        }
    }

    /// Whether it got as far as to serve; if not, it has ended.
    pub fn serves(&mut self) -> bool {
        let is_serving = |line: &str| {
            let said = serde_json::from_str::<Value>(line).unwrap_or_default();
            (said["message"] == "serving").then_some(said)
        };
        while let Some(line) = self.next_line(PATIENCE) {
            if let Some(said) = is_serving(&line) {
                let text = |name: &str| said[name].as_str().unwrap().to_owned();
                (self.s3, self.admin) = (text("s3"), text("admin"));
                return true;
            }
        }
        assert!(self.has_ended(), "neither serves nor ends:\n{}", self.seen.join("\n"));
        false
    }

    /// Whether it says, or has said, a line on standard error that begins so, before it ends and within `patience`.
    pub fn says(&mut self, beginning: &str, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let is_it = |line: &String| line.starts_with(beginning);
        let mut is_said = self.seen.iter().any(is_it);
        while !is_said {
            let Some(line) = self.next_line(until.saturating_duration_since(Instant::now())) else { break };
            is_said = is_it(&line);
        }
        is_said
    }

    /// `None`: it has ended, or said nothing for so long.
    fn next_line(&mut self, patience: Duration) -> Option<String> {
        match self.log.recv_timeout(patience) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => None,
        }
    }

    pub fn has_ended(&mut self) -> bool {
        // Its standard error closes a moment before.
        let until = Instant::now() + PATIENCE;
        let is_closed = |log: &Receiver<String>| {
            matches!(log.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
        };
        loop {
            match self.child.try_wait().unwrap() {
                Some(_) => return true,
                None if !is_closed(&self.log) || Instant::now() > until => return false,
                None => std::thread::yield_now(),
            }
        }
    }

    /// What it has said so far.
    pub fn said(&mut self) -> String {
        self.seen.extend(self.log.try_iter());
        self.seen.join("\n")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it printed on standard output, once it has ended.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (self.child.wait().unwrap(), out)
    }

    /// SIGTERM, and a clean end. Returns what it printed on standard output.
    pub fn stop(self) -> String {
        self.stop_with_log().0
    }

    /// As [`Self::stop`]; also returns the whole log.
    pub fn stop_with_log(mut self) -> (String, String) {
        self.terminate();
        let (status, out) = self.wait();
        // Ends when standard error does.
        self.seen.extend(self.log.iter());
        let log = self.seen.join("\n");
        assert!(status.success(), "{status}:\n{log}");
        (out, log)
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn client(&self) -> aws_sdk_s3::Client {
        self.client_with(PASSWORD)
    }

    /// A client that signs with another secret.
    pub fn client_with(&self, password: &str) -> aws_sdk_s3::Client {
        let keys = aws_sdk_s3::config::Credentials::new(USER, password, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .endpoint_url(&self.s3)
            .credentials_provider(keys)
            .force_path_style(true)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// Status and body of a GET at the admin listener.
    pub fn admin_get(&self, path: &str) -> (u16, String) {
        let address = self.admin.strip_prefix("http://").unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = exchange(address, request.as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Sediment {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends bytes and reads until the other side closes.
pub fn exchange(address: &str, request: &[u8]) -> String {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

//! Talking to the server that holds the data directory: where it is, and the verbs that it does for us.

use super::data_dir::DataDir;
use super::error::{AppError, Exit};
use super::private_file;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

const NAME: &str = "run.json";

/// `run.json`, mode 0600: written by a server when it is ready, removed when it stops.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) s3: String,
    pub(super) admin: SocketAddr,
    /// For the admin API.
    pub(super) token: String,
}

impl Running {
    pub(super) fn write(&self, data: &DataDir) -> io::Result<()> {
        private_file::write(&data.join(NAME), (serde_json::json!(self).to_string() + "\n").as_bytes())
    }

    pub(super) fn remove(data: &Path) {
        let _ = std::fs::remove_file(data.join(NAME));
    }

    /// The server that holds `data`, after its lock was found taken.
    pub(super) fn find(data: &Path, in_use: &AppError) -> Result<Self, AppError> {
        let text = std::fs::read(data.join(NAME)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).ok_or_else(|| {
            let message = format!("{in_use} (its run.json cannot be read, so it cannot be asked)");
            AppError::new(Exit::InUse, message)
        })
    }

    /// One request to the admin API.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<serde_json::Value, AppError> {
        let answered = self.exchange(method, path);
        let answer = answered.map_err(|error| AppError::failure("cannot ask the running server", error))?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let is_ok = head.split(' ').nth(1) == Some("200");
        let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        if is_ok {
            return Ok(value);
        }
        let why = value.get("error").and_then(|why| why.as_str()).unwrap_or("it gave no reason");
        Err(AppError::failure("the running server refused", why))
    }

    /// HTTP/1.1 by hand: one short request, an answer of known length, the connection closed behind it.
    fn exchange(&self, method: &str, path: &str) -> io::Result<Vec<u8>> {
        let mut address = self.admin;
        if address.ip().is_unspecified() {
            let loopback =
                if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
            address.set_ip(loopback);
        }
        let mut stream = TcpStream::connect(address)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.token
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        // Far above any answer.
        stream.take(256 << 20).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

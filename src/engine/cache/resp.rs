//! The part of Redis's protocol that the cache speaks, in bounded memory: no reply is longer than what was asked for.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest first line of a reply, in bytes: an error with its text.
const MAX_LINE_BYTES: u64 = 1024;

/// One reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Done, or a number.
    Done,
    Value(Vec<u8>),
    Nothing,
    /// The server's error; its text is not kept, it may repeat what was sent.
    Refused,
}

/// A command and its arguments as an array of strings.
pub(super) async fn write_command<W: AsyncWrite + Unpin>(to: &mut W, words: &[&[u8]]) -> io::Result<()> {
    to.write_all(format!("*{}\r\n", words.len()).as_bytes()).await?;
    for word in words {
        to.write_all(format!("${}\r\n", word.len()).as_bytes()).await?;
        to.write_all(word).await?;
        to.write_all(b"\r\n").await?;
    }
    Ok(())
}

/// The next reply, a value of at most `max_bytes`.
///
/// # Errors
/// `InvalidData` for what is longer, or is no reply to a command of the cache: nothing behind it can be trusted.
pub(super) async fn read_reply<R: AsyncBufRead + Unpin>(from: &mut R, max_bytes: usize) -> io::Result<Reply> {
    let line = read_line(from).await?;
    let (kind, rest) = line.split_first().ok_or_else(malformed)?;
    match kind {
        b'+' | b':' => Ok(Reply::Done),
        b'-' => Ok(Reply::Refused),
        b'$' if rest == b"-1" => Ok(Reply::Nothing),
        b'$' => {
            let len = std::str::from_utf8(rest).ok().and_then(|len| len.parse::<usize>().ok());
            let len = len.filter(|len| *len <= max_bytes).ok_or_else(malformed)?;
            let mut value = vec![0; len + 2];
            from.read_exact(&mut value).await?;
            if !value.ends_with(b"\r\n") {
                return Err(malformed());
            }
            value.truncate(len);
            Ok(Reply::Value(value))
        }
        _ => Err(malformed()),
    }
}

/// Without its end.
async fn read_line<R: AsyncBufRead + Unpin>(from: &mut R) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    if from.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(malformed());
    }
    line.truncate(line.len() - 2);
    Ok(line)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a reply that was asked for")
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINE_BYTES, Reply, read_reply, write_command};
    use std::io;

    async fn parse(mut bytes: &[u8]) -> io::Result<Reply> {
        read_reply(&mut bytes, 10).await
    }

    #[tokio::test]
    async fn commands_and_replies_are_those_of_the_protocol() {
        let mut sent = Vec::new();
        write_command(&mut sent, &[b"SET", b"a\r\n", b""]).await.unwrap();
        assert_eq!(sent, b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
        assert_eq!(parse(b"+OK\r\n").await.unwrap(), Reply::Done);
        assert_eq!(parse(b":7\r\n").await.unwrap(), Reply::Done);
        assert_eq!(parse(b"-WRONGTYPE no\r\n").await.unwrap(), Reply::Refused);
        assert_eq!(parse(b"$-1\r\n").await.unwrap(), Reply::Nothing);
        assert_eq!(parse(b"$0\r\n\r\n").await.unwrap(), Reply::Value(Vec::new()));
        assert_eq!(parse(b"$4\r\n\r\n+O\r\n").await.unwrap(), Reply::Value(b"\r\n+O".to_vec()));
    }

    #[tokio::test]
    async fn i5_a_reply_longer_than_asked_for_or_of_no_known_kind_is_refused_unread() {
        let endless = vec![b'+'; 4 * usize::try_from(MAX_LINE_BYTES).unwrap()];
        let lies: [&[u8]; 8] = [
            b"$11\r\n",
            b"$99999999999999999999\r\n",
            b"$-2\r\n",
            b"*1000000000\r\n",
            b"$1\r\nabc",
            b"\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            &endless,
        ];
        for lie in lies {
            let error = parse(lie).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", String::from_utf8_lossy(lie));
        }
        for torn in [&b""[..], b"$4\r\nab"] {
            assert_eq!(parse(torn).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

use super::{Form, InputStream};
use crate::s3::post::multipart::Boundary;
use crate::s3::post::policy::SizeRange;
use crate::s3::refusal::Refusal;
use crate::service::InputError;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};

/// A body that is all there, in pieces of a size.
fn frames(body: &str, size: usize) -> InputStream {
    let pieces: Vec<_> =
        body.as_bytes().chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    futures::stream::iter(pieces).boxed()
}

fn code(refusal: &Refusal) -> String {
    let fields: Vec<_> = refusal.fields.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    format!("{}{}", refusal.error.code().as_str(), fields.concat())
}

fn read(body: &str, size: usize) -> Result<Form, String> {
    let boundary = Boundary::new("b").unwrap();
    let form = Form::read(&boundary, frames(body, size));
    form.now_or_never().unwrap().map_err(|refusal| code(&refusal))
}

/// The file's bytes, or why they are refused.
fn file(body: &str, size: usize, range: SizeRange) -> Result<String, String> {
    let (stream, verdict) = read(body, size)?.file.stream(range);
    match stream.try_collect::<Vec<_>>().now_or_never().unwrap() {
        Ok(data) => Ok(String::from_utf8(data.concat()).unwrap()),
        Err(InputError::Malformed(_)) => Err(code(verdict.lock().as_ref().unwrap())),
        Err(other) => Err(other.to_string()),
    }
}

fn part(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn file_part(content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{content}\r\n")
}

#[test]
fn fields_come_first_and_what_follows_the_file_means_nothing() {
    let body =
        [part("key", "k"), part("acl", ""), file_part("content"), part("key", "other"), "--b--".into()]
            .concat();
    for size in [1, 7, 10_000] {
        let form = read(&body, size).unwrap();
        let fields: Vec<_> =
            form.fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
        assert_eq!((fields, form.filename.as_deref()), (vec![("key", "k"), ("acl", "")], Some("f")));
        assert_eq!(file(&body, size, SizeRange::ANY).as_deref(), Ok("content"));
    }
}

#[test]
fn a_form_has_one_file() {
    let none = [part("key", "k"), "--b--\r\n".into()].concat();
    let answer = "InvalidArgument ArgumentName=file ArgumentValue=";
    assert_eq!(read(&none, 9).err(), Some(format!("{answer}0")));
    let two = [part("key", "k"), file_part("1"), file_part("2"), "--b--".into()].concat();
    assert_eq!(file(&two, 9, SizeRange::ANY), Err(format!("{answer}2")));
}

#[test]
fn i2_a_form_that_does_not_end_is_not_stored() {
    let body = [part("key", "k"), file_part("content"), part("submit", "x"), "--b--".into()].concat();
    for end in 0..body.len() {
        assert_eq!(
            file(&body[..end], 10_000, SizeRange::ANY),
            Err("MalformedPOSTRequest".to_owned()),
            "{end}"
        );
    }
    assert!(file(&body, 10_000, SizeRange::ANY).is_ok());
    let broken = futures::stream::iter([Ok(Bytes::from(body)), Err(InputError::TimedOut)]).boxed();
    let form = Form::read(&Boundary::new("b").unwrap(), broken).now_or_never().unwrap().unwrap();
    let (stream, _) = form.file.stream(SizeRange::ANY);
    let read = stream.try_collect::<Vec<_>>().now_or_never().unwrap();
    assert!(matches!(read, Err(InputError::TimedOut)), "what follows the end has to be whole too");
}

#[test]
fn the_size_is_kept_to_while_the_file_streams() {
    let body = |content: &str| [part("key", "k"), file_part(content), "--b--".into()].concat();
    let range = SizeRange { least: 5, most: 10 };
    for size in [1, 10_000] {
        for fitting in ["12345", "1234567890"] {
            assert_eq!(file(&body(fitting), size, range).as_deref(), Ok(fitting));
        }
        let small = Err("EntityTooSmall ProposedSize=1 MinSizeAllowed=5".to_owned());
        assert_eq!(file(&body("1"), size, range), small);
    }
    let large = Err("EntityTooLarge ProposedSize=12 MaxSizeAllowed=10".to_owned());
    assert_eq!(file(&body("123456789012"), 10_000, range), large);
}

#[test]
fn i5_what_stands_before_and_behind_the_file_is_bounded() {
    let too_much = Some("MaxPostPreDataLengthExceeded MaxPostPreDataLengthBytes=20480".to_owned());
    let end = || [file_part("x"), "--b--".into()].concat();
    for size in [100, 100_000] {
        assert_eq!(read(&[part("key", &"k".repeat(20_480)), end()].concat(), size).err(), too_much);
        assert_eq!(read(&[part("x-amz-meta-a", "b").repeat(500), end()].concat(), size).err(), too_much);
        assert_eq!(read(&["p".repeat(30_000), end()].concat(), size).err(), too_much);
        assert_eq!(read(&format!("--b{}", " ".repeat(30_000)), size).err(), too_much);
        assert!(read(&[part("key", &"k".repeat(20_000)), end()].concat(), size).is_ok());
        let padded = format!("--b\r\nX: {}\r\n", "x".repeat(9_000));
        assert_eq!(read(&padded, size).err().as_deref(), Some("MalformedPOSTRequest"));
    }
    let malformed = Err("MalformedPOSTRequest".to_owned());
    let large = "x".repeat(2 << 20);
    for behind in
        [part("submit", &large) + "--b--", format!("--b--{large}"), format!("--b{}", " ".repeat(2 << 20))]
    {
        let body = [part("key", "k"), file_part("x"), behind].concat();
        assert_eq!(file(&body, 65_536, SizeRange::ANY), malformed);
    }
}

//! Every rule against small pieces of source that break it.

use super::{
    File, check_file_size, check_function_sizes, check_globs, check_includes, check_ranks, check_s3s,
    check_system, check_unsafe, problems_of,
};

fn file(path: &str, source: &str) -> File {
    File::new(path, source, false)
}

fn ranks(path: &str, source: &str) -> usize {
    check_ranks(&file(path, source)).len()
}

#[test]
fn a_room_imports_only_lower_rooms() {
    assert_eq!(ranks("engine/gc/mod.rs", "use crate::types::ChunkId;\nuse crate::engine::X;"), 0);
    assert_eq!(ranks("meta/a.rs", "use crate::engine::X;"), 1);
    assert_eq!(ranks("meta/a.rs", "use crate::storage::X;"), 1, "siblings do not see each other");
    assert_eq!(ranks("meta/a.rs", "use crate::{types::{A, B}, engine::{C, sys::D}, storage};"), 2);
    assert_eq!(ranks("meta/a.rs", "fn f(x: &crate::s3::X) {}"), 1, "inline paths count");
    assert_eq!(ranks("meta/a.rs", "use crate :: s3 :: X;"), 1);
    assert_eq!(ranks("meta/a.rs", "// crate::s3\nconst S: &str = \"crate::s3\";"), 0);
    assert_eq!(ranks("meta/a.rs", "pub(crate) fn f() {}\npub(in crate::meta) fn g() {}"), 0);
    assert_eq!(ranks("main.rs", "use crate::app::X;"), 1);
    assert_eq!(ranks("lib.rs", "pub use crate::engine::X;"), 0);
}

#[test]
fn unsafe_code_is_in_one_file() {
    let found = |path, source| check_unsafe(&file(path, source)).len();
    assert_eq!(found("sys/slice.rs", "#![allow(unsafe_code)]\nfn f() { unsafe { g() } }"), 0);
    assert_eq!(found("sys/clock.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(found("meta/a.rs", "#[allow(unsafe_code)]\nfn f() {}"), 1);
    assert_eq!(found("meta/a.rs", "mod tests { unsafe extern \"C\" { fn g(); } }"), 1, "in tests as well");
    assert_eq!(found("meta/a.rs", "// unsafe\nfn not_unsafe_at_all() {}"), 0);
}

#[test]
fn unknown_rooms_and_root_reexports_are_refused() {
    assert_eq!(ranks("misc/a.rs", ""), 1);
    assert_eq!(ranks("s3/a.rs", "use crate::StorageError;"), 1);
}

#[test]
fn climbing_to_the_root_is_seen() {
    assert_eq!(ranks("meta/sqlite/mod.rs", "use super::super::engine::X;"), 1);
    assert_eq!(ranks("meta/sqlite/a.rs", "use super::super::engine::X;"), 0, "that is crate::meta::engine");
    assert_eq!(ranks("meta/sqlite/a.rs", "use super::super::super::engine::X;"), 1);
    assert_eq!(ranks("meta/mod.rs", "use super::engine::X;"), 1);
    assert_eq!(ranks("meta/a.rs", "mod tests {\n use super::super::engine::X;\n}"), 0);
    assert_eq!(ranks("meta/a.rs", "mod tests {\n use super::super::super::engine::X;\n}"), 1);
}

#[test]
fn no_spelling_of_the_way_to_the_root_is_missed() {
    for source in [
        "use crate as c;",
        "use crate\nas c;",
        "use crate::{self as c};",
        "extern crate self as c;",
        "extern crate s3;",
        "m!(crate);",
        "use super::super as c;",
        "use super::{super as c, x};",
        "use super::{super::engine::X};",
        "use super::{a::{b, c}, super::{types::Y, engine::{X, Z}}};",
        "use super::{self, super::engine};",
        "use self::super::super::engine::X;",
        "use self::{super::{super::engine::X}};",
        "use super :: super :: engine;",
        "use crate::{{engine}};",
        "fn f(x: super::super::engine::X) {}",
        "pub(in super::super::engine) fn f() {}",
        "macro_rules! m { () => { $crate::engine::X } }",
    ] {
        assert_eq!(ranks("meta/a.rs", source), 1, "{source}");
    }
    for source in [
        "use super::{self, a::{b, c}, d as e};",
        "use super::a::engine;",
        "use self::a::{self, b};",
        "use super::{super::{types::Y, sys::{self, Z}}};",
        "pub(super) fn f(&self) { self.engine.x(); }",
        "pub(crate) struct S { pub(crate) engine: u8 }",
        "use std::io::{self, Read as R};",
        "use super as own;",
        "use crate::meta as own;",
    ] {
        assert_eq!(ranks("meta/a.rs", source), 0, "{source}");
    }
}

#[test]
fn rooms_are_those_of_the_table() {
    assert_eq!(ranks("bin/tool.rs", ""), 1);
}

#[test]
fn tests_inside_rooms_keep_the_ranks() {
    assert_eq!(ranks("meta/a.rs", "#[cfg(test)]\nmod tests { use crate::s3::X; }"), 1);
    assert_eq!(ranks("meta/tests.rs", "use crate::s3::X;"), 1);
}

#[test]
fn long_files_are_refused_and_tests_do_not_count() {
    let size = |path, source: &str| check_file_size(&file(path, source)).len();
    assert_eq!(size("meta/a.rs", &"x\n".repeat(500)), 0);
    assert_eq!(size("meta/a.rs", &"x\n".repeat(501)), 1);
    let tested = format!("x\n#[cfg(test)]\n#[allow(x)]\nmod tests {{\n{}}}", "x\n".repeat(600));
    assert_eq!(size("meta/a.rs", &tested), 0);
    let other = format!("#[cfg(test)]\nfn helper() {{}}\n{}", "x\n".repeat(600));
    assert_eq!(size("meta/a.rs", &other), 1, "only a test module is left out");
    for first in ["#[cfg(test)]\nmod a;", "#[cfg(test)]\npub(crate) mod a;", "#[cfg(test)]\nmod a { x; }"] {
        let source = |lines| format!("{first}\n{}", "x\n".repeat(lines));
        assert_eq!(size("meta/a.rs", &source(501)), 1, "what stands behind `{first}` counts");
        assert_eq!(size("meta/a.rs", &source(499)), 0);
        let long = format!("{first}\nfn f() {{\n{}}}", "x;\n".repeat(69));
        assert_eq!(check_function_sizes(&file("meta/a.rs", &long)).len(), 1);
        let sleeps = format!("{first}\nfn f() {{ std::thread::sleep(d); }}");
        assert_eq!(check_system(&file("meta/a.rs", &sleeps)).len(), 1);
    }
}

/// What a tree of files is reproached with, in which every file is longer than production may be.
fn long_files(declarations: &[(&str, &str)]) -> Vec<String> {
    let long = |(path, source): &(&str, &str)| {
        let filler = if *path == "lib.rs" { String::new() } else { "x\n".repeat(501) };
        ((*path).to_owned(), format!("{source}\n{filler}"))
    };
    problems_of(&declarations.iter().map(long).collect::<Vec<_>>())
}

#[test]
fn a_file_is_a_test_when_it_is_declared_as_one() {
    let count = |files: &[(&str, &str)]| long_files(files).len();
    let lib = ("lib.rs", "#[cfg(test)] mod types;");
    // The parent `types/mod.rs` is too long itself; so is whatever is no test.
    assert_eq!(count(&[lib, ("types/mod.rs", "#[cfg(test)]\nmod tests;"), ("types/tests.rs", "")]), 1);
    let lib = ("lib.rs", "mod types;");
    let beside = |declaration| [lib, ("types/mod.rs", declaration), ("types/a_tests.rs", "")];
    assert_eq!(count(&beside("#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;")), 1);
    assert_eq!(count(&beside("#[path = \"a_tests.rs\"]\n#[cfg(test)]\npub(crate) mod tests;")), 1);
    assert_eq!(count(&beside("mod a_tests;")), 2, "a name makes no test");
    assert_eq!(count(&beside("#[cfg(feature = \"x\")]\nmod a_tests;")), 2);
    assert_eq!(count(&beside("#[cfg(test)] mod a_tests; mod a_tests;")), 2, "production as well");
    assert_eq!(count(&beside("#[cfg(test)] fn f() {} mod a_tests;")), 2);
    assert_eq!(count(&beside("")), 3, "declared by nobody, and judged as production");
    let nested = [
        lib,
        ("types/mod.rs", "#[cfg(test)] mod tests;"),
        ("types/tests/mod.rs", "mod a;"),
        ("types/tests/a.rs", ""),
    ];
    assert_eq!(count(&nested), 1, "what a test declares is a test");
    let away = [lib, ("types/mod.rs", "#[path = \"../engine/x.rs\"] mod x;"), ("engine/x.rs", "")];
    assert!(long_files(&away).iter().any(|problem| problem.contains("leaves its directory")));
}

#[test]
fn long_functions_are_refused() {
    let size = |source: &str| check_function_sizes(&file("meta/a.rs", source)).len();
    let body = |lines: usize| "x;\n".repeat(lines);
    assert_eq!(size(&format!("fn f() {{\n{}}}", body(68))), 0);
    assert_eq!(size(&format!("fn f() {{\n{}}}", body(69))), 1);
    let generic = format!("fn f<F: Fn(u8) -> u8>(f: F) -> [u8; 2]\nwhere F: Send {{\n{}}}", body(69));
    assert_eq!(size(&generic), 1);
    for head in [
        "fn f<A, B>(a: A)\nwhere\n    A: Send,\n    B: Send,\n",
        "fn f<A>() -> Result<A, X> where A: Into<[u8; 2]>, for<'a> &'a A: Fn(u8) -> u8, ",
        "pub async unsafe fn f(a: A, b: B) -> impl Fn(A, B) -> C ",
        "fn $name<T>() where T: Iterator<Item = u8>, ",
    ] {
        assert_eq!(size(&format!("{head}{{\n{}}}", body(90))), 1, "{head}");
        assert_eq!(size(&format!("{head}{{\n{}}}", body(9))), 0, "{head}");
    }
    assert_eq!(size(&format!("trait T {{ fn f(&self) where Self: Sized, A: B;\n{}}}", body(90))), 0);
    assert_eq!(size(&format!("trait T {{ fn f(&self);\n{}}}", body(90))), 0);
    assert_eq!(size(&format!("struct S {{ f: fn(u8) -> u8, g: fn(),\n{}}}", body(90))), 0);
    assert_eq!(size(&format!("#[cfg(test)]\nmod tests {{ fn f() {{\n{}}} }}", body(90))), 0);
}

#[test]
fn globs_are_refused_outside_preludes_of_tests() {
    let globs = |source: &str| check_globs(&file("meta/a.rs", source)).len();
    assert_eq!(globs("use super::*;"), 1);
    assert_eq!(globs("use a::{b, *};"), 1);
    assert_eq!(globs("use proptest::prelude::*;"), 1, "not in production");
    assert_eq!(globs("#[cfg(test)]\nmod tests { use proptest::prelude::*; }"), 0);
    assert_eq!(globs("#[cfg(test)]\nmod tests { use super::*; }"), 1);
    assert_eq!(globs("let x = a * b; let y = *c;"), 0);
}

#[test]
fn no_code_is_included_unseen() {
    let includes = |source: &str| check_includes(&file("meta/a.rs", source)).len();
    assert_eq!(includes("include!(\"../engine/x.in\");"), 1);
    assert_eq!(includes("std::include !(concat!(a, b));"), 1);
    assert_eq!(includes("let text = include_str!(\"x.html\"); fn include() {}"), 0);
}

#[test]
fn s3s_stays_in_its_room() {
    assert_eq!(check_s3s(&file("http/a.rs", "use s3s::S3;")).len(), 1);
    assert_eq!(check_s3s(&file("s3/a.rs", "use s3s::S3;")).len(), 0);
    assert_eq!(check_s3s(&file("http/a.rs", "let s3service = 1;")).len(), 0);
}

#[test]
fn the_system_is_asked_only_through_sys() {
    let asks = |path, source| check_system(&file(path, source)).len();
    assert_eq!(asks("meta/a.rs", "let t = std::time::SystemTime::now();"), 1);
    assert_eq!(asks("meta/a.rs", "std::thread::sleep(d);"), 1);
    assert_eq!(asks("meta/a.rs", "use std::thread;\nfn f() { thread::sleep(d); }"), 1);
    assert_eq!(asks("meta/a.rs", "let t = OffsetDateTime::now_utc();"), 1);
    assert_eq!(asks("meta/a.rs", "let t = Instant::now();"), 0, "timing a metric is fine");
    assert_eq!(asks("sys/clock.rs", "let t = std::time::SystemTime::now();"), 0);
    assert_eq!(asks("meta/a.rs", "#[cfg(test)]\nmod tests { fn f() { std::thread::sleep(d); } }"), 0);
}

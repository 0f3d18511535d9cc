//! The `sediment` command.

/// Small requests are mostly small allocations: a tenth to a quarter of a server's time with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sediment::app::main()
}

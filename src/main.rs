//! The `sediment` command.

fn main() -> std::process::ExitCode {
    sediment::app::main()
}

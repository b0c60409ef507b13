//! `announcer`: see [`announcer::cli`].

fn main() -> std::process::ExitCode {
    announcer::cli::run()
}

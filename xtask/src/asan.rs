use crate::{
    error::{Error, Result},
    invocation::Invocation,
    metadata::Metadata,
    tidy::{HOUSE, packages_with_unsafe_code},
};

/// Carries out `cargo xtask asan`: the unit and integration tests of each package with unsafe code,
/// all features on, under AddressSanitizer.
///
/// The packages are those of tidy's list, so that none can be forgotten. Leaks are not looked for:
/// tests leak statements on purpose, to see that a connection is mended, and SQLite keeps memory
/// for the life of the process. Rust code is instrumented; C code is not, but what it allocates and
/// frees is known to the sanitizer. Documentation tests are left out, since rustdoc would need the
/// same flags for itself.
///
/// # Errors
/// [`Error::Check`] if there is no nightly toolchain, [`Error::Failed`] if a test fails or the
/// sanitizer reports an error.
pub(crate) fn run(metadata: &Metadata, _: &[String]) -> Result<()> {
    let nightly = Invocation::new("rustc", &metadata.root, "+nightly -vV");
    let version = nightly.output().map_err(|error| {
        Error::Check(format!(
            "AddressSanitizer needs a nightly toolchain: rustup toolchain install nightly --profile minimal\n  \
             {}",
            error.with_causes()
        ))
    })?;
    let host = host(&version).ok_or_else(|| Error::Check(format!("`{nightly}` names no host:\n{version}")))?;
    for package in packages_with_unsafe_code(&HOUSE) {
        let invocation = tests_of(metadata, package, host);
        println!("asan: {invocation}");
        invocation.run()?;
    }
    Ok(())
}

/// The target is named although it is the host's: that keeps the sanitizer out of build scripts.
fn tests_of(metadata: &Metadata, package: &str, host: &str) -> Invocation {
    Invocation::cargo(&metadata.root, &format!("+nightly test --package {package} --all-features --lib --tests"))
        .arguments(&format!("--target {host} --target-dir"))
        .argument(metadata.target.join("asan").display())
        .variable("RUSTFLAGS", "-Zsanitizer=address")
        .variable("ASAN_OPTIONS", "detect_leaks=0")
}

fn host(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_from_the_long_version() {
        assert_eq!(
            host("rustc 1.97.0-nightly\nbinary: rustc\nhost: aarch64-apple-darwin\n"),
            Some("aarch64-apple-darwin")
        );
        assert_eq!(host("rustc 1.97.0-nightly\n"), None);
    }

    #[test]
    fn a_sanitized_build_does_not_mix_with_others() {
        let metadata = Metadata { target: "/t".into(), ..Metadata::default() };
        assert_eq!(
            tests_of(&metadata, "ecm-sqlite", "x86_64-unknown-linux-gnu").to_string(),
            "RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 cargo +nightly test --package ecm-sqlite \
             --all-features --lib --tests --target x86_64-unknown-linux-gnu --target-dir /t/asan"
        );
    }

    #[test]
    fn every_package_with_unsafe_code_is_tested() {
        let metadata = Metadata::load(&crate::manifest_path()).unwrap();
        for package in packages_with_unsafe_code(&HOUSE) {
            assert!(metadata.member(package).is_some(), "`{package}` is listed, but is no member");
        }
    }
}

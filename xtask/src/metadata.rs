use crate::{
    error::{Error, Result},
    invocation::Invocation,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What `cargo metadata` and the manifests say about the workspace, reduced to what the chores ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// The folder where cargo builds.
    pub(crate) target: PathBuf,
    /// The text of the root manifest.
    pub(crate) manifest: String,
    /// The packages of the workspace, by name.
    pub(crate) members: Vec<Member>,
}

/// A package of the workspace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    /// The name of the package.
    pub(crate) name: String,
    /// Its folder, relative to the root, with `/` between the parts.
    pub(crate) folder: String,
    /// The text of its manifest: what is inherited from the workspace is only told there.
    pub(crate) manifest: String,
    /// The description, empty if there is none.
    pub(crate) description: String,
    /// What it depends on, of every kind.
    pub(crate) dependencies: Vec<Dependency>,
    /// Its features, with what each switches on.
    pub(crate) features: BTreeMap<String, Vec<String>>,
    /// Its targets: (kind, name).
    pub(crate) targets: Vec<(String, String)>,
}

/// One entry of a `[dependencies]`, `[dev-dependencies]` or `[build-dependencies]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The name of the package, not what it was renamed to.
    pub(crate) name: String,
    /// Whether only tests, examples and benchmarks see it.
    pub(crate) dev: bool,
    /// Whether a feature switches it on.
    pub(crate) optional: bool,
    /// The version requirement; `*` where the manifest has none.
    pub(crate) version: String,
    /// Whether it is found in a folder.
    pub(crate) path: bool,
}

impl Metadata {
    /// Asks cargo about the workspace of this root manifest. Needs neither the network nor a lock
    /// file: only what the members themselves declare is read.
    ///
    /// # Errors
    /// [`Error::Failed`] with cargo's words if a manifest is not valid, [`Error::Metadata`] if the
    /// answer lacks a field, [`Error::Read`] if a manifest cannot be read.
    pub(crate) fn load(manifest: &Path) -> Result<Self> {
        let folder = manifest.parent().unwrap_or_else(|| Path::new("."));
        let json = Invocation::cargo(folder, "metadata --format-version 1 --no-deps --offline --manifest-path")
            .argument(manifest.display())
            .output()?;
        Self::parse(&json, |path| fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source }))
    }

    fn parse(json: &str, read: impl Fn(&Path) -> Result<String>) -> Result<Self> {
        let answer: Value = serde_json::from_str(json)
            .map_err(|source| Error::Metadata { field: "JSON".into(), source: Some(source) })?;
        let root = PathBuf::from(text(&answer, "workspace_root")?);
        let packages = list(&answer, "packages")?.iter();
        let mut members = packages.map(|package| Member::parse(package, &root, &read)).collect::<Result<Vec<_>>>()?;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let target = PathBuf::from(text(&answer, "target_directory")?);
        Ok(Self { manifest: read(&root.join("Cargo.toml"))?, root, target, members })
    }

    /// The package of this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

impl Member {
    fn parse(package: &Value, root: &Path, read: impl Fn(&Path) -> Result<String>) -> Result<Self> {
        let manifest = PathBuf::from(text(package, "manifest_path")?);
        let folder = manifest.parent().unwrap_or(root);
        let features = package.get("features").and_then(Value::as_object);
        let features = features.ok_or_else(|| missing("features"))?.iter();
        Ok(Self {
            name: text(package, "name")?.into(),
            folder: relative(folder, root),
            manifest: read(&manifest)?,
            description: package.get("description").and_then(Value::as_str).unwrap_or("").into(),
            dependencies: list(package, "dependencies")?.iter().map(Dependency::parse).collect::<Result<_>>()?,
            features: features.map(|(name, on)| (name.clone(), strings(on))).collect(),
            targets: list(package, "targets")?.iter().map(target).collect::<Result<_>>()?,
        })
    }

    /// The place of its manifest, for messages.
    pub(crate) fn manifest_place(&self) -> String {
        if self.folder.is_empty() { "Cargo.toml".into() } else { format!("{}/Cargo.toml", self.folder) }
    }
}

impl Dependency {
    fn parse(dependency: &Value) -> Result<Self> {
        Ok(Self {
            name: text(dependency, "name")?.into(),
            dev: dependency.get("kind").and_then(Value::as_str) == Some("dev"),
            optional: dependency.get("optional").and_then(Value::as_bool).ok_or_else(|| missing("optional"))?,
            version: text(dependency, "req")?.into(),
            path: dependency.get("path").is_some_and(Value::is_string),
        })
    }
}

/// The path as it is told in messages: relative to the root, with `/` on every system.
pub(crate) fn relative(path: &Path, root: &Path) -> String {
    let inner = path.strip_prefix(root).unwrap_or(path);
    inner.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn target(target: &Value) -> Result<(String, String)> {
    let kind = strings(target.get("kind").ok_or_else(|| missing("kind"))?).join("+");
    Ok((kind, text(target, "name")?.into()))
}

fn strings(values: &Value) -> Vec<String> {
    values.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value.get(field).and_then(Value::as_str).ok_or_else(|| missing(field))
}

fn list<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value.get(field).and_then(Value::as_array).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Error {
    Error::Metadata { field: field.into(), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Metadata> {
        Metadata::parse(json, |_| Ok(String::new()))
    }

    #[test]
    fn an_answer_of_another_format_names_the_field_that_is_missing() {
        let error = parse(r#"{"workspace_root": "/w", "packages": [{"name": "ecm"}], "target_directory": "/t"}"#);
        assert!(matches!(error, Err(Error::Metadata { field, .. }) if field == "manifest_path"));
        let error = parse("cargo: not found").unwrap_err();
        assert!(error.with_causes().contains("because: expected value"), "{}", error.with_causes());
    }

    #[test]
    fn reads_this_workspace() {
        let metadata = Metadata::load(&crate::manifest_path()).unwrap();
        let xtask = metadata.member("xtask").unwrap();
        assert_eq!(xtask.folder, "xtask");
        assert!(xtask.targets.contains(&("bin".into(), "xtask".into())));
        let json = xtask.dependencies.iter().find(|dependency| dependency.name == "serde_json").unwrap();
        assert_eq!((json.dev, json.optional, json.path), (false, false, false));
        assert!(metadata.manifest.contains("[workspace]"));
    }
}

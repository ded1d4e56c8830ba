//! What executes scripts. One engine per script type: a file here, and a line in [`Engines::find`].

use std::{collections::BTreeMap, sync::Arc};

use hero_domain::{ErrorKind, ScriptType};
use hero_store::{Outcome, Store};

use crate::{attempt::Run, config::RunnerConfig, sandbox::Sandbox};

pub mod osis;
pub mod python;
pub mod sal;
pub mod v;

/// Executes scripts of one type.
pub trait Engine: Send + Sync + 'static {
    /// Which type.
    fn script_type(&self) -> ScriptType;

    /// Takes up a job and returns at once; the engine ends it later by [`Run::end`]. It must end a job within
    /// a second of [`crate::Attempt::interrupted`], and must never block the thread that calls this.
    fn start(&self, run: Run);
}

/// The engines that this machine can offer.
#[derive(Clone, Default)]
pub struct Engines {
    by_type: BTreeMap<ScriptType, Arc<dyn Engine>>,
}

/// A type that was asked for and cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this runner cannot serve {script_type}: {why}")]
pub struct NotOffered {
    /// The type.
    pub script_type: ScriptType,
    /// Why, and what to do.
    pub why: String,
}

impl Engines {
    /// Prepares an engine for each configured type, and says which ones this machine cannot offer.
    pub async fn find(config: &RunnerConfig, sandbox: &Sandbox, store: &Store) -> (Self, Vec<NotOffered>) {
        let mut engines = Self::default();
        let mut not_offered = Vec::new();
        for &script_type in &config.script_types {
            let engine: Result<Arc<dyn Engine>, String> = match script_type {
                ScriptType::Osis => {
                    let objects = osis::ObjectAccess::new(store.clone(), config.osis.objects);
                    Ok(Arc::new(osis::Osis::new(&config.osis, config.limits(), Some(&objects))))
                }
                ScriptType::Python => python::Python::find(&config.python, sandbox, config.limits())
                    .await
                    .map(|engine| Arc::new(engine) as Arc<dyn Engine>),
                ScriptType::Sal => sal::Sal::find(&config.sal, sandbox, config.limits())
                    .await
                    .map(|engine| Arc::new(engine) as Arc<dyn Engine>),
                ScriptType::V => v::V::find(&config.v, sandbox, &config.sandbox, config.limits())
                    .await
                    .map(|engine| Arc::new(engine) as Arc<dyn Engine>),
            };
            match engine {
                Ok(engine) => engines.add(engine),
                Err(why) => not_offered.push(NotOffered { script_type, why }),
            }
        }
        (engines, not_offered)
    }

    /// Adds an engine; a second one of a type replaces the first.
    pub fn add(&mut self, engine: Arc<dyn Engine>) {
        self.by_type.insert(engine.script_type(), engine);
    }

    /// Each type with its engine.
    pub fn iter(&self) -> impl Iterator<Item = (ScriptType, &Arc<dyn Engine>)> {
        self.by_type.iter().map(|(script_type, engine)| (*script_type, engine))
    }

    /// Whether nothing can be offered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_type.is_empty()
    }
}

/// Bounds that hold for every engine.
#[derive(Debug, Clone, Copy)]
pub struct OutputLimits {
    /// Bytes of a job's output.
    pub max_output_bytes: usize,
}

impl OutputLimits {
    /// The end of a script that came out with this.
    pub(crate) fn finished(self, output: String) -> Outcome {
        if output.len() > self.max_output_bytes {
            return self.too_large(None);
        }
        Outcome::Finished { output }
    }

    /// The end of a script that came out with too much.
    pub(crate) fn too_large(self, output: Option<String>) -> Outcome {
        Outcome::Failed {
            kind: ErrorKind::OutputTooLarge,
            error: format!(
                "the output is larger than {} bytes; write it to a file or a store, and print where it is",
                self.max_output_bytes
            ),
            output,
        }
    }
}

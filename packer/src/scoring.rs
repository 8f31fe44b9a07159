//! Scores that take a model to know: measured, or taken over from another file, then searched and tuned as was asked
//! for.

use crate::allocate::{self, Calibration, Course};
use crate::calibrate::Windows;
use crate::fisher::{self, Fisher};
use crate::options::PackOptions;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::stage::{self, f32_bytes};
use crate::work::WorkFolder;
use rasp::format::{Config, ScoreKind};
use rasp::model::{LoadOptions, Model};
use rasp::{Error, Result, Status};
use std::path::Path;
use std::sync::Arc;

/// One vector a linear, of a number an input channel.
pub(crate) type Scores = Vec<Vec<f32>>;

/// The scores of a packed file, for another one of the same model.
pub(crate) fn taken_over(path: &Path, config: &Config, plan: &Plan) -> Result<Scores> {
    let wrong = |message: String| Error::new(Status::InvalidArgument, format!("{}: {message}", path.display()));
    if plan.score != ScoreKind::Fisher {
        let message = "its scores can be taken over only where sparsity is shared out by the score fisher";
        return Err(wrong(message.into()));
    }
    let model = Model::load(path, &LoadOptions::default()).map_err(|e| e.context(path.display()))?;
    if let Some(difference) = difference(model.config(), config)? {
        return Err(wrong(format!("it holds another model: {difference}")));
    }
    if model.recipe().score != ScoreKind::Fisher {
        return Err(wrong("its scores are not fisher's, which alone can be compared between linears".into()));
    }
    Ok(model.linears().map(|linear| linear.score().unwrap_or_default().to_vec()).collect())
}

/// What first sets one model apart from another, but for its name.
fn difference(theirs: &Config, ours: &Config) -> Result<Option<String>> {
    let fields = |config: &Config| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(fields)) => Ok(fields),
        other => Err(Error::new(Status::Internal, format!("a configuration as JSON: {other:?}"))),
    };
    let (theirs, ours) = (fields(theirs)?, fields(ours)?);
    let other = ours.iter().find(|(field, value)| *field != "name" && theirs.get(*field) != Some(value));
    Ok(other.map(|(field, value)| format!("{field} is {}, not {value}", theirs.get(field).unwrap_or_default())))
}

/// Finding scores for the staged model.
pub(crate) struct Scoring<'a> {
    pub(crate) options: &'a PackOptions,
    pub(crate) plan: &'a Plan,
    pub(crate) staging: &'a Path,
    pub(crate) text: &'a Windows<'a>,
    /// Scores to begin with, in place of measuring them
    pub(crate) taken: Option<&'a Scores>,
}

impl Scoring<'_> {
    /// The staged model with scores from its Fisher information, or taken over; and these.
    pub(crate) fn score(
        &self,
        model: Arc<Model>,
        work: &WorkFolder,
        progress: &mut dyn Progress,
    ) -> Result<(Arc<Model>, Scores)> {
        let scores = match self.taken {
            Some(scores) => scores.clone(),
            None => self.measured(&model, work, progress)?,
        };
        Ok((self.replaced(model, &scores)?, scores))
    }

    fn measured(&self, model: &Arc<Model>, work: &WorkFolder, progress: &mut dyn Progress) -> Result<Scores> {
        let known = work.load("fisher")?;
        let save = |fisher: &Fisher| work.save("fisher", fisher);
        let fisher = fisher::measure(model, &self.text.calibration, self.options.threads, known, save, progress)?;
        let linears = self.plan.linears.iter().enumerate();
        Ok(linears.map(|(i, linear)| fisher.score(i, linear.outputs)).collect())
    }

    /// The staged model with scores that a search has changed.
    pub(crate) fn search(
        &self,
        model: Arc<Model>,
        mut scores: Scores,
        work: &WorkFolder,
        progress: &mut dyn Progress,
    ) -> Result<(Arc<Model>, Scores)> {
        let calibration = self.calibration(&model);
        let known = work.load("search")?;
        let save = |found: &allocate::Found| work.save("search", found);
        let factors = allocate::search(&calibration, self.plan, self.options.search, known, save, progress)?;
        for (score, factor) in scores.iter_mut().zip(factors) {
            score.iter_mut().for_each(|c| *c /= factor);
        }
        Ok((self.replaced(model, &scores)?, scores))
    }

    /// The staged model with scores fitted to what dropping does.
    pub(crate) fn tune(
        &self,
        model: Arc<Model>,
        scores: &[Vec<f32>],
        work: &WorkFolder,
        progress: &mut dyn Progress,
    ) -> Result<Arc<Model>> {
        let calibration = self.calibration(&model);
        let known = work.load("tune")?;
        let save = |tuned: &allocate::Tuned| work.save("tune", tuned);
        let course = Course { more: &self.text.more, steps: self.options.tune };
        let scores = allocate::tune(&calibration, self.plan, scores, course, known, save, progress)?;
        self.replaced(model, &scores)
    }

    fn calibration<'b>(&'b self, model: &'b Arc<Model>) -> Calibration<'b> {
        Calibration { model, windows: &self.text.calibration, threads: self.options.threads }
    }

    /// The staged model with other scores.
    fn replaced(&self, model: Arc<Model>, scores: &[Vec<f32>]) -> Result<Arc<Model>> {
        let names = self.plan.linears.iter().map(|linear| format!("{}.score", linear.name()));
        stage::replaced(self.staging, model, names.zip(scores.iter().map(|score| f32_bytes(score))))
    }
}

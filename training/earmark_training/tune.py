"""The search of `earmark tune`: front end, window, hop and network together, under a budget.

Trials live in an Optuna study on disk: several processes may work on it, and any of them may be
stopped at any time. A trial that does not fit the device ends before it is trained; one that is
dominated after a quarter of the schedule is not trained further. Accuracy comes from an inner fold;
the outer test fold is never opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from earmark_dsp.errors import EarmarkError

from earmark_training import tune_space
from earmark_training.tune_cost import Budget, Cost, cost_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from earmark_datasets.manifest import Manifest

    from earmark_training.tune_space import Candidate

STUDY = "earmark"
RUNG = 4  # the first look is after 1/4 of the schedule, in a training of its own
# A candidate that is this much worse after the first look than a cheaper one will hardly catch up:
# two standard errors of 80 clips at 90 %.
MARGIN = 0.07
# Candidates that do not fit or were tried before cost seconds; a space without others must end.
ATTEMPTS_PER_TRIAL = 30


@dataclass(frozen=True)
class Search:
    """Everything a worker needs.

    Attributes
    ----------
    manifest : Manifest
        Without the outer test fold.
    inner_fold : int
        Scored; the other folds train.
    budget : Budget
    out : Path
        Holds the study and the candidates.
    epochs : int
    seed : int
    """

    manifest: Manifest
    inner_fold: int
    budget: Budget
    out: Path
    epochs: int
    seed: int = 1


def without_test_fold(manifest: Manifest, test_fold: int) -> tuple[Manifest, int]:
    """Return the clips outside the outer test fold, and which of their folds is scored.

    Raises
    ------
    EarmarkError
        If fewer than two folds are left.
    """
    training, _ = manifest.split(test_fold)
    if len(training.folds) < 2:
        raise EarmarkError(
            f"{len(training.folds)} fold is left beside the test fold {test_fold}",
            "the search needs one to train on and one to choose by: give the data three folds",
        )
    later = [fold for fold in training.folds if fold > test_fold]
    return training, (later or list(training.folds))[0]


def open_study(out: Path, *, seed: int, settings: dict[str, Any]) -> Any:
    """Open or create the study in a directory.

    Raises
    ------
    EarmarkError
        If the study there was started with other settings: its figures would not be comparable.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    out.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(
        # Another worker may be writing.
        f"sqlite:///{out / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}},
    )  # fmt: skip
    study = optuna.create_study(
        study_name=STUDY,
        storage=storage,
        directions=["maximize", "minimize"],  # inner accuracy, instructions per second
        # Workers must not repeat each other's first draws.
        sampler=optuna.samplers.TPESampler(seed=seed * 65_537 + os.getpid()),
        load_if_exists=True,
    )
    stored = study.user_attrs.get("settings")
    if stored is None:
        study.set_user_attr("settings", settings)
        study.enqueue_trial(tune_space.START)
    elif stored != json.loads(json.dumps(settings)):
        changed = sorted(k for k in settings if stored.get(k) != settings[k])
        raise EarmarkError(
            f"{out} holds a search with other settings: {', '.join(changed)}",
            "give the same ones to go on, or another directory with -o",
        )
    return study


def n_trained(study: Any) -> int:
    """Return how many different candidates were trained, if only for the first look."""
    import optuna

    done = {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED}
    return sum("rung" in t.user_attrs and t.state in done for t in _trials(study))


def _trials(study: Any) -> list[Any]:
    return list(study.get_trials(deepcopy=False))


def adopt_orphans(study: Any) -> int:
    """Put back candidates whose worker on this machine is gone; return how many."""
    import optuna

    n = 0
    for trial in _trials(study):
        owner = trial.user_attrs.get("worker")
        if trial.state != optuna.trial.TrialState.RUNNING or owner is None:
            continue
        host, pid = owner
        if host == socket.gethostname() and not _alive(pid):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            study.enqueue_trial(trial.params)
            n += 1
    return n


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def work(
    study: Any,
    search: Search,
    n_trials: int,
    *,
    n_attempts: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Try candidates until `n_trials` have been trained by all workers together.

    Parameters
    ----------
    study : optuna.Study
        From `open_study`.
    search : Search
    n_trials : int
    n_attempts : int or None
        Candidates to look at, refused ones included; None: 30 times `n_trials`.
    say : callable
        Told what is being done.
    """
    import optuna

    from earmark_training.train import use_one_thread

    use_one_thread()  # before the first conversion wakes TensorFlow
    adopt_orphans(study)
    n_attempts = n_attempts or ATTEMPTS_PER_TRIAL * n_trials
    while n_trained(study) < n_trials and len(_trials(study)) < n_attempts:
        trial = study.ask()
        trial.set_user_attr("worker", [socket.gethostname(), os.getpid()])
        try:
            values = _attempt(study, trial, search, _Told(say, trial.number))
        except BaseException:
            # Interrupted: the next worker starts with it, from its last checkpoint.
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
            raise
        if values is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, values)


@dataclass(frozen=True)
class _Told:
    """Says what is being done with one candidate."""

    say: Callable[[str], None]
    number: int

    def __call__(self, what: str) -> None:
        self.say(f"candidate {self.number}: {what}")


def _attempt(
    study: Any, trial: Any, search: Search, say: Callable[[str], None]
) -> tuple[float, float] | None:
    """Return (accuracy, instructions per second); None if the candidate is not worth training."""
    candidate = tune_space.suggest(trial)
    known = _known(study, trial)
    if known is not None:
        return known
    try:
        spec = tune_space.spec_of(candidate)
    except EarmarkError as exc:
        trial.set_user_attr("refused", str(exc))
        return None
    say("cost")
    labels = n_outputs(search.manifest)
    cost = cost_of(_untrained(candidate, labels), spec, candidate.inferences_per_s)
    trial.set_user_attr("cost", asdict(cost))
    if reason := search.budget.exceeded_by(cost):
        trial.set_user_attr("refused", reason)
        return None
    first = _accuracy(candidate, search, max(1, search.epochs // RUNG), say)
    trial.set_user_attr("rung", first)
    if _dominated(study, first, cost):
        trial.set_user_attr("refused", f"accuracy {first:.2f} after a quarter of the schedule")
        return None
    accuracy = _accuracy(candidate, search, search.epochs, say)
    return accuracy, cost.instructions_per_s


def _known(study: Any, trial: Any) -> tuple[float, float] | None:
    """Return the values of an equal candidate that was trained before."""
    for other in _trials(study):
        if other.number != trial.number and other.params == trial.params and other.values:
            trial.set_user_attr("repeats", other.number)
            return tuple(other.values)
    return None


def _dominated(study: Any, first: float, cost: Cost) -> bool:
    return any(
        other.user_attrs["rung"] >= first + MARGIN
        and other.user_attrs["cost"]["instructions_per_s"] <= cost.instructions_per_s
        for other in _trials(study)
        if "rung" in other.user_attrs and "cost" in other.user_attrs
    )


def n_outputs(manifest: Manifest) -> int:
    """Return how many outputs a network for these labels has."""
    from earmark_training.train import all_labels

    return len(all_labels(manifest))


def _untrained(candidate: Candidate, n_classes: int) -> bytes:
    from earmark_training.deploy.estimate_source import convert

    return convert(tune_space.build(candidate, n_classes))


def candidate_key(candidate: Candidate) -> str:
    """Return a short name that is the same for equal candidates."""
    text = json.dumps(asdict(candidate), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def write_candidate(candidate: Candidate, out: Path) -> Path:
    """Write front end and network so that `earmark train` takes them; return their folder."""
    folder = out / "candidates" / candidate_key(candidate)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "frontend.toml").write_text(tune_space.spec_of(candidate).to_toml())
    (folder / "model.py").write_text(tune_space.model_source(candidate))
    return folder


def _accuracy(
    candidate: Candidate, search: Search, epochs: int, say: Callable[[str], None]
) -> float:
    """Train on the inner training folds and return the accuracy on the inner fold, 0..1."""
    from earmark_training import evaluate
    from earmark_training.train import recipe_for, train

    spec = tune_space.spec_of(candidate)
    training, inner = search.manifest.split(search.inner_fold)
    folder = write_candidate(candidate, search.out)
    checkpoints = folder / "checkpoints"
    result = train(
        training,
        spec=spec,
        recipe=recipe_for(str(folder / "model.py"), epochs=epochs, seed=search.seed),
        work_dir=checkpoints,
        progress=lambda epoch, total, loss: say(f"epoch {epoch}/{total}, loss {loss:.2f}"),
    )
    clips = evaluate.clip_windows(inner, result.labels, spec, candidate.hop_frames)
    scores = evaluate.float_scores(result.model, clips, spec)
    accuracy = evaluate.score_clips(clips, scores, result.labels).accuracy
    shutil.rmtree(checkpoints, ignore_errors=True)
    return float(accuracy)


def front(study: Any) -> list[Any]:
    """Return the finished trials that no other beats in both, cheapest first, no repeats."""
    best = [t for t in study.best_trials if "repeats" not in t.user_attrs]
    return sorted(best, key=lambda t: t.values[1])

"""A staged night, and `stage`, which makes one of a recording and a model."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eegaug.data.files.edf import begins_elsewhere
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.scorings.hypnogram import Hypnogram
from eegaug.data.scorings.reading import read_hypnogram
from eegaug.data.stages import STAGES, UNSCORED
from eegaug.staging.agreement import Agreement, agreement
from eegaug.staging.lights import Moment, lights_seconds
from eegaug.staging.predict import predict_stages, stage_codes
from eegaug.staging.prepare import Prepared, prepare, reference_stages
from eegaug.staging.statistics import sleep_statistics, stage_transitions, yasa_hypnogram

__all__ = ["StagedNight", "stage"]


@dataclass
class StagedNight:
    """What a model says about a night; made by :func:`eegaug.stage`.

    Attributes
    ----------
    hypnogram : DataFrame
        One row per epoch: ``onset`` and ``duration`` in seconds, ``stage``, the probabilities ``p_W`` … ``p_REM``,
        ``confidence`` (the largest of them) and, for a model with copies, their ``disagreement`` in [0, 1], see
        :func:`eegaug.staging.copy_disagreement`.
    probabilities : DataFrame
        The five stages, one row per epoch, with onsets as index.
    statistics : dict
        See :data:`eegaug.staging.STATISTICS`.
    agreement : Agreement | None
        With the scorer, where a reference was given.
    channels : DataFrame
        Which channel of the recording served which of the model, and why.
    notes : list of str
        What a reader of the result should know.
    """

    name: str
    prepared: Prepared = field(repr=False)
    stages: np.ndarray = field(repr=False)
    proba: np.ndarray = field(repr=False)
    disagreement: np.ndarray | None = field(default=None, repr=False)
    agreement: Agreement | None = None
    model: str = "model"
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.stages)

    @property
    def channels(self) -> pd.DataFrame:
        """Columns model, recording, how."""
        return self.prepared.channels

    @property
    def start(self) -> datetime.datetime | None:
        """When the recording began, by its own clock, if it says so."""
        return self.prepared.start

    @cached_property
    def epoch_s(self) -> float:
        """Length of an epoch in seconds: that of a window, or less where windows overlap."""
        steps = np.diff(self.prepared.onset_s)
        usual = float(np.median(steps)) if len(steps) else self.prepared.window_s
        return min(self.prepared.window_s, usual)

    @cached_property
    def onset_s(self) -> np.ndarray:
        """Start of each epoch in seconds from the start of the recording."""
        return self.prepared.onset_s + (self.prepared.window_s - self.epoch_s) / 2

    @cached_property
    def hypnogram(self) -> pd.DataFrame:
        """One row per epoch."""
        table = pd.DataFrame(
            {"onset": self.onset_s, "duration": self.epoch_s, "stage": np.array(STAGES)[self.stages]}
            | {f"p_{name}": self.proba[:, code] for code, name in enumerate(STAGES)}
            | {"confidence": self.confidence}
        )
        if self.disagreement is not None:
            table["disagreement"] = self.disagreement
        return table

    @property
    def probabilities(self) -> pd.DataFrame:
        """Of the five stages, with onsets in seconds as index."""
        return pd.DataFrame(self.proba, index=pd.Index(self.onset_s, name="onset"), columns=list(STAGES))

    @property
    def confidence(self) -> np.ndarray:
        """Probability of the stage that was chosen."""
        return self.proba.max(1)

    def on_grid(self, values: Any, missing: Any) -> np.ndarray:
        """Values of the epochs on a grid without gaps: windows that the recording lacks are filled."""
        # Up at a half: rounded to even, epochs after gaps of half an epoch would share places.
        place = np.floor((self.onset_s - self.onset_s[0]) / self.epoch_s + 0.5).astype(int)
        values = np.asarray(values)
        full = np.full((place[-1] + 1, *values.shape[1:]), missing, dtype=values.dtype)
        full[place] = values
        return full

    @cached_property
    def statistics(self) -> dict[str, float]:
        """Sleep statistics from lights off to lights on, or of the whole recording; by YASA where it is installed."""
        first, last = self.in_bed
        return sleep_statistics(self.on_grid(self.stages, UNSCORED)[first:last], self.epoch_s)

    @property
    def in_bed(self) -> tuple[int, int]:
        """First epoch after lights off, and the one after the last before lights on; all epochs if nobody says when."""
        off_s, on_s = self.prepared.lights_s
        n, start_s = len(self.on_grid(self.stages, UNSCORED)), self.onset_s[0]
        first = 0 if off_s is None else math.ceil((off_s - start_s) / self.epoch_s - 1e-6)
        last = n if on_s is None else math.floor((on_s - start_s) / self.epoch_s + 1e-6)
        first, last = max(first, 0), min(last, n)
        return (first, last) if first < last else (0, n)

    @property
    def transitions(self) -> pd.DataFrame:
        """How often each stage (rows) was followed by each stage (columns)."""
        return stage_transitions(self.on_grid(self.stages, UNSCORED))

    def least_certain(self, n: int | None = None) -> pd.DataFrame:
        """Epochs by confidence, the least certain first: where a scorer should look.

        Parameters
        ----------
        n : int, optional
            How many; all by default.

        Returns
        -------
        DataFrame
            Columns epoch (counted from 1), onset, clock (time of day, where it is known), stage, confidence,
            second (the next likely stage), p_second, disagreement, scored (the scorer's stage).
        """
        order = np.lexsort((np.arange(len(self)), self.confidence))[:n]
        ranked = np.argsort(-self.proba, axis=1, kind="stable")
        names = np.array(STAGES)
        table = {"epoch": order + 1, "onset": self.onset_s[order]}
        if self.start is not None:
            table["clock"] = [f"{self.start + datetime.timedelta(seconds=s):%H:%M:%S}" for s in self.onset_s[order]]
        table |= {
            "stage": names[self.stages[order]],
            "confidence": self.confidence[order],
            "second": names[ranked[order, 1]],
            "p_second": self.proba[order, ranked[order, 1]],
        }
        if self.disagreement is not None:
            table["disagreement"] = self.disagreement[order]
        if self.agreement is not None:
            table["scored"] = [STAGES[code] if code >= 0 else "" for code in self.agreement.scored[order]]
        return pd.DataFrame(table)

    # Other packages' forms -------------------------------------------------------------------------------------------

    def to_annotations(self, merge: bool = False) -> Any:
        """The stages as ``mne.Annotations``, for ``raw.set_annotations``.

        Parameters
        ----------
        merge : bool
            One annotation for a stretch of epochs of the same stage, instead of one for each epoch.

        Returns
        -------
        mne.Annotations
            "Sleep stage W", "Sleep stage N1" … "Sleep stage R", the standard texts of EDF+; onsets in seconds from the
            first sample.
        """
        import mne

        onset, duration, codes = self.stretches(merge)
        return mne.Annotations(onset, duration, [EDF_TEXTS[code] for code in codes])

    def stretches(self, merge: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Onset and duration in seconds, and stage, of epochs, or of runs of epochs of the same stage."""
        onset, duration, codes = self.onset_s, np.full(len(self), self.epoch_s), self.stages
        if not merge:
            return onset, duration, codes
        new = (np.diff(codes) != 0) | (np.abs(np.diff(onset) - self.epoch_s) > 0.5)
        first = np.concatenate([[0], np.flatnonzero(new) + 1])
        last = np.concatenate([first[1:], [len(codes)]]) - 1
        return onset[first], onset[last] + duration[last] - onset[first], codes[first]

    def to_hypnogram(self) -> Hypnogram:
        """The stages as :class:`eegaug.data.Hypnogram`."""
        return Hypnogram(self.onset_s, np.full(len(self), self.epoch_s), self.stages.astype(np.int64))

    def to_yasa(self) -> Any:
        """The night as ``yasa.Hypnogram``, with its probabilities.

        Raises
        ------
        ImportError
            If YASA is not installed.
        """
        complete = self.on_grid(self.stages, UNSCORED)
        # YASA takes probabilities of every epoch or none.
        proba = self.probabilities if len(complete) == len(self) else None
        start = None if self.start is None else self.start + datetime.timedelta(seconds=float(self.onset_s[0]))
        return yasa_hypnogram(complete, self.epoch_s, proba, start=start, scorer=self.model)

    # Pictures and files ----------------------------------------------------------------------------------------------

    def plot(self) -> Any:
        """Draw hypnogram, hypnodensity, spectrogram and confidence below each other, and the scorer's stages if any.

        Returns
        -------
        matplotlib Figure
        """
        from eegaug.staging.figure import night_figure

        return night_figure(self)

    def report(self, path: str | os.PathLike) -> Path:
        """Write one page about the night.

        Parameters
        ----------
        path : path-like
            ``.html``: a page that needs no other file; ``.png``, ``.pdf`` or ``.svg``: a picture of the same.

        Returns
        -------
        pathlib.Path
        """
        from eegaug.staging.page import write_page

        return write_page(self, path)

    def save(self, folder: str | os.PathLike, *, page: bool = True, made_from: Any = None) -> list[Path]:
        """Write all files of the night into a folder; see :func:`eegaug.staging.save_night`."""
        from eegaug.staging.export import save_night

        return save_night(self, folder, page=page, made_from=made_from)


EDF_TEXTS = ("Sleep stage W", "Sleep stage N1", "Sleep stage N2", "Sleep stage N3", "Sleep stage R")


def stage(
    raw: Any,
    model: Any,
    *,
    channels: Sequence[str] | Mapping[str, str] | None = None,
    reference: Any = None,
    preprocessing: Preprocessing | None = None,
    lights: tuple[Moment, Moment] | None = None,
    device: str = "cpu",
) -> StagedNight:
    """Stage a night.

    The recording is prepared as the model's training nights were: channels, filter, sampling rate, epochs,
    standardisation. All of it is staged, from its first sample.

    Parameters
    ----------
    raw : mne.io.BaseRaw | path-like | NightDataset
        The night: a recording in MNE (in volts), an EDF, BDF, npz or other file that MNE reads, or a night of windows.
    model : path-like | classifier
        A folder that ``eegaug fit`` or :func:`eegaug.save_model` made, or a fitted classifier, or a search that has
        one as its ``best_estimator_``.
    channels : sequence of str | mapping, optional
        Which channels serve the model's: names in the model's order, or a mapping from the model's channels to the
        recording's. By default they are found by name, or by place where ``raw`` has electrode positions; the result's
        ``channels`` says how.
    reference : path-like | Hypnogram | sequence of int, optional
        A scorer's hypnogram, to compare with; epochs are then aligned with the scorer's. A sequence has one stage per
        epoch, in the order of time.
    preprocessing : Preprocessing, optional
        How windows are made, for a model that does not say (one trained on arrays).
    lights : tuple of float, str or None, optional
        When lights went off and on, in seconds from the start or as time of day (``("23:05", "06:40")``): statistics
        are of the epochs in between. By default what the recording's annotations say ("Lights off", "Lights on");
        without them the whole recording counts.
    device : str
        Where a model is loaded to, if it is a folder.

    Returns
    -------
    StagedNight

    Raises
    ------
    ValueError
        If a channel is missing (it is named), the signal cannot be used, or the model cannot stage.
    FileNotFoundError
        If there is no such file or model.
    TypeError
        If `raw` is no night or `model` no classifier.

    Examples
    --------
    >>> import eegaug
    >>> from eegaug.data import simulate_nights
    >>> nights = simulate_nights(n_subjects=2, n_windows=40, ch_names=["C3", "C4"], sfreq=50, h_freq=20,
    ...                          random_state=0)
    >>> clf = eegaug.AugNetClassifier(layers=["time-frequency"], max_epochs=1, random_state=0, verbose=0).fit(nights)
    >>> night = eegaug.stage(nights.datasets[0], clf)
    >>> night.hypnogram.columns.tolist()[:4], len(night)
    (['onset', 'duration', 'stage', 'p_W'], 40)
    """
    named = Path(model).resolve().name if isinstance(model, (str, os.PathLike)) else None
    model = _fitted(model, device)
    if preprocessing is None:
        preprocessing = Preprocessing.of_model(model)
    elif preprocessing.ch_names is None:
        raise ValueError("preprocessing has no ch_names: name the model's channels in their order.")
    hypnogram = as_hypnogram(reference)
    prepared = prepare(raw, preprocessing, channels, hypnogram)
    proba, disagreement = predict_stages(model, prepared.X)
    prepared.X = np.empty((0, *prepared.X.shape[1:]), np.float32)  # the largest part; nothing looks at it again
    night = StagedNight(
        name=prepared.name,
        prepared=prepared,
        stages=proba.argmax(1),
        proba=proba,
        disagreement=disagreement,
        model=named or type(model).__name__,
        notes=prepared.notes,
    )
    if lights is not None:
        prepared.lights_s = lights_seconds(lights, night.start, night.onset_s[-1] + night.epoch_s)
    there = len(night.on_grid(night.stages, UNSCORED))
    if night.in_bed != (0, there):
        first, last = night.in_bed
        night.notes.append(f"statistics from lights off to lights on: epochs {first + 1} to {last}")
    if there > len(night):
        night.notes.append(f"{there - len(night)} of {there} epochs between the first and the last are not there")
    if hypnogram is not None:
        scored = _scored(night, hypnogram, reference)
    else:
        scored = prepared.scored if reference is None else np.asarray(reference)
    if scored is not None:
        night.agreement = agreement(scored, night.stages)
        if left := int((scored < 0).sum()):
            night.notes.append(f"{left} of {len(night)} epochs have no stage by the scorer and do not count")
    return night


def _fitted(model: Any, device: str) -> Any:
    """The classifier that stages, loaded if it is a folder."""
    if isinstance(model, (str, os.PathLike)):
        from eegaug.bundle import load_model

        model = load_model(model, device=device)
    model = getattr(model, "best_estimator_", model)
    if not (hasattr(model, "predict_proba") and hasattr(model, "fit")):
        raise TypeError(f"model is a {type(model).__name__}; pass the folder of a model or a fitted classifier.")
    if hasattr(model, "check_is_fitted"):
        model.check_is_fitted()
    stage_codes(model.classes_)
    return model


def _scored(night: StagedNight, hypnogram: Hypnogram, reference: Any) -> np.ndarray:
    """A scorer's stages of the night's epochs; what is odd about them is noted."""
    prepared = night.prepared
    end_s = prepared.onset_s[-1] + prepared.window_s
    fitting = hypnogram.since(night.start, end_s).lasting(end_s, prepared.window_s)
    night.notes += fitting.notes
    # Sleep-EDF's hypnograms go on to a day without a stage.
    ends_s = (fitting.onset_s + fitting.duration_s)[fitting.stage != UNSCORED]
    if ends_s.max(initial=0.0) > prepared.onset_s[-1] + 2 * prepared.window_s:
        night.notes.append("the scoring goes on after the end of the recording: is it of this night?")
    if isinstance(reference, (str, os.PathLike)) and begins_elsewhere(Path(reference), night.start):
        night.notes.append("the scoring's header has another start time: stages were counted from the recording's")
    return reference_stages(fitting, prepared.onset_s, prepared.window_s)


def as_hypnogram(reference: Any, numbers: str = "auto") -> Hypnogram | None:
    """The scoring as stretches; None for no scoring, or one stage per epoch."""
    if isinstance(reference, (str, os.PathLike)):
        try:
            return read_hypnogram(reference, numbers=numbers)
        except ValueError as error:
            raise ValueError(f"reference {Path(reference).name}: {error}") from error
    return reference if isinstance(reference, Hypnogram) else None

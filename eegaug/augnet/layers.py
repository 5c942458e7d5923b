"""Augmentation as layers of a network: weighted sums of operations while training, one operation at prediction."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eegaug._random import uniform_on
from eegaug._validation import check_number, ordered_names
from eegaug._warning import warn
from eegaug.augnet._compile import uncompiled
from eegaug.augnet.fused import fused_sum
from eegaug.augnet.sampling import Draw, choose_operations
from eegaug.augnet.single import one_operation_each
from eegaug.augnet.together import held
from eegaug.functional.sampling import transformed
from eegaug.operations import FAMILIES, Operation, get_operation
from eegaug.operations.checks import as_windows
from eegaug.operations.possible import possible_operations

__all__ = ["SELECTIONS", "AugmentationLayer"]

#: What a layer does with its operations in training.
SELECTIONS = ("weighted", "single")
# Settings of an operation that belong to the signal: a layer may go on with another one.
_SIGNAL = ("sfreq", "ch_names", "positions")


class TrainingDraw(NamedTuple):
    """Randomness of one operation for one batch: its own draws and, without a magnitude, who it is applied to."""

    noise: dict[str, Tensor]
    u: Tensor | None


class AugmentationLayer(nn.Module):
    r"""A weighted sum of operations, with learnable weights and strengths.

    In training the layer computes :math:`\sum_q w_q T_q(x; \mu_q)` with :math:`w = \mathrm{softmax}(w' / T_w)` and
    fresh randomness for every window. In evaluation it applies one operation, drawn from the weights (see
    :class:`AugmentationModule`).

    Operations with a magnitude are always applied, with magnitude :math:`\mu_q`. Time reverse, sign flip and channels
    symmetry undo themselves and have no magnitude: they are applied with probability :math:`\mu_q / 2`, so that
    :math:`\mu_q = 1` is the even mixture of both versions, under which the difference is really unknown.

    Parameters
    ----------
    operations : {"time-frequency", "sensors", "all"} | iterable of str, Operation or subclass
        A named group, or what the layer consists of. Operations of a group that mean nothing on the montage, or would
        have to know where a channel is that no montage has, are left out with a warning; those that are listed stay.
    sfreq : float | None
        Sampling rate in Hz, for operations that need it.
    ch_names : sequence of str | None
        Channels in order, for operations that need them.
    positions : mapping or array of shape (n_channels, 3) | None
        Electrode positions, for channels that no montage knows.
    temperature : float
        Temperature :math:`T_w` of the softmax.
    initial_strength : float
        Start of every :math:`\mu_q`, in [0, 1].
    fused : bool
        True evaluates the weighted sum as one mixing of channels and one filter (``eegaug.augnet.fused``); False
        one operation after the other: slower, the same result.
    selection : {"weighted", "single"}
        "weighted": the paper's weighted sum. "single": in training each window goes through one operation, drawn
        uniformly, at that operation's own strength (:func:`eegaug.augnet.single.one_operation_each`); there are no
        weights to learn.
    identity_share : float
        With ``selection="single"``: the share of the windows that are left as they are, in [0, 1).

    Attributes
    ----------
    operations : list of Operation
    weight_logits : torch.nn.Parameter of shape (n_operations,)
        :math:`w'`, all 1 at the start.
    strengths : torch.nn.Parameter of shape (n_operations,)
        :math:`\mu`, to be brought back into [0, 1] by :meth:`project_` after each step of the optimiser.

    Raises
    ------
    ValueError
        If a group, an operation or a channel is not known, if an operation lacks what it needs, or if none is left.

    References
    ----------
    Rommel, Moreau and Gramfort (2022), Deep invariant networks with differentiable augmentation layers,
    NeurIPS: equation 4, with :math:`\mu / 2` as the probability and projection instead of clamping.

    Examples
    --------
    >>> import torch
    >>> layer = AugmentationLayer(["frequency_shift", "gaussian_noise"], sfreq=100)
    >>> layer.weights.tolist()
    [0.5, 0.5]
    >>> layer(torch.randn(4, 2, 300)).shape
    torch.Size([4, 2, 300])
    """

    def __init__(
        self,
        operations: str | Iterable[Any] = "all",
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Any = None,
        *,
        temperature: float = 0.01,
        initial_strength: float = 0.1,
        fused: bool = True,
        selection: str = "weighted",
        identity_share: float = 0.0,
    ):
        super().__init__()
        if selection not in SELECTIONS:
            raise ValueError(f"selection is {selection!r}; use one of {', '.join(SELECTIONS)}.")
        check_number("identity_share", identity_share, lambda share: 0 <= share < 1, "it lies in [0, 1)")
        if identity_share and selection == "weighted":
            raise ValueError(f"identity_share={identity_share} goes with selection='single'.")
        check_number("temperature", temperature, lambda t: 0 < t < math.inf, "it has to be above 0, and finite")
        check_number("initial_strength", initial_strength, lambda strength: 0 <= strength <= 1, "it lies in [0, 1]")
        self.operations, left_out = resolve_operations(operations, sfreq, ch_names, positions)
        warn_left_out(left_out)
        self.temperature = float(temperature)
        self.fused = bool(fused)
        self.selection = selection
        self.identity_share = float(identity_share)
        self.weight_logits = nn.Parameter(torch.ones(len(self.operations)), requires_grad=selection == "weighted")
        self.strengths = nn.Parameter(torch.full((len(self.operations),), float(initial_strength)))
        # How far each changes a window at full strength; measured before a training that rewards this.
        self.register_buffer("full_changes", torch.ones(len(self.operations)), persistent=False)
        if selection == "single":
            # Of each operation, the relative change of the signal and the rise of the loss; filled in after training.
            self.register_buffer("effects", torch.full((2, len(self.operations)), torch.nan))
            # Losses where an operation that decides has left a window, or a channel, and where not; see below.
            self.register_buffer("running_sums", torch.zeros(2, len(self.operations)))
            self.register_buffer("running_counts", torch.zeros(2, len(self.operations)))
        # Whether the training compares losses (eegaug.augnet.single.comparison_of_losses), and what it compares.
        self.compares_losses = False
        self.drawn: list[Any] = []
        self._host = None

    @property
    def weights(self) -> Tensor:
        """Weights of the operations, differentiable in ``weight_logits``; they sum to 1, less ``identity_share``."""
        weights = torch.softmax(self.weight_logits / self.temperature, dim=0)
        return weights * (1.0 - self.identity_share) if self.identity_share else weights

    @uncompiled
    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment windows.

        Parameters
        ----------
        X : Tensor of shape (batch, channels, times), (channels, times) or (batch, windows, channels, times)
        generator : torch.Generator | None
            Source of randomness in training. None: torch's default generator of the device.

        Returns
        -------
        Tensor
            Same shape, dtype and device. In evaluation, what the first copy of a prediction with one copy would see.
        """
        if not self.training:
            return self.apply_one(X, choose_operations([self.shares()], n_copies=1, seed=0)[0][0])
        windows = as_batch(X)
        if named := next((op for op in self.operations if op.ch_names is not None), None):
            as_windows(named, windows)  # refuses other channels, which a sum of matrices would not always
        if self.selection == "single":
            return one_operation_each(self, windows, generator).reshape(X.shape)
        if windows.numel() == 0:
            return X.clone()
        draws = self.draw(windows, generator)
        fused = self.fused and not transformed()
        total = fused_sum(self, windows, draws) if fused else self.weighted_sum(windows, draws)
        return total.reshape(X.shape)

    def draw(self, X: Tensor, generator: torch.Generator | None = None) -> dict[int, TrainingDraw]:
        """Randomness for a batch of windows (batch, channels, times): of each operation whose weight is not zero."""
        n, n_channels, n_times = X.shape
        draws = {}
        for q in self.active():
            op = self.operations[q]
            noise = op.draw(n, n_channels, n_times, generator=generator, device=X.device)
            draws[q] = TrainingDraw(noise, None if op.has_magnitude else uniform_on(X.device, (n,), generator))
        return draws

    def weighted_sum(self, X: Tensor, draws: dict[int, TrainingDraw]) -> Tensor:
        """The layer as it is defined, one operation after the other: the reference for any quicker way.

        Only operations in `draws` are computed. The sum is accumulated, so that without gradients no more than two
        augmented batches exist at a time.
        """
        return self.sum_of(X, self.weights.unbind(), self.held_strengths().unbind(), draws)

    def sum_of(
        self, X: Tensor, weights: Sequence[Tensor], strengths: Sequence[Tensor], draws: dict[int, TrainingDraw]
    ) -> Tensor:
        """:meth:`weighted_sum` with these weights and strengths."""
        total = None
        for q, draw in draws.items():
            term = self.apply_operation(q, X, strengths[q], draw.noise, draw.u) * weights[q]
            total = term if total is None else total + term
        return total

    def apply_operation(self, q: int, X: Tensor, strength: Tensor, noise: dict, u: Tensor | None) -> Tensor:
        """Operation number `q`: with a magnitude, or with half the strength as its probability."""
        op = self.operations[q]
        if op.has_magnitude:
            return op.apply(X, strength, noise)
        return op.mix(X, None, noise, probability=strength / 2, u=u)

    def apply_one(self, X: Tensor, draw: Draw) -> Tensor:
        """One operation, with the same draws for every window: what a copy at prediction goes through."""
        if draw.operation == len(self.operations):  # the share that is left as it is
            return X
        windows = as_batch(X)
        op = self.operations[draw.operation]
        noise = draw.noise_for(op, windows)
        u = torch.full((1,), draw.u, device=X.device)
        strength = self.held_strengths()[draw.operation]
        return self.apply_operation(draw.operation, windows, strength, noise, u).reshape(X.shape)

    # A weight of exactly zero contributes nothing to the output nor to any gradient, so that its operation need not be
    # computed. On an accelerator, reading the weights makes the host wait: they are read when they may have changed.

    @property
    def by_chance(self) -> list[bool]:
        """Of each operation, whether it has no magnitude and is applied with half its strength as the probability."""
        return [not op.has_magnitude for op in self.operations]

    def host_weights(self) -> list[float]:
        """Weights as numbers of the host; on an accelerator they are fetched once after each change."""
        logits = self.weight_logits
        if logits.device.type == "cpu":
            with torch.no_grad():
                return self.weights.tolist()
        if self._host is None or self._host[0] is not logits or self._host[1] != logits._version:
            self._host = (logits, logits._version, self.weights.detach().tolist())
        return self._host[2]

    def shares(self) -> list[float]:
        """What each operation is drawn with and, at the end, leaving a window as it is, as numbers of the host."""
        return [*self.host_weights(), self.identity_share]

    def active(self) -> list[int]:
        """Numbers of the operations whose weight is not exactly zero in float32."""
        return [q for q, weight in enumerate(self.host_weights()) if weight != 0.0]

    @torch.no_grad()
    def project_(self) -> None:
        """Bring strengths back into [0, 1]; to be called after each step of the optimiser.

        Unlike a clamp where they are used, this leaves their gradient alive at both ends.
        """
        self.strengths.clamp_(0.0, 1.0)
        self.host_weights()

    def held_strengths(self) -> Tensor:
        """Strengths, in [0, 1] whatever the optimiser's last step has made of them; their gradient as they are."""
        return held(self.strengths)

    def describe(self) -> list[dict[str, Any]]:
        """One row for each operation: name, weight, magnitude in [0, 1], strength and its unit.

        With ``selection="single"`` also what it does at this strength (:func:`eegaug.augnet.effects.measure_effects`),
        None before that was measured.
        """
        rows = []
        strengths = self.strengths.detach().tolist()
        for op, weight, strength in zip(self.operations, self.host_weights(), strengths, strict=True):
            rows.append({"operation": op.name, "weight": weight, "magnitude": strength} | physical(op, strength))
        if self.selection == "single":
            for row, effect in zip(rows, self.effects.T.tolist(), strict=True):
                known = (None if math.isnan(value) else value for value in effect)
                row.update(zip(("signal_change", "loss_rise"), known, strict=True))
        return rows

    def extra_repr(self) -> str:
        how = f"temperature={self.temperature:g}" if self.selection == "weighted" else f"selection={self.selection!r}"
        return f"{', '.join(op.name for op in self.operations)}; {how}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_host": None, "drawn": []}

    # Weights and strengths are numbers in [0, 1]: what they are of travels in the state dict with them.

    def get_extra_state(self) -> Tensor:
        """Names and options of the operations, as JSON in bytes: formats for weights hold tensors only."""
        known = [{key: v for key, v in op.get_config().items() if key not in _SIGNAL} for op in self.operations]
        return torch.tensor(list(json.dumps(known, default=lambda _: None).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuse the state of a layer of other operations, in another order, or of other ranges."""
        saved, own = (json.loads(bytes(one.tolist())) for one in (state, self.get_extra_state()))
        theirs, ours = (", ".join(op["name"] for op in ops) for ops in (saved, own))
        if theirs == ours:
            # Options that one of both does not know are those of another version.
            pairs = [(a, b, key) for a, b in zip(saved, own, strict=True) for key in a if a[key] != b.get(key, a[key])]
            theirs = ", ".join(f"{a['name']} with {key}={a[key]}" for a, _, key in pairs)
            ours = ", ".join(f"{b['name']} with {key}={b[key]}" for _, b, key in pairs)
        if theirs != ours:
            raise ValueError(
                f"the state is that of a layer of {theirs}; this one is of {ours}: build it from the same operations, "
                "in the same order and with the same options."
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        state_dict.setdefault(f"{prefix}_extra_state", self.get_extra_state())  # older ones have none
        super()._load_from_state_dict(state_dict, prefix, *args)


def physical(op: Operation, strength: float) -> dict[str, Any]:
    """Strength of an operation in its unit; the probability where it has no magnitude."""
    if op.has_magnitude:
        return {"strength": float(op.physical(strength)), "unit": op.unit}
    return {"strength": strength / 2, "unit": "probability"}


def as_batch(X: Tensor) -> Tensor:
    if not X.is_floating_point():
        raise TypeError(f"X must be a tensor of floating-point numbers, got one of {X.dtype}: pass X.float().")
    if X.ndim == 3:
        return X
    if X.ndim not in (2, 4):
        raise ValueError(
            f"X has shape {tuple(X.shape)}; it is (batch, channels, times), (channels, times) or "
            "(batch, windows, channels, times)."
        )
    return X.reshape(-1, *X.shape[-2:])


def resolve_operations(
    operations: Any, sfreq: float | None, ch_names: Sequence[str] | None, positions: Any
) -> tuple[list[Operation], dict[str, str]]:
    """Operations of a layer, and those of a named group that are left out, with the reason."""
    ch_names = None if ch_names is None else ordered_names(ch_names)
    about = {"sfreq": sfreq, "ch_names": ch_names, "positions": positions}
    if isinstance(operations, str):
        if operations not in FAMILIES:
            raise ValueError(
                f"{operations!r} is no group of operations; use {', '.join(map(repr, FAMILIES))}, "
                "or a list of operations, e.g. ['frequency_shift']."
            )
        found, left_out, lacking = possible_operations(FAMILIES[operations], **about)
        if lacking and (sfreq is None or ch_names is None):
            raise next(iter(lacking.values()))
        left_out |= {name: str(reason) for name, reason in lacking.items()}
        if not found:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise ValueError(f"no operation of {operations!r} means anything on this montage ({reasons}).")
        return found, left_out
    # An instance may be listed twice or belong to a user: each layer has its own.
    found = [copy.copy(get_operation(op, **about)) for op in operations]
    if not found:
        raise ValueError("a layer without operations: list one or more, or name a group.")
    return found, {}


def warn_left_out(left_out: dict[str, str]) -> None:
    if left_out:
        together: dict[str, list[str]] = {}
        for name, reason in left_out.items():
            together.setdefault(reason, []).append(name)
        reasons = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in together.items())
        warn(f"left out, as this montage does not allow them: {reasons}.")

"""Policies that need no search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from eegaug._random import RandomState, resolve_seed
from eegaug._validation import check_sfreq
from eegaug._warning import warn
from eegaug.operations import FAMILIES, Operation, get_operation, list_operations
from eegaug.operations.possible import possible_operations
from eegaug.policies.parts import FIXED_SLEEP, PolicyOperation, SubPolicy

__all__ = ["ReadyMade", "usable_operations"]

Operations = str | Sequence[str | Operation]


class ReadyMade:
    """The part of `Policy` that makes policies without a search."""

    @classmethod
    def identity(cls, sfreq: float | None = None, ch_names: Sequence[str] | None = None) -> Self:
        """The policy that changes nothing."""
        return cls(sub_policies=[SubPolicy(operations=())], sfreq=sfreq, ch_names=ch_names)

    @classmethod
    def fixed_sleep(
        cls,
        *,
        sfreq: float,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | None = None,
        probability: float = 0.5,
    ) -> Self:
        """A fixed policy for sleep staging: one operation a window, at strengths that a published benchmark found best.

        Parameters
        ----------
        sfreq : float
            Sampling rate in Hz.
        ch_names : sequence of str or None
            Channel labels, in the order of the signal's channels. Operations that mean nothing on this montage are left
            out, and so are, without names, those that need them.
        positions : mapping or None
            Own electrode positions.
        probability : float
            Probability of applying the operation that was drawn.

        Returns
        -------
        Policy
            Every operation is drawn as often as every other.

        References
        ----------
        .. [1] Rommel, Paillard, Moreau and Gramfort (2022). Data augmentation for learning predictive models on EEG: a
           systematic comparison. Journal of Neural Engineering 19(6). Strengths found for Sleep Physionet.

        Examples
        --------
        >>> from eegaug import Policy
        >>> policy = Policy.fixed_sleep(sfreq=100, ch_names=["Fpz", "Pz"])
        >>> len(policy.sub_policies)
        9
        """
        options = {name: options for name, (_, options) in FIXED_SLEEP.items()}
        found = usable_operations(list(FIXED_SLEEP), sfreq, ch_names, positions, options=options, drop=True)
        steps = []
        for operation in found:
            strength = FIXED_SLEEP[operation.name][0]
            magnitude = None if strength is None else strength / operation.max_strength
            steps.append((operation.name, probability, magnitude, options[operation.name]))
        return cls._one_each(steps, sfreq, ch_names, positions, searcher="fixed")

    @classmethod
    def uniform(
        cls,
        *,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | None = None,
        operations: Operations = "all",
        probability: float = 0.5,
    ) -> Self:
        """One operation for each window, any as likely as any other, at a strength drawn uniformly from none to full.

        Parameters
        ----------
        sfreq, ch_names, positions
            As for :meth:`fixed_sleep`.
        operations : str or sequence
            A group of operations, of which those that mean nothing on this montage are left out, or a list.
        probability : float
            Probability of applying the operation that was drawn.

        Returns
        -------
        Policy

        Examples
        --------
        >>> from eegaug import Policy
        >>> print(Policy.uniform(sfreq=100, operations=["sign_flip", "frequency_shift"]).describe())
        Draws one of 2 sub-policies for each window (100 Hz).
        50 %: with probability 0.5 flips the sign of all channels
        50 %: with probability 0.5 shifts all frequencies by up to ±5 Hz, times a factor drawn between 0 and 1
        """
        found = usable_operations(operations, sfreq, ch_names, positions)
        steps = [_step(operation, probability, (0.0, 1.0)) for operation in found]
        return cls._one_each(steps, sfreq, ch_names, positions, searcher="uniform")

    @classmethod
    def trivial_augment(
        cls,
        *,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | None = None,
        operations: Operations = "all",
        max_magnitude: float = 1.0,
    ) -> Self:
        """A policy in the manner of TrivialAugment: always one operation, or none, at a uniformly drawn strength.

        Parameters
        ----------
        sfreq, ch_names, positions, operations
            As for :meth:`uniform`. Doing nothing is one more choice beside the operations.
        max_magnitude : float
            Highest magnitude, in [0, 1].

        Returns
        -------
        Policy

        References
        ----------
        .. [1] Müller and Hutter (2021). TrivialAugment: tuning-free yet state-of-the-art data augmentation. ICCV.

        Examples
        --------
        >>> from eegaug import Policy
        >>> len(Policy.trivial_augment(sfreq=100, operations="time-frequency").sub_policies)
        7
        """
        found = usable_operations(operations, sfreq, ch_names, positions)
        steps = [_step(operation, 1.0, (0.0, max_magnitude)) for operation in found]
        settings = {"max_magnitude": _plain(max_magnitude)}
        return cls._one_each(steps, sfreq, ch_names, positions, True, searcher="trivial-augment", settings=settings)

    @classmethod
    def rand_augment(
        cls,
        *,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | None = None,
        operations: Operations = "all",
        n_operations: int = 2,
        magnitude: float = 0.3,
    ) -> Self:
        """A policy in the manner of RandAugment: some operations in a row, all at one strength.

        Parameters
        ----------
        sfreq, ch_names, positions, operations
            As for :meth:`uniform`. Doing nothing is one more choice beside the operations.
        n_operations : int
            How many are drawn for each window, with replacement (N in the paper).
        magnitude : float
            Of all operations, in [0, 1] (M in the paper, where it is counted up to 30).

        Returns
        -------
        Policy

        References
        ----------
        .. [1] Cubuk, Zoph, Shlens and Le (2020). RandAugment: practical automated data augmentation with a reduced
           search space. CVPR workshops.

        Examples
        --------
        >>> from eegaug import Policy
        >>> Policy.rand_augment(sfreq=100, operations=["time_reverse"], n_operations=3).summary()
        '2 sub-policies, 3 drawn'
        """
        n_operations, magnitude = _plain(n_operations), _plain(magnitude)
        found = usable_operations(operations, sfreq, ch_names, positions)
        steps = [_step(operation, 1.0, magnitude) for operation in found]
        settings = {"n_operations": n_operations, "magnitude": magnitude}
        more = {"searcher": "rand-augment", "settings": settings, "draws": n_operations}
        return cls._one_each(steps, sfreq, ch_names, positions, True, **more)

    @classmethod
    def random(
        cls,
        *,
        sfreq: float | None = None,
        ch_names: Sequence[str] | None = None,
        positions: Mapping[str, Sequence[float]] | None = None,
        operations: Operations = "all",
        n_sub_policies: int = 5,
        n_operations: int = 2,
        random_state: RandomState = None,
    ) -> Self:
        """A policy drawn at random from the space in which searches look: operations, probabilities and magnitudes.

        Parameters
        ----------
        sfreq, ch_names, positions, operations
            As for :meth:`uniform`.
        n_sub_policies, n_operations : int
            Sub-policies, all of the same weight, and operations of each.
        random_state : int, RandomState, Generator or None

        Returns
        -------
        Policy
            Each operation is uniform among those given, each probability and magnitude uniform in [0, 1].

        Examples
        --------
        >>> from eegaug import Policy
        >>> policy = Policy.random(sfreq=100, operations="time-frequency", random_state=0)
        >>> [len(sub.operations) for sub in policy.sub_policies]
        [2, 2, 2, 2, 2]
        """
        found = usable_operations(operations, sfreq, ch_names, positions)
        rng = np.random.default_rng(resolve_seed(random_state))
        shape = (n_sub_policies, n_operations)
        which, probability, magnitude = rng.integers(len(found), size=shape), rng.random(shape), rng.random(shape)
        subs = [
            SubPolicy(operations=[_step(found[q], float(p), float(m)) for q, p, m in zip(*row, strict=True)])
            for row in zip(which, probability, magnitude, strict=True)
        ]
        return cls(sub_policies=subs, sfreq=sfreq, ch_names=ch_names, positions=positions, searcher="random")

    @classmethod
    def _one_each(
        cls, steps: Sequence[Any], sfreq: Any, ch_names: Any, positions: Any, or_nothing: bool = False, **more: Any
    ) -> Self:
        """A policy with a sub-policy for each step, and perhaps one that does nothing."""
        subs = [SubPolicy(operations=(step,)) for step in steps]
        subs += [SubPolicy(operations=())] if or_nothing else []
        return cls(sub_policies=subs, sfreq=sfreq, ch_names=ch_names, positions=positions, **more)


def _plain(number: Any) -> Any:
    """A number of NumPy or torch as Python's own, which settings are kept in; what is none is refused elsewhere."""
    return number.item() if isinstance(number, (np.generic, Tensor)) and number.ndim == 0 else number


def _step(operation: Operation, probability: float, magnitude: Any) -> PolicyOperation:
    magnitude = magnitude if operation.has_magnitude else None
    return PolicyOperation(operation=operation, probability=probability, magnitude=magnitude)


def usable_operations(
    operations: Operations,
    sfreq: float | None = None,
    ch_names: Sequence[str] | None = None,
    positions: Any = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    drop: bool = False,
) -> list[Operation]:
    """Operations for a signal, built.

    Parameters
    ----------
    operations : str or sequence of str or Operation
        Of a named group, those that cannot be built for this signal or mean nothing on it are left out; those that lack
        something although channel names are given are named in a warning. What a list names must be possible.
    sfreq, ch_names, positions
        The signal.
    options : mapping, optional
        With `drop`: name of an operation → its options.
    drop : bool
        Leave out of a list what cannot be built, too.

    Returns
    -------
    list of Operation

    Raises
    ------
    ValueError
        For an unknown name or group, a list that is empty or names an operation twice, or an operation of a list that
        lacks something it needs.
    """
    if sfreq is not None:  # else every operation of a group would be left out for it
        check_sfreq(sfreq)
    if isinstance(operations, str):
        if operations not in FAMILIES:
            raise ValueError(
                f"unknown group of operations {operations!r}; the groups are {list(FAMILIES)}; a single operation goes "
                f"into a list: [{operations!r}]"
            )
        operations, drop = list_operations(operations), True
    signal = {"sfreq": sfreq, "ch_names": ch_names, "positions": positions}
    missing: dict[str, list[str]] = {}
    if drop:
        found, _, lacking = possible_operations(operations, **signal, options=options)
        for name, error in lacking.items():
            missing.setdefault(str(error), []).append(name)
    else:
        found = [get_operation(one, **signal, warn=False) for one in operations]
    for reason, names in missing.items() if ch_names is not None else ():
        warn(f"the policy goes without {', '.join(names)}: {reason}")
    if not found:
        raise ValueError("there is no operation to choose from; name at least one that this signal allows")
    twice = sorted({op.name for i, op in enumerate(found) if op in found[:i]})
    if twice:
        raise ValueError(f"operations names {', '.join(twice)} twice")
    return found

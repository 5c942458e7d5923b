"""Augmentation policies: plain data that can be saved, compared, read and applied to a batch."""

from eegaug.policies import (
    BasePolicy,
    ClassPolicy,
    ConditionalPolicy,
    Policy,
    PolicyOperation,
    PolicyTransform,
    SubPolicy,
    load_policy,
    policy_from_document,
)

__all__ = [
    "BasePolicy",
    "ClassPolicy",
    "ConditionalPolicy",
    "Policy",
    "PolicyOperation",
    "PolicyTransform",
    "SubPolicy",
    "load_policy",
    "policy_from_document",
]

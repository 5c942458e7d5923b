"""Augmentation policies of three kinds: one for all windows, one for each class, one that looks at each window."""

from eegaug.policies.base import BasePolicy
from eegaug.policies.classwise import ClassPolicy
from eegaug.policies.conditional import ConditionalPolicy
from eegaug.policies.files import load_policy, policy_from_document
from eegaug.policies.parts import PolicyOperation, SubPolicy
from eegaug.policies.policy import Policy
from eegaug.policies.transform import PolicyTransform

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

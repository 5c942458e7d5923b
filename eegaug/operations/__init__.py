"""The operations on EEG windows, each once: what magnitude 1 means, what is drawn at random, what is done."""

from eegaug.operations.base import Operation
from eegaug.operations.registry import FAMILIES, get_operation, list_operations, register_operation

__all__ = ["FAMILIES", "Operation", "get_operation", "list_operations", "register_operation"]

"""Every exception that Systolica raises, named as in TensorFlow 1.x (`tf.errors`).

An `OpError` knows the operation that it is about (`op`, may be None) and its `message`.
`InvalidArgumentError` is also a `ValueError` and `DTypeError` also a `TypeError`, so that code
which catches the built-in kind keeps working.
"""

from __future__ import annotations

from typing import Any


class OpError(Exception):
    """Base of all; `message` is complete by itself, `op` is the operation concerned or None."""

    def __init__(self, message: str, op: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.op = op

    def __str__(self) -> str:
        return self.message


class InvalidArgumentError(OpError, ValueError):
    """A value, shape or name that does not fit what it is given to."""


class ShapeError(InvalidArgumentError):
    """Shapes that do not fit an operation."""


class DTypeError(InvalidArgumentError, TypeError):
    """Element types that do not fit an operation."""


class ModelError(InvalidArgumentError):
    """A model file that is malformed, or that asks for what is not supported; names the node."""


class FailedPreconditionError(OpError):
    """The system is not in the state that the operation needs (an uninitialised variable)."""


class NotFoundError(OpError, LookupError):
    """A name that is not there: a device, an op, a tensor, a gradient."""


class AlreadyExistsError(OpError):
    """A name that is there already."""


class OutOfRangeError(OpError):
    """Past the end of a sequence, queue or file."""


class UnimplementedError(OpError, NotImplementedError):
    """Something that this device or engine does not do."""


class CancelledError(OpError):
    """The operation was cancelled, for instance by closing its session."""


class AbortedError(OpError):
    """The operation was aborted, for instance because a worker was lost."""


class DeadlineExceededError(OpError, TimeoutError):
    """The operation took longer than it was allowed to."""


class ResourceExhaustedError(OpError):
    """Memory or another resource is used up."""


class UnavailableError(OpError):
    """A service or device that cannot be reached now."""


class DataLossError(OpError):
    """Data that is damaged beyond recovery."""


class InternalError(OpError):
    """An invariant of ours that does not hold: a defect to report."""


class GraphError(OpError, RuntimeError):
    """A graph used in a way that it forbids: finalised, or mixed with another graph."""


class PermissionDeniedError(OpError):
    """The caller may not do this."""


class UnauthenticatedError(OpError):
    """The caller did not say who it is."""


class UnknownError(OpError):
    """An error of another system that tells no more."""
